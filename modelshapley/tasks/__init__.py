"""Tasks: the examples a model is scored on and what counts as right. `catalog` finds tasks by name."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from modelshapley.tasks.catalog import TaskCatalog
from modelshapley.tasks.infos import TASKS

if TYPE_CHECKING:
    from modelshapley.tasks.base import Task

__all__ = ["TASKS", "TaskCatalog", "load_task"]


@cache
def _built_in_catalog() -> TaskCatalog:
    return TaskCatalog()


def load_task(name: str) -> Task[Any]:
    """Return a built-in task, without any data folder. Raises UnknownName."""
    return _built_in_catalog().load(name)
