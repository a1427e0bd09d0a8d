"""What the web server tidies up by itself, now and then. Several servers may do it at the same time."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from starlette.concurrency import run_in_threadpool

from backend.web.dependencies import Services

log = logging.getLogger(__name__)
OFTEN_S, SELDOM_S = 1.0, 600.0


def tidy(services: Services, now: datetime) -> None:
    """Remove for good the runs that were deleted longer ago than they are kept, and uploads that were left alone.

    Files of runs go first: where this ends halfway the row is still there, and the next round finds it again.
    """
    before = now - timedelta(hours=services.settings.deleted_kept_hours)
    for run_id in services.records.overdue_runs(before):
        services.storage.drop_run(run_id)
        services.records.purge_run(run_id, before)
        log.info("run %s was deleted long enough ago and is gone for good", run_id)
    for name in services.uploads.drop_stale(now - timedelta(hours=services.settings.upload_kept_hours)):
        log.info("the upload of %s was left alone for too long and is dropped", name)


async def keep_tidy(services: Services) -> None:
    """Tidy until cancelled: a few times in the time that deleted runs and uploads are kept."""
    kept = min(services.settings.deleted_kept_hours, services.settings.upload_kept_hours)
    pause = min(SELDOM_S, max(OFTEN_S, kept * 3600 / 4))
    while True:
        try:
            await run_in_threadpool(tidy, services, datetime.now(UTC))
        except Exception:  # whatever the database or an object store raises: the next round tries again
            log.exception("could not tidy up")
        await asyncio.sleep(pause)
