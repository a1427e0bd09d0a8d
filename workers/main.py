"""Start one worker: `python -m workers.main`."""

from __future__ import annotations

import logging

from workers import checking, details, jobs, task_checks, trial_jobs
from workers.shop import open_shop
from workers.worker import WarmWorker

log = logging.getLogger(__name__)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    for chatty in ("rq.worker", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    shop = open_shop()
    # Imported now, so that no first job waits for torch.
    modules = ", ".join(module.__name__ for module in (jobs, trial_jobs, checking, task_checks, details))
    log.info("worker %s: jobs from %s", shop.name, modules)
    worker = WarmWorker(shop.queues, shop.name, shop.warm.told, shop.open_work)
    shop.turns.server = worker
    worker.work(logging_level="WARNING")


if __name__ == "__main__":
    main()
