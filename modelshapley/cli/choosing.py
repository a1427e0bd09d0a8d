"""Options that choose units: a share, a map from a file or scored now, and where results go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelshapley.cli.options import progress
from modelshapley.errors import ModelShapleyError
from modelshapley.units import UnitKind

if TYPE_CHECKING:
    from modelshapley.maps.importance import ImportanceMap
    from modelshapley.models.loaded import LoadedModel
    from modelshapley.tasks.base import Task


def share_of(text: str) -> tuple[UnitKind, float]:
    """Read KIND=SHARE. Raises ModelShapleyError."""
    name, _, value = text.partition("=")
    try:
        kind, share = UnitKind(name), float(value)
    except ValueError:
        kinds = ", ".join(kind.value for kind in UnitKind)
        raise ModelShapleyError(
            f"Give KIND=SHARE, such as neuron=0.25, with a kind of {kinds}; not {text!r}."
        ) from None
    return kind, share


def require_new(folder: Path) -> None:
    """Raise ModelShapleyError if the folder exists."""
    if folder.exists():
        raise ModelShapleyError(f"{str(folder)!r} exists already; choose another folder, or delete it first.")


def map_of(
    file: Path | None,
    loaded: LoadedModel,
    task: Task[Any] | None,
    method: str,
    kinds: list[UnitKind],
    limit: int,
    seed: int,
) -> ImportanceMap:
    """Return the map in the file or, without one, a map scored on the task now; one of the two is given."""
    from modelshapley.applications.baselines.outside import OUTSIDE
    from modelshapley.maps.importance import ImportanceMap
    from modelshapley.methods import load_method
    from modelshapley.scoring.job import Scoring, score

    if file is not None:
        return ImportanceMap.load(file)
    assert task is not None
    if method in OUTSIDE:
        return OUTSIDE[method].score(loaded, task, limit, seed)
    scoring = Scoring(loaded, task, [load_method(method)], kinds, limit, seed)
    with progress(f"{loaded.id} on {task.info.id} by {method}") as tell:
        (importance_map,) = score(scoring, tell).values()
    return importance_map
