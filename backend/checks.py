"""What can be known to be wrong before anything is queued."""

from __future__ import annotations

from modelshapley.anatomy import Anatomy
from modelshapley.catalog import Catalog
from modelshapley.contracts import RunRequest
from modelshapley.errors import BadParameter, TaskMismatch, UnknownName
from modelshapley.methods import canonical, check_size
from modelshapley.tasks import TASKS
from modelshapley.units import USUAL


def check_run(request: RunRequest, catalog: Catalog) -> tuple[RunRequest, Anatomy]:
    """The request with every method in its one spelling and its kinds of unit named, and the model's anatomy.

    Raises UnknownName, BadParameter, UnsafeModel, UnsupportedModel or TaskMismatch.
    """
    methods = _spelled_out(request.methods)
    if request.task not in TASKS:
        raise UnknownName("task", request.task, list(TASKS))
    anatomy, task = catalog.anatomy(request.model), TASKS[request.task]
    if anatomy.auto_class != task.auto_class:
        raise TaskMismatch.of(task.id, task.auto_class, request.model, anatomy.auto_class)
    if request.per_class and task.classes is None:
        raise TaskMismatch.no_classes(task.id)
    there = anatomy.shapes.kinds
    units = request.units if "units" in request.model_fields_set else [kind for kind in USUAL if kind in there]
    for kind in units:
        anatomy.shapes.of(kind)  # raises where the model has none
        for method in methods:
            check_size(method, kind.value, anatomy.shapes.count(kind))
    return request.model_copy(update={"methods": methods, "units": units}), anatomy


def _spelled_out(methods: list[str]) -> list[str]:
    spelled = [canonical(method) for method in methods]
    for method in spelled:
        if spelled.count(method) > 1:
            raise BadParameter(f"methods names one more than once: {', '.join(methods)} mean {method}.")
    return spelled
