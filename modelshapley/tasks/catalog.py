"""Catalogue of tasks: the built-in ones and the task files that users added. Torch-free."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelshapley.contracts.task_files.descriptions import TaskInfo
from modelshapley.contracts.task_files.file import TaskFile
from modelshapley.errors import UnknownName
from modelshapley.tasks.infos import TASKS, built_in_files, info_of

if TYPE_CHECKING:
    from modelshapley.tasks.base import Task

CLASSES = {
    "digits": "builtin.digits.Digits",
    "world-capitals": "builtin.world_capitals.WorldCapitals",
    "image-classification": "kinds.image_classification.ImageClassification",
    "text-classification": "kinds.text_classification.TextClassification",
    "multiple-choice": "kinds.multiple_choice.MultipleChoice",
    "generation": "kinds.generation.Generation",
    "language-modelling": "kinds.language_modelling.LanguageModelling",
    "counterfactual": "kinds.counterfactual.Counterfactual",
}
MAX_OPEN_TASKS = 4  # tasks whose examples stay in memory


class TaskCatalog:
    """Tasks by name.

    roots: folders that may hold data. own: returns the added task files by name; called each time, since files come
    and go. confined: whether task files may name data inside the roots only, as those from the network must.
    """

    def __init__(
        self,
        roots: Sequence[Path] = (),
        own: Callable[[], Mapping[str, TaskFile]] = lambda: {},
        confined: bool = True,
    ) -> None:
        self._confined = confined
        self.roots = [root.resolve() for root in roots]
        self._own = own
        self._open: OrderedDict[str, Task[Any]] = OrderedDict()

    def infos(self) -> list[TaskInfo]:
        """Describe all tasks."""
        return [*TASKS.values(), *(info_of(spec, own=True) for spec in self._own().values())]

    def info(self, name: str) -> TaskInfo:
        """Describe one task. Raises UnknownName."""
        if name in TASKS:
            return TASKS[name]
        own = self._own()
        if name not in own:
            raise UnknownName("task", name, [*TASKS, *own])
        return info_of(own[name], own=True)

    def file(self, name: str) -> TaskFile | None:
        """Return the task file; None for a task that is defined in code. Raises UnknownName."""
        self.info(name)
        return built_in_files().get(name) or self._own().get(name)

    def load(self, name: str) -> Task[Any]:
        """Return a task, ready for use. Raises UnknownName; errors in its data show when they are first read."""
        spec = self.file(name)
        return self.open(spec) if spec is not None else self._cached(name, lambda: _task_class(name)())

    def open(self, spec: TaskFile) -> Task[Any]:
        """Return the task of a task file, which need not be added; its data are read when first needed."""
        kind: str = spec.kind  # type: ignore[attr-defined]  # of all kinds of task file
        return self._cached(spec.model_dump_json(), lambda: _task_class(kind)(spec, self.roots, self._confined))

    def _cached(self, key: str, make: Callable[[], Task[Any]]) -> Task[Any]:
        if key not in self._open:
            self._open[key] = make()
        self._open.move_to_end(key)
        while len(self._open) > MAX_OPEN_TASKS:
            self._open.popitem(last=False)
        return self._open[key]


def _task_class(name: str) -> Any:
    module, _, class_name = CLASSES[name].rpartition(".")
    return getattr(import_module(f"modelshapley.tasks.{module}"), class_name)
