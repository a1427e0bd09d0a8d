"""Targeted fine-tuning: settings, and what came of it beside its controls."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from modelshapley.contracts.applications.made_from import MadeFromParent
from modelshapley.contracts.base import Contract, Interval
from modelshapley.contracts.trials import Comparison
from modelshapley.units import UnitKind


class FinetuneSettings(Contract):
    """Settings of AdamW.

    steps: of the optimiser; each uses `batch` x `accumulate` probe examples. rate: highest learning rate, reached after
    `warmup` (a share of the steps), from where it falls linearly to 0. clip: largest norm of the gradient. patience:
    stop after so many measurements, `measure_every` steps apart, without a lower loss on a tenth of the probe examples;
    0 never stops early. The default rate learns in short runs; 3e-5, the paper's, does not.
    """

    steps: int = Field(default=64, ge=1, le=1_000_000)
    batch: int = Field(default=8, ge=1, le=4096)
    accumulate: int = Field(default=1, ge=1, le=1024)
    rate: float = Field(default=3e-4, gt=0, le=1)
    warmup: float = Field(default=0.1, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    clip: float = Field(default=1.0, gt=0, le=1e9)
    measure_every: int = Field(default=16, ge=1)
    patience: int = Field(default=0, ge=0)


PAPER = FinetuneSettings(rate=3e-5, warmup=0.0, weight_decay=0.01)
"""The paper's learning rate, with AdamW's usual decay (paper, section 5)."""


Control = Literal["random", "lora", "full"]
"""What else trains beside the chosen units: as many random ones, LoRA factors, or all parameters."""


class FinetuneArm(Contract):
    """One way to train, on the same data and steps.

    trained: number of trained parameters. loss: mean on the test examples, nats. against_parent: accuracy on the test
    examples. loss_minus_targeted: of the same examples, with its 95 % interval; null for targeted itself.
    """

    name: Literal["targeted", "random", "lora", "full"]
    trained: int
    steps: int
    loss: float
    against_parent: Comparison
    loss_minus_targeted: float | None = None
    loss_interval: Interval | None = None
    accuracy_minus_targeted: float | None = None
    accuracy_interval: Interval | None = None


class FinetunedInfo(MadeFromParent):
    """The file modelshapley.json of a fine-tuned model.

    adapter: whether the folder holds a LoRA adapter in peft's format instead of a whole model. gradient_share: before
    training, the share of the squared gradient of all units of these kinds that lies on the chosen ones, the predictor
    of how much they can learn.
    """

    kind: Literal["fine-tuned"] = "fine-tuned"
    method: str | None = None
    map: dict[str, Any] | None = None
    settings: FinetuneSettings
    trained_units: dict[UnitKind, int]
    gradient_share: float
    parent_loss: float
    adapter: bool = False
    arms: list[FinetuneArm]
