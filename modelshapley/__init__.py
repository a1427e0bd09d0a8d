"""Shapley values of model units from one backward pass: score a model's units, switch them off, measure.

The names below are imported when they are first used, so that `import modelshapley` loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelshapley.api import evaluate, load_model, load_task, measure, prune, score
    from modelshapley.maps.importance import ImportanceMap
    from modelshapley.units import Deactivation, Treatment, UnitKind

__version__ = "0.2.0"
__all__ = [
    "Deactivation",
    "ImportanceMap",
    "Treatment",
    "UnitKind",
    "evaluate",
    "load_model",
    "load_task",
    "measure",
    "prune",
    "score",
]
_HOMES = {
    "Deactivation": "modelshapley.units",
    "ImportanceMap": "modelshapley.maps.importance",
    "Treatment": "modelshapley.units",
    "UnitKind": "modelshapley.units",
    "evaluate": "modelshapley.api",
    "load_model": "modelshapley.api",
    "load_task": "modelshapley.api",
    "measure": "modelshapley.api",
    "prune": "modelshapley.api",
    "score": "modelshapley.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
