"""Maps of runs for the routes: as computed, or read with another weight of harm."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from backend.web.dependencies import Services
from modelshapley.contracts import MapData, Run, Status
from modelshapley.errors import Conflict, NotFound
from modelshapley.maps.importance import ImportanceMap
from modelshapley.methods import reading_of
from modelshapley.methods.specs import MapReading
from modelshapley.units import UnitKind


def load_map(services: Services, run: Run, method: str, unit: UnitKind, label: str | None = None) -> ImportanceMap:
    """Load a map as computed, or another reading of it (`two-sided,harm=0.25` of a run scored by `two-sided`).

    label: a class of examples, for the map of these. Raises NotFound (the run has no such method, unit or class) and
    Conflict (it has no maps yet, or never will).
    """
    reading = _reading(run, method, unit)
    if run.status is not Status.DONE:
        raise Conflict(f"Run {run.id} is {run.status.value}; its maps are available once it is done.")
    if label is not None and label not in run.classes:
        raise NotFound(_no_class(run, label))
    importance_map = services.storage.load_map(run.id, reading.computed, label)
    return importance_map if method == reading.computed else importance_map.with_harm(reading.harm)


def load_partial(services: Services, run: Run, method: str, unit: UnitKind, after: int = 0) -> ImportanceMap | None:
    """Load the map so far of a run that is not done, and have its worker compute newer ones for a while.

    None if there is no map of more than `after` examples yet. Raises NotFound as :func:`load_map`, and Conflict for a
    run that has ended.
    """
    reading = _reading(run, method, unit)
    if run.status.ended:
        way_out = f"its map is /api/v1/runs/{run.id}/maps" if run.status is Status.DONE else "it has no map"
        raise Conflict(f"Run {run.id} is {run.status.value}; {way_out}.")
    services.watched.watch(run.id)
    importance_map = services.storage.load_partial(run.id, reading.computed)
    if importance_map is None or importance_map.provenance["n"] <= after:
        return None
    return importance_map if method == reading.computed else importance_map.with_harm(reading.harm)


def _no_class(run: Run, label: str) -> str:
    if not run.per_class:
        return f"Run {run.id} has no maps per class; submit one with per_class true to have them."
    return f"Run {run.id} has no class {label!r}; its classes are {', '.join(run.classes)}."


def _reading(run: Run, method: str, unit: UnitKind) -> MapReading:
    """Return how a method is read from what the run computes. Raises NotFound."""
    reading = reading_of(method, run.methods)
    if reading is None or unit not in run.units:
        raise NotFound(
            f"Run {run.id} has no map of {unit.value}s by {method!r}; "
            f"it was submitted with {', '.join(run.methods)} on {', '.join(run.units)}."
        )
    return reading


def pooled_or_whole(run_id: str, importance_map: ImportanceMap, unit: UnitKind, columns: int | None) -> MapData:
    """Return a map for an answer, pooled to at most so many columns. run_id: of its run or prompt."""
    scores, errors = importance_map.table(unit)
    if columns is None or columns >= scores.shape[1]:
        return map_data(run_id, importance_map, unit, scores, errors)
    scores, errors, edges = importance_map.pooled(unit, columns)
    return map_data(run_id, importance_map, unit, scores, errors, edges=edges)


def map_data(
    run_id: str,
    importance_map: ImportanceMap,
    unit: UnitKind,
    scores: npt.NDArray[np.float64],
    errors: npt.NDArray[np.float64],
    edges: list[int] | None = None,
    columns: list[str] | None = None,
) -> MapData:
    """Return scores and errors, (layers, columns), for an answer."""
    return MapData(
        run=run_id,
        method=importance_map.method,
        unit=unit,
        shape=list(importance_map.scores[unit].shape),
        edges=edges,
        columns=columns,
        scores=_finite(scores),
        standard_errors=_finite(errors),
        quantity=importance_map.quantity,
        signed=importance_map.signed,
        provenance=dict(importance_map.provenance),
    )


def _finite(table: npt.NDArray[np.float64]) -> list[list[float | None]]:
    return [[value if np.isfinite(value) else None for value in row] for row in table.tolist()]
