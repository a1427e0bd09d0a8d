"""What can be known to be wrong before anything is queued."""

from __future__ import annotations

from modelshapley.anatomy import Anatomy
from modelshapley.catalog import Catalog
from modelshapley.contracts import RunRequest
from modelshapley.errors import TaskMismatch, UnknownName
from modelshapley.methods import METHODS
from modelshapley.tasks import TASKS


def check_run(request: RunRequest, catalog: Catalog) -> Anatomy:
    """The model's anatomy if the request can be queued.

    Raises UnknownName, UnsafeModel, UnsupportedModel or TaskMismatch.
    """
    if request.task not in TASKS:
        raise UnknownName("task", request.task, list(TASKS))
    for method in request.methods:
        if method not in METHODS:
            raise UnknownName("method", method, list(METHODS))
    anatomy = catalog.anatomy(request.model)
    task = TASKS[request.task]
    if anatomy.modality != task.modality:
        raise TaskMismatch.of_modality(task.id, task.modality, request.model, anatomy.modality)
    return anatomy
