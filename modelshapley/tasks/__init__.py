"""One task a file; `infos` lists them without torch, `load_task` gives the working object."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from modelshapley.errors import UnknownName
from modelshapley.tasks.infos import TASKS

if TYPE_CHECKING:
    from modelshapley.tasks.base import Task

__all__ = ["TASKS", "load_task"]

_CLASSES = {"digits": "digits.Digits", "world-capitals": "world_capitals.WorldCapitals"}


@cache
def load_task(task_id: str) -> Task[Any]:
    """The task with this id. Raises UnknownName."""
    if task_id not in TASKS:
        raise UnknownName("task", task_id, list(TASKS))
    module, _, name = _CLASSES[task_id].partition(".")
    task: Task[Any] = getattr(import_module(f"{__name__}.{module}"), name)()
    return task
