"""The job behind a look at a task: read its data, and show what a run would see."""

from __future__ import annotations

import logging

from modelshapley.contracts import Status
from modelshapley.errors import NotFound
from modelshapley.tasks.check import check_task as look_at
from modelshapley.tasks.shown import TaskCheck, TaskCheckRequest
from workers.failures import failures_recorded
from workers.shop import Shop, open_shop

log = logging.getLogger(__name__)


def check_task(check_id: str) -> None:
    """Do a queued check; what is found replaces it."""
    shop = open_shop()
    try:
        request = shop.asked.task_checks.request(check_id)
    except NotFound:
        log.info("check %s of a task is forgotten", check_id)
        return
    shop.asked.task_checks.save(check_id, TaskCheck(id=check_id, status=Status.RUNNING))

    def fail(words: str) -> None:
        shop.asked.task_checks.save(check_id, TaskCheck(id=check_id, status=Status.FAILED, error=words))

    with failures_recorded(fail):
        found = _found(shop, request, check_id)
        shop.asked.task_checks.save(check_id, found.model_copy(update={"id": check_id, "status": Status.DONE}))


def _found(shop: Shop, request: TaskCheckRequest, check_id: str) -> TaskCheck:
    loaded = shop.warm.model(request.model) if request.model is not None else None
    # A catalog of its own reads the data anew: they may have been put right since the last look.
    tasks = shop.tasks.new()
    # The contract holds that one of the two is given.
    task = tasks.open(request.file) if request.file is not None else tasks.load(str(request.task))
    return look_at(task, loaded, request.seed, check_id)
