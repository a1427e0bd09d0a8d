"""Entry point of one worker: `python -m workers.main`."""

from __future__ import annotations

import logging

from backend.settings import Settings
from modelshapley.errors import ModelShapleyError
from modelshapley.server.logs import configure
from modelshapley.server.processes import keep_files_private
from workers import check_jobs, derive_jobs, example_jobs, prompt_jobs, run_jobs, task_jobs, trial_jobs
from workers.context import get_context
from workers.running.cancelling import CancelWatch
from workers.worker import WarmWorker

log = logging.getLogger(__name__)


def main() -> None:
    try:
        settings = Settings.from_environment()
        configure(settings.log)
        keep_files_private(settings.data)
        context = get_context()
    except ModelShapleyError as error:
        raise SystemExit(f"error: {error}") from None
    # Imported here, so that the first job need not wait for torch.
    jobs = (run_jobs, trial_jobs, check_jobs, task_jobs, example_jobs, derive_jobs, prompt_jobs)
    modules = ", ".join(module.__name__ for module in jobs)
    log.info("worker %s: jobs from %s", context.name, modules)
    worker = WarmWorker(
        context.queues, context.name, context.warm.snapshot, context.pending_jobs, CancelWatch(context.records)
    )
    context.turns.server = worker
    worker.work(logging_level="WARNING")


if __name__ == "__main__":
    main()
