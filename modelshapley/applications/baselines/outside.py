"""Scores that are not methods of runs, since they need forward passes only and score one kind of unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from modelshapley.applications.baselines.block_influence import BLOCK_INFLUENCE, block_influence
from modelshapley.applications.baselines.reap import REAP, reap
from modelshapley.maps.importance import ImportanceMap
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Task
from modelshapley.units import UnitKind


class Score(Protocol):
    """Scores the units of one kind on the first `limit` probe examples."""

    def __call__(self, loaded: LoadedModel, task: Task[Any], limit: int, seed: int) -> ImportanceMap: ...


@dataclass(frozen=True)
class Outside:
    """A score and the kind of unit that it scores."""

    kind: UnitKind
    score: Score


OUTSIDE: Mapping[str, Outside] = {
    BLOCK_INFLUENCE: Outside(UnitKind.LAYER, block_influence),
    REAP: Outside(UnitKind.EXPERT, reap),
}
"""By the name that stands where methods are named."""
