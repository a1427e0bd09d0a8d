"""Quantising: what a quantised model is, and what that costs."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from modelshapley.contracts.base import Contract, Interval
from modelshapley.contracts.trials import Comparison


class QuantisedInfo(Contract):
    """The file modelshapley.json of a quantised model, whose weights are in the format of compressed-tensors.

    group: weights that share a scale; null where a scale is a whole channel's. beta: of the paper's Algorithm 1.
    calibration: sequences of the probe set that it was calibrated with. maps: linear maps that were quantised.
    fallbacks: how many of them were only rounded to the nearest value, because the method failed there. loss,
    parent_loss: mean on the test examples, nats, in float32; loss_difference: of the same examples, with its 95 %
    interval. bytes: of the weights files.
    """

    format: Literal["modelshapley.derived.v1"] = "modelshapley.derived.v1"
    kind: Literal["quantised"] = "quantised"
    parent: str
    parent_revision: str
    family: str
    task: str
    task_fingerprint: str
    seed: int
    scheme: str
    group: int | None = None
    beta: float | None = None
    calibration: int
    maps: int
    fallbacks: int
    bytes: int
    parent_bytes: int
    reload_max_logit_difference: float = Field(
        description="between the model before it was saved and what a fresh process loads"
    )
    loss: float
    parent_loss: float
    loss_difference: float
    loss_interval: Interval
    trial: Comparison
    versions: dict[str, str]
    created: datetime
