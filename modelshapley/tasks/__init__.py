"""What is asked and what counts as right. `catalog` finds tasks by name; one kind of task a file."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from modelshapley.tasks.catalog import TaskCatalog
from modelshapley.tasks.infos import TASKS

if TYPE_CHECKING:
    from modelshapley.tasks.base import Task

__all__ = ["TASKS", "TaskCatalog", "load_task"]


@cache
def _without_data() -> TaskCatalog:
    return TaskCatalog()


def load_task(name: str) -> Task[Any]:
    """A task that comes with the project, without any folder of data. Raises UnknownName."""
    return _without_data().load(name)
