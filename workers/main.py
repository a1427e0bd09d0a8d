"""Start one worker: `python -m workers.main`."""

from __future__ import annotations

import logging

from rq import Queue

from backend.queues import LOST_AFTER_S, QUEUES_BY_PRIORITY, SERIALIZER
from workers import jobs, task_checks
from workers.shop import open_shop
from workers.worker import WarmWorker

log = logging.getLogger(__name__)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    for chatty in ("rq.worker", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    shop = open_shop()
    log.info(
        "worker %s: jobs from %s", shop.name, ", ".join(module.__name__ for module in (jobs, task_checks))
    )  # imported now, so that no first job waits for torch
    redis = shop.queues.redis
    queues = [Queue(name, connection=redis, serializer=SERIALIZER) for name in QUEUES_BY_PRIORITY]
    worker = WarmWorker(
        queues,
        name=shop.name,
        connection=redis,
        serializer=SERIALIZER,
        worker_ttl=LOST_AFTER_S,
        maintenance_interval=5,
        log_job_description=False,
    )
    worker.work(logging_level="WARNING")


if __name__ == "__main__":
    main()
