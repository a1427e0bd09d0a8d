"""Derived models: what they were made from, what is left, and what that costs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import ConfigDict, Field, model_validator

from modelshapley.contracts.applications.finetuning import FinetunedInfo, FinetuneSettings
from modelshapley.contracts.applications.made_from import MadeFromParent
from modelshapley.contracts.applications.quantising import QuantisedInfo
from modelshapley.contracts.applications.recommendations import Recommendation
from modelshapley.contracts.applications.reports import AmplifyReport, ProbeReport
from modelshapley.contracts.base import Contract, Status
from modelshapley.contracts.runs import Progress
from modelshapley.contracts.trials import Comparison, Off
from modelshapley.contracts.uploads import MODEL_NAME
from modelshapley.units import UnitKind

Use = Literal["prune", "finetune", "quantise", "probe", "amplify"]
"""What a map is used for: to make a smaller, a fine-tuned or a quantised model, or to probe or amplify units."""
USES: tuple[Use, ...] = get_args(Use)
OUTCOME_FIELDS: dict[Use, str] = {
    "prune": "info",
    "finetune": "finetuned",
    "quantise": "quantised",
    "probe": "probed",
    "amplify": "amplified",
}
"""By use: the field of `Derived` that holds its outcome."""
Mode = Literal["removed", "padded", "zeroed"]
"""What became of units: cut out; cut out, with zeros up to the widest layer; set to zero where they are."""


class KeptUnits(Contract):
    """Units of the parent that a derived model still has, by layer of the derived model.

    `layers`: the parent's layers. The others are ranges of the parent's indices, such as '0-5,8'; null for a kind that
    the model has none of.
    """

    layers: list[int]
    neuron: list[str] | None = None
    head: list[str] | None = None
    expert: list[str] | None = None


Repairing = Literal["least-squares", "means"]
"""How a smaller model is repaired: last projections refitted, or the means of removed units folded into biases."""


class Repair(Contract):
    """Repair of a smaller model: loss on held-out probe examples before and after, nats.

    kept: whether the repaired weights are in the model, because they lower that loss.
    """

    how: Repairing = "least-squares"
    kept: bool
    loss_before: float
    loss_after: float
    examples: int


class DerivedInfo(MadeFromParent):
    """The file modelshapley.json of a derived model.

    bytes: size of its weights file; parent_bytes: that of the parent written in the same way.
    reload_max_logit_difference: largest difference of a logit between the saved model, loaded in a process of its own,
    and the parent with the same units off.
    """

    kind: Literal["pruned"] = "pruned"
    method: str | None = Field(default=None, description="method of the map that chose the units")
    map: dict[str, Any] | None = Field(default=None, description="provenance of that map")
    settings: dict[str, Any] = {}
    modes: dict[UnitKind, Mode]
    reasons: list[str] = Field(default=[], description="why units were not cut out")
    off: dict[UnitKind, int] = Field(description="number of units of the parent that are gone or zero")
    kept: KeptUnits
    bytes: int
    parent_bytes: int
    parameters: int
    parent_parameters: int
    reload_max_logit_difference: float
    trial: Comparison
    repair: Repair | None = None


Share = Annotated[float, Field(gt=0, lt=1)]


class DerivedRequest(Contract):
    """Request for a smaller model, which becomes `derived:<name>`: give either `share`, `milliseconds` or `off`.

    share: of the parameters to remove; what to remove is recommended, by comparing methods and kinds of unit.
    milliseconds: instead, the longest time of a pass on the worker, which measures smaller models beside the parent.
    off: exactly these units; `method` then says by which of the run's maps they were chosen, for the record.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"run": "3f9c0a51", "name": "digits-small", "share": 0.3},
                {"run": "3f9c0a51", "name": "digits-3-layers", "off": {"layer": [1]}, "method": "two-sided"},
            ]
        }
    )

    use: Literal["prune"] = "prune"
    run: str = Field(min_length=1, max_length=64)
    name: str = Field(pattern=MODEL_NAME, examples=["digits-small"])
    share: Share | None = None
    milliseconds: Annotated[float, Field(gt=0, lt=1e6, allow_inf_nan=False)] | None = None
    off: Off | None = None
    method: str | None = Field(default=None, max_length=200)
    repair: bool | Repairing = Field(
        default=False,
        description="if that helps: refit the last projections ('least-squares' or true), or fold the units' means "
        "into their biases ('means')",
    )

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if sum(value is not None for value in (self.share, self.milliseconds, self.off)) != 1:
            raise ValueError(
                "give either 'share', the part of the parameters to remove, 'milliseconds', the longest time of a "
                "pass, or 'off', the units"
            )
        if self.off is not None and not len(self.off.deactivation()):
            raise ValueError("'off' names no unit, so there is nothing to remove")
        return self


class Derived(Contract):
    """One use of a map and its state, from queued to done: a derived model, or a report on units.

    model: its id once it is done, `derived:<name>`; null for reports. step: what its worker does now. progress:
    candidates, steps of training or measurements, with the seconds left. off: how many units are removed, trained,
    probed or amplified. most: the shares of the most important units that were asked for. settings: of fine-tuning.
    info, finetuned, quantised: the contents of the model's modelshapley.json, without the kept units; probed,
    amplified: the report; the one of them that belongs to `use`, once it is done.
    """

    id: str
    use: Use = "prune"
    name: str
    model: str | None
    run: str
    parent: str
    task: str
    share: float | None = None
    milliseconds: float | None = None
    most: dict[UnitKind, float] | None = None
    method: str | None = None
    repair: bool | Repairing = False
    scheme: str | None = None
    settings: FinetuneSettings | None = None
    off: dict[UnitKind, int] = Field(description="number of units; empty until they are chosen")
    status: Status
    step: str | None = None
    progress: Progress
    recommendation: Recommendation | None = None
    info: DerivedInfo | None = None
    finetuned: FinetunedInfo | None = None
    quantised: QuantisedInfo | None = None
    probed: ProbeReport | None = None
    amplified: AmplifyReport | None = None
    error: str | None = None
    worker: str | None = None
    owner: str | None = Field(default=None, description="name of the key that submitted it; null without named keys")
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None


class SizeRequest(Contract):
    """Question how large a model would be without a share of its parameters, taken from one kind of unit."""

    run: str = Field(min_length=1, max_length=64)
    method: str = Field(max_length=200)
    unit: UnitKind
    share: Share


class SizePrediction(Contract):
    """Answer to a SizeRequest. bytes: exactly those of the file. off: the units; null if the size cannot be reached.

    predicted: sum of the scores of these units by the map, in its quantity.
    """

    id: str
    status: Status
    request: SizeRequest
    parameters: int | None = None
    parent_parameters: int | None = None
    bytes: int | None = None
    parent_bytes: int | None = None
    predicted: float | None = None
    off: Off | None = None
    error: str | None = None
