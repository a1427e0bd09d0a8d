"""Deactivations and their measured accuracy."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, NonNegativeInt, StrictBool, model_validator

from modelshapley.contracts.base import MAX_UNITS_OFF, Contract, Interval, Status
from modelshapley.units import OFF, Deactivation, Treatment, UnitKind

Pair = tuple[NonNegativeInt, NonNegativeInt]


class Off(Contract):
    """Units to switch off or treat otherwise, by index from 0: a layer by its number, others by [layer, index]."""

    neuron: list[Pair] = Field(default=[], max_length=MAX_UNITS_OFF, fail_fast=True)
    head: list[Pair] = Field(default=[], max_length=MAX_UNITS_OFF, fail_fast=True)
    layer: list[NonNegativeInt] = Field(default=[], max_length=MAX_UNITS_OFF, fail_fast=True)
    expert: list[Pair] = Field(default=[], max_length=MAX_UNITS_OFF, fail_fast=True)
    row: list[Pair] = Field(default=[], max_length=MAX_UNITS_OFF, fail_fast=True)

    def deactivation(self, treatment: Treatment = OFF) -> Deactivation:
        return Deactivation.of({kind: getattr(self, kind.value) for kind in UnitKind}, treatment)

    @classmethod
    def from_deactivation(cls, deactivation: Deactivation) -> Self:
        pairs = {
            kind.value: [(u[0], u[1]) for u in deactivation.of_kind(kind)]
            for kind in UnitKind
            if kind is not UnitKind.LAYER
        }
        return cls(layer=[u[0] for u in deactivation.of_kind(UnitKind.LAYER)], **pairs)


class TrialRequest(Contract):
    """Request for a trial: `off`, or all of `method`, `unit`, `which`, `fraction` ("the 20 % least important heads").

    `session`: a name of the caller's choice; a newer trial of the same session supersedes older ones.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"run": "3f9c0a51", "off": {"head": [[0, 1], [2, 3]]}},
                {"run": "3f9c0a51", "method": "two-sided", "unit": "head", "which": "least", "fraction": 0.2},
                {
                    "run": "3f9c0a51",
                    "off": {"head": [[0, 1]]},
                    "treatment": {"how": "scale", "value": 0.5},
                    "half_width": 0.02,
                },
            ]
        }
    )

    run: str = Field(min_length=1, max_length=64)
    off: Off | None = None
    method: str | None = None
    unit: UnitKind | None = None
    which: Literal["least", "most"] | None = None
    fraction: Annotated[float, Field(ge=0, le=1)] | None = None
    treatment: Treatment = Field(default=OFF, description="what is done to the units; default: switch them off")
    half_width: Annotated[float, Field(gt=0, lt=0.5)] | None = Field(
        default=None,
        description="stop once the 95 % interval of the accuracy is at most twice as wide as this, on at least 30 "
        "examples; default: measure all test examples",
        examples=[0.02],
    )
    session: str | None = Field(default=None, max_length=64)
    lease: StrictBool = Field(
        default=False,
        description="end the trial once nobody has followed its events for 15 seconds, as pages of the dashboard ask",
    )

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        ranked = {"method": self.method, "unit": self.unit, "which": self.which, "fraction": self.fraction}
        missing = [name for name, value in ranked.items() if value is None]
        if self.off is not None and len(missing) < len(ranked):
            raise ValueError("give either 'off', or 'method', 'unit', 'which' and 'fraction', not both")
        if self.off is None and missing:
            raise ValueError(
                f"give 'off', or all of 'method', 'unit', 'which' and 'fraction' (missing: {', '.join(missing)})"
            )
        return self


class Comparison(Contract):
    """Accuracy now against the intact model on the same n examples, with 95 % intervals (docs/methods.md)."""

    n: int
    accuracy: float
    interval: Interval
    intact: float
    intact_interval: Interval
    difference: float
    difference_interval: Interval


class Waiting(Contract):
    """What a queued trial waits for."""

    ahead: int = Field(default=0, description="jobs before it in its queue")
    busy_with: str | None = Field(
        default=None,
        description="job of the worker that has least time left, as `current` in `GET /workers`; null if none works",
        examples=["run:3f9c0a51"],
    )
    eta_s: float | None = Field(
        default=None, description="seconds left of that job if it is a run; trials go between its passes"
    )
    sentence: str = Field(default="waiting for a worker …", description="all of this as a sentence")


class Trial(Contract):
    """The accuracy of one deactivation, measured chunk by chunk.

    `accuracy`, `interval` (95 %, Wilson) and `difference` (now minus intact, on the same `n` examples, with
    its 95 % interval for paired proportions) change until `status` is done; then n = total, or the interval is as
    narrow as `half_width` requires.
    """

    id: str
    run: str
    status: Status
    off: Off
    treatment: Treatment = OFF
    counts: dict[UnitKind, int]
    half_width: float | None = None
    n: int
    total: int
    sequence: int = Field(default=0, description="counter of published states: newer states have larger numbers")
    accuracy: float | None = None
    interval: Interval | None = None
    intact: float | None = Field(default=None, description="accuracy of the intact model on the same n examples")
    intact_interval: Interval | None = None
    difference: float | None = None
    difference_interval: Interval | None = None
    predicted: dict[str, float] = Field(
        default={},
        description="prediction of each of the run's maps before measuring: the sum of the units' scores (times 1 "
        "minus the factor if they are scaled), in the map's quantity; empty where maps predict nothing, as for means "
        "and offsets",
        examples=[{"two-sided": 0.31}],
    )
    recomputed: str | None = Field(
        default=None,
        description="why every layer was computed; null if only those from the first touched one were",
    )
    restarts: int = Field(default=0, description="how often its worker was lost and another one continued")
    error: str | None = None
    owner: str | None = Field(default=None, description="name of the key that submitted it; null without named keys")
    leased: bool = Field(default=False, description="whether it ends once nobody follows its events")
    waiting: Waiting | None = Field(default=None, description="what it waits for, while it is queued")
    created: datetime
    finished: datetime | None = None


class GroupRequest(Contract):
    """Request to save units of a model under a name."""

    name: str = Field(min_length=1, max_length=80, examples=["arithmetic heads"])
    model: str = Field(min_length=1, max_length=200)
    off: Off


class Group(GroupRequest):
    """A saved group of units. `counts`: number of units of each kind."""

    id: str
    counts: dict[UnitKind, int]
    created: datetime
