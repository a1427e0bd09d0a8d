"""Derived models: what they were made from, what is left, and what that costs."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from modelshapley.contracts.base import Contract
from modelshapley.contracts.trials import Comparison
from modelshapley.units import UnitKind

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


class Repair(Contract):
    """Least-squares repair of the last MLP projections: loss on held-out probe examples before and after, nats.

    kept: whether the repaired weights are in the model, because they lower that loss.
    """

    kept: bool
    loss_before: float
    loss_after: float
    examples: int


class DerivedInfo(Contract):
    """The file modelshapley.json of a derived model.

    bytes: size of its weights file; parent_bytes: that of the parent written in the same way.
    reload_max_logit_difference: largest difference of a logit between the saved model, loaded in a process of its own,
    and the parent with the same units off.
    """

    format: Literal["modelshapley.derived.v1"] = "modelshapley.derived.v1"
    kind: Literal["pruned"] = "pruned"
    parent: str
    parent_revision: str
    family: str
    task: str
    task_fingerprint: str
    seed: int
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
    versions: dict[str, str]
    created: datetime
