"""Choose the least important units so that layers stay alike, which lets a plain config describe the smaller model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from modelshapley.applications.plans import queries_of_group
from modelshapley.architectures.anatomy import Anatomy
from modelshapley.errors import ModelShapleyError
from modelshapley.maps.importance import ImportanceMap
from modelshapley.units import Deactivation, Unit, UnitKind, extreme_units

Order = Literal["layer", "model"]
"""layer: the same share of each layer. model: the least important of the whole model, whatever their layers."""
HeadPattern = Literal["groups", "queries"]
"""groups: heads go with the keys and values they share. queries: the same number of query heads of each group."""
Scores = npt.NDArray[np.float64]


def least_important(
    importance_map: ImportanceMap,
    anatomy: Anatomy,
    kind: UnitKind,
    fraction: float,
    order: Order = "layer",
    heads: HeadPattern = "groups",
) -> Deactivation:
    """Return about `fraction` (0 to 1) of the units of a kind, the least important by a map.

    Counts are rounded to the nearest whole unit (halves up) in each layer or group. Heads that share keys and values
    are chosen by the pattern `heads`. Raises UnknownName for a kind that the map has none of, ModelShapleyError for a
    fraction out of range.
    """
    if not 0 <= fraction < 1:
        raise ModelShapleyError(f"A share of {kind.value}s to remove goes from 0 to below 1, not {fraction:g}.")
    importance_map.check_kind(kind)
    scores = importance_map.scores[kind]
    if order == "model" or kind in (UnitKind.LAYER, UnitKind.ROW):
        return extreme_units(scores, kind, "least", fraction)
    units: list[Unit] = []
    for layer in range(anatomy.shapes.layers):
        count = anatomy.layers[layer].count(kind)
        if count and kind is UnitKind.HEAD:
            units += _heads_of(anatomy, layer, scores[layer], fraction, heads)
        elif count:
            units += [(layer, i) for i in _least(scores[layer, :count], fraction)]
    return Deactivation.of({kind: units})


def merged(deactivations: Mapping[UnitKind, Deactivation] | list[Deactivation]) -> Deactivation:
    """Return all units of several deactivations, switched off."""
    parts = list(deactivations.values()) if isinstance(deactivations, Mapping) else deactivations
    return Deactivation.of({kind: [unit for part in parts for unit in part.of_kind(kind)] for kind in UnitKind})


def _least(scores: Scores, fraction: float) -> list[int]:
    """Return the indices of the lowest scores; equal ones in order."""
    count = int(np.floor(fraction * len(scores) + 0.5))
    chosen: list[int] = np.argsort(scores, kind="stable")[:count].tolist()
    return chosen


def _heads_of(anatomy: Anatomy, layer: int, scores: Scores, fraction: float, pattern: HeadPattern) -> list[Unit]:
    """Choose heads of each attention of a layer."""
    units: list[Unit] = []
    start = 0
    for number, attention in enumerate(anatomy.layers[layer].attentions):
        queries = queries_of_group(anatomy.layers[layer]) if number == 0 else 1
        table = scores[start : start + attention.heads].reshape(-1, queries)
        if pattern == "groups" or queries == 1:
            groups = _least(table.sum(1), fraction)
            chosen = [group * queries + query for group in groups for query in range(queries)]
        else:
            chosen = [group * queries + query for group, row in enumerate(table) for query in _least(row, fraction)]
        units += [(layer, start + head) for head in chosen]
        start += attention.heads
    return units
