"""What can be known to be wrong before anything is queued."""

from __future__ import annotations

from modelshapley.anatomy import Anatomy
from modelshapley.catalog import Catalog
from modelshapley.contracts import RunRequest
from modelshapley.errors import BadParameter, TaskMismatch, UnknownName
from modelshapley.methods import canonical
from modelshapley.tasks import TASKS


def spelled_out(request: RunRequest) -> RunRequest:
    """The request with every method in its one spelling. Raises UnknownName, BadParameter (also on a repeat)."""
    methods = [canonical(method) for method in request.methods]
    for method in methods:
        if methods.count(method) > 1:
            raise BadParameter(f"methods names one more than once: {', '.join(request.methods)} mean {method}.")
    return request.model_copy(update={"methods": methods})


def check_run(request: RunRequest, catalog: Catalog) -> Anatomy:
    """The model's anatomy if the request can be queued.

    Raises UnknownName, UnsafeModel, UnsupportedModel or TaskMismatch.
    """
    if request.task not in TASKS:
        raise UnknownName("task", request.task, list(TASKS))
    anatomy = catalog.anatomy(request.model)
    task = TASKS[request.task]
    if anatomy.modality != task.modality:
        raise TaskMismatch.of_modality(task.id, task.modality, request.model, anatomy.modality)
    return anatomy
