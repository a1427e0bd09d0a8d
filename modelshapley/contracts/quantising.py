"""Quantising: what a quantised model is, and what that costs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelshapley.contracts.base import Interval
from modelshapley.contracts.made_from import MadeFromParent
from modelshapley.contracts.trials import Comparison


class QuantisedInfo(MadeFromParent):
    """The file modelshapley.json of a quantised model, whose weights are in the format of compressed-tensors.

    group: weights that share a scale; null where a scale is a whole channel's. beta: of the paper's Algorithm 1.
    calibration: sequences of the probe set that it was calibrated with. maps: linear maps that were quantised.
    fallbacks: how many of them were only rounded to the nearest value, because the method failed there. loss,
    parent_loss: mean on the test examples, nats, in float32; loss_difference: of the same examples, with its 95 %
    interval. bytes: of the weights files.
    """

    kind: Literal["quantised"] = "quantised"
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
