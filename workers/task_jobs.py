"""The job that previews a task: it reads the data and shows what a run would see."""

from __future__ import annotations

import logging

from modelshapley.contracts import Status
from modelshapley.contracts.task_files.descriptions import TaskCheck, TaskCheckRequest
from modelshapley.errors import NotFound
from modelshapley.tasks.preview import check_task as preview
from workers.context import WorkerContext, get_context
from workers.running.failures import failures_recorded

log = logging.getLogger(__name__)


def check_task(check_id: str) -> None:
    """Preview a task; the result replaces the queued one."""
    context = get_context()
    try:
        request = context.result_caches.task_checks.request(check_id)
    except NotFound:
        log.info("check %s of a task has expired", check_id)
        return
    context.result_caches.task_checks.save(check_id, TaskCheck(id=check_id, status=Status.RUNNING))

    def fail(error: str) -> None:
        context.result_caches.task_checks.save(check_id, TaskCheck(id=check_id, status=Status.FAILED, error=error))

    with failures_recorded(fail):
        result = _preview(context, request, check_id)
        context.result_caches.task_checks.save(
            check_id, result.model_copy(update={"id": check_id, "status": Status.DONE})
        )


def _preview(context: WorkerContext, request: TaskCheckRequest, check_id: str) -> TaskCheck:
    loaded = context.warm.model(request.model) if request.model is not None else None
    # A new catalog reads the data again: they may have been corrected since the last preview.
    tasks = context.tasks.new()
    # The contract requires one of the two.
    task = tasks.open(request.file) if request.file is not None else tasks.load(str(request.task))
    return preview(task, loaded, request.seed, check_id)
