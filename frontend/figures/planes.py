"""One kind of unit of a map at full resolution, as the pages use it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from modelshapley.units import UnitKind

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Plane:
    """One kind of unit of one map. scores, standard_errors: (layers, units of the widest layer), NaN: no unit."""

    run: str
    method: str
    unit: UnitKind
    shape: list[int]
    scores: Array
    standard_errors: Array
    quantity: str
    signed: bool
    provenance: dict[str, Any]

    @cached_property
    def ranks(self) -> npt.NDArray[np.int64]:
        return ranks(self.scores)

    @cached_property
    def total(self) -> float:
        """The sum of absolute scores, which shares refer to."""
        return magnitude(self.scores)

    @cached_property
    def counts(self) -> list[int]:
        return counted(self.scores)


def magnitude(scores: Array) -> float:
    """Return the sum of absolute scores of all units."""
    return float(np.nansum(np.abs(scores)))


def counted(scores: Array) -> list[int]:
    """Count the units of each layer."""
    counts: list[int] = np.isfinite(scores).sum(1).tolist()
    return counts


def ranks(scores: Array) -> npt.NDArray[np.int64]:
    """Return ranks: 1 for the highest score, equal scores in unit order."""
    order = np.argsort(-scores.reshape(-1), kind="stable")
    result = np.empty(scores.size, dtype=np.int64)
    result[order] = np.arange(1, scores.size + 1)
    return result.reshape(scores.shape)
