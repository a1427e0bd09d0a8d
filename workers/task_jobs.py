"""The job behind a look at a task: read its data, and show what a run would see."""

from __future__ import annotations

import logging

from modelshapley.contracts import Status
from modelshapley.contracts.tasks import TaskCheck, TaskCheckRequest
from modelshapley.errors import NotFound
from modelshapley.tasks.preview import check_task as look_at
from workers.context import WorkerContext, get_context
from workers.failures import failures_recorded

log = logging.getLogger(__name__)


def check_task(check_id: str) -> None:
    """Do a queued check; what is found replaces it."""
    context = get_context()
    try:
        request = context.result_caches.task_checks.request(check_id)
    except NotFound:
        log.info("check %s of a task is forgotten", check_id)
        return
    context.result_caches.task_checks.save(check_id, TaskCheck(id=check_id, status=Status.RUNNING))

    def fail(words: str) -> None:
        context.result_caches.task_checks.save(check_id, TaskCheck(id=check_id, status=Status.FAILED, error=words))

    with failures_recorded(fail):
        found = _found(context, request, check_id)
        context.result_caches.task_checks.save(
            check_id, found.model_copy(update={"id": check_id, "status": Status.DONE})
        )


def _found(context: WorkerContext, request: TaskCheckRequest, check_id: str) -> TaskCheck:
    loaded = context.warm.model(request.model) if request.model is not None else None
    # A catalog of its own reads the data anew: they may have been put right since the last look.
    tasks = context.tasks.new()
    # The contract holds that one of the two is given.
    task = tasks.open(request.file) if request.file is not None else tasks.load(str(request.task))
    return look_at(task, loaded, request.seed, check_id)
