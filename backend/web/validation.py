"""Validation of requests before anything is queued."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

from modelshapley.architectures.anatomy import Anatomy
from modelshapley.contracts import RunRequest
from modelshapley.contracts.task_files.descriptions import TaskInfo
from modelshapley.contracts.task_files.file import Source, TaskFile
from modelshapley.errors import BadParameter, BadTask, TaskMismatch
from modelshapley.methods import canonical, check_size
from modelshapley.models.catalog import Catalog
from modelshapley.tasks.catalog import TaskCatalog
from modelshapley.units import DEFAULT_KINDS

RESERVED_NAMES = ("checks",)  # parts of the API's paths


def check_run(request: RunRequest, catalog: Catalog, tasks: TaskCatalog) -> tuple[RunRequest, Anatomy]:
    """Return the request with pinned model, canonical methods and explicit units; and the model's anatomy.

    Raises UnknownName, BadParameter, UnsafeModel, UnsupportedModel or TaskMismatch.
    """
    methods, model = _canonical_methods(request.methods), catalog.pin(request.model)
    task, anatomy = tasks.info(request.task), catalog.anatomy(model)
    check_fit(task, model, anatomy)
    if request.per_class and task.classes is None:
        raise TaskMismatch.no_classes(task.id)
    kinds = anatomy.shapes.kinds
    units = request.units if "units" in request.model_fields_set else [kind for kind in DEFAULT_KINDS if kind in kinds]
    for kind in units:
        anatomy.shapes.of(kind)  # raises where the model has none
        for method in methods:
            check_size(method, kind.value, anatomy.shapes.count(kind))
    return request.model_copy(update={"model": model, "methods": methods, "units": units}), anatomy


def check_fit(task: TaskInfo, model: str, anatomy: Anatomy) -> None:
    """Raise TaskMismatch if the task is for another kind of model."""
    if anatomy.auto_class != task.auto_class:
        raise TaskMismatch.of(task.id, task.auto_class, model, anatomy.auto_class)


def check_file(spec: TaskFile, roots: Sequence[Path]) -> None:
    """Raise BadTask if a submitted task has a reserved name or a path outside the dataset roots."""
    problems = []
    if spec.name in RESERVED_NAMES:
        problems.append(("name", f"is taken by this API: {', '.join(RESERVED_NAMES)}; choose another"))
    field, words = _path_problem(spec.source, roots)
    if words:
        problems.append((field, words))
    if problems:
        raise BadTask(spec.name, problems)


def _path_problem(source: Source, roots: Sequence[Path]) -> tuple[str, str]:
    """Return the field that leads out of the dataset roots, and how; ('', '') if none does."""
    if source.path is None:
        return "", ""
    path = PurePath(source.path)
    inside = "give it from a dataset root (MODELSHAPLEY_DATASET_ROOTS), such as my-data/train.jsonl"
    if path.is_absolute() or ".." in path.parts or "\0" in source.path:
        return "source.path", f"{source.path!r} leads out of the dataset roots; {inside}"
    if any(part.startswith(".") for part in path.parts):
        return "source.path", f"{source.path!r} is hidden; a task reads plain folders and files"
    if not all((root / path).resolve().is_relative_to(root.resolve()) for root in roots):
        return "source.path", f"{source.path!r} is a link that leads out of the dataset roots; {inside}"
    return "", ""


def _canonical_methods(methods: list[str]) -> list[str]:
    spelled = [canonical(method) for method in methods]
    for method, count in Counter(spelled).items():
        if count > 1:
            raise BadParameter(f"methods names one more than once: {', '.join(methods)} mean {method}.")
    return spelled
