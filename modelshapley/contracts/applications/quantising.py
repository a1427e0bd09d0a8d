"""Quantising: the schemes, what a quantised model is, and what that costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from modelshapley.contracts.applications.made_from import MadeFromParent
from modelshapley.contracts.base import Interval
from modelshapley.contracts.trials import Comparison


@dataclass(frozen=True)
class Scheme:
    """A way to quantise. needs_cuda: whether its numbers are only computed on a GPU."""

    name: str
    summary: str
    needs_cuda: bool = False


SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme("rtn-w4", "weights of 4 bits, each rounded to the nearest value of its group's scale"),
        Scheme("gptq-w4", "weights of 4 bits, rounded one after the other, the rest correcting what that does (GPTQ)"),
        Scheme("gptq-w8a8", "weights (GPTQ) and activations of 8 bits, one scale a token"),
        Scheme("fp8", "weights and activations in floating point of 8 bits", needs_cuda=True),
        Scheme(
            "paper-algorithm-1",
            "4 bits by the paper's Algorithm 1 as printed: GPTQ with a mixed diagonal. For comparison only",
        ),
        Scheme(
            "paper-released",
            "4 bits as the paper's released code does it, without the Hessian's other entries. For comparison only",
        ),
    )
}
"""By name; the last two are for comparison with the paper."""


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
