"""Maps as bounded summaries. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from modelshapley.agents.results import Compared, KindComparison, LayerSum, ScoredUnit, SharedTop
from modelshapley.errors import ModelShapleyError
from modelshapley.maps.compare import compare_maps, correlation_interval, differences, shares
from modelshapley.maps.importance import ImportanceMap
from modelshapley.units import UnitKind, unit_name


def extremes(importance_map: ImportanceMap, kind: UnitKind, count: int) -> tuple[list[ScoredUnit], list[ScoredUnit]]:
    """Return the `count` units with the highest scores and those with the lowest, equal ones in unit order."""
    flat = importance_map.scores[kind].reshape(-1)
    number = min(count, int(np.isfinite(flat).sum()))
    highest, lowest = np.argsort(-flat, kind="stable"), np.argsort(flat, kind="stable")  # NaN comes last in both
    return _scored(importance_map, kind, highest[:number]), _scored(importance_map, kind, lowest[:number])


def _scored(importance_map: ImportanceMap, kind: UnitKind, places: npt.NDArray[np.int64]) -> list[ScoredUnit]:
    scores, errors = importance_map.scores[kind], importance_map.standard_errors[kind]
    part = shares(scores)
    indices = np.stack(np.unravel_index(places, scores.shape), axis=1).tolist()
    return [
        ScoredUnit(
            index=index,
            name=unit_name(kind, tuple(index)),
            score=float(scores[tuple(index)]),
            standard_error=_finite(float(errors[tuple(index)])),
            share=float(part[tuple(index)]),
        )
        for index in indices
    ]


def layer_sums(importance_map: ImportanceMap, kind: UnitKind) -> list[LayerSum]:
    """Return the sum of the scores in each layer."""
    table, _ = importance_map.table(kind)
    sums, parts = np.nansum(table, axis=1), np.nansum(shares(table), axis=1)
    return [
        LayerSum(layer=layer, sum=float(total), share=float(part))
        for layer, (total, part) in enumerate(zip(sums, parts, strict=True))
    ]


def comparison(
    runs: tuple[str, str], maps: Sequence[tuple[ImportanceMap, ImportanceMap]], different_tasks: bool
) -> Compared:
    """Compare two runs by pairs of maps, a pair for each kind of unit, at least one.

    Raises ModelShapleyError if shapes differ and, unless `different_tasks` is allowed, if the tasks' fingerprints do.
    """
    first, second = maps[0]
    differ = differences(first, second)
    if "task_fingerprint" in differ and not different_tasks:
        raise ModelShapleyError(
            f"Runs {runs[0]} and {runs[1]} are of different tasks, or of other examples, prompts or seeds, so their "
            "scores measure different things. Compare them anyway with different_tasks true."
        )
    kinds = [_kind(pair) for pair in maps]
    return Compared(runs=runs, methods=(first.method, second.method), differences=differ, kinds=kinds)


def _kind(pair: tuple[ImportanceMap, ImportanceMap]) -> KindComparison:
    (found,) = compare_maps(*pair, anyway=True)
    return KindComparison(
        unit=found.kind,
        units=found.units,
        rho=found.rho,
        rho_interval=None if found.rho is None else correlation_interval(found.rho, found.units),
        tops=[SharedTop(share=share, shared=shared) for share, shared in found.overlap.items()],
    )


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
