"""Periodic clean-up by the web server. Several servers may run it at the same time."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from starlette.concurrency import run_in_threadpool

from backend.web.dependencies import Services

log = logging.getLogger(__name__)
MIN_PAUSE_S, MAX_PAUSE_S = 1.0, 600.0


def clean_up(services: Services, now: datetime) -> None:
    """Permanently remove runs whose time to be restored is over, and uploads that stopped; delete models that
    nobody uses; forget old entries of the audit log.

    Files of a run are removed first: if this is interrupted, the row still exists, and the next round finds it again.
    """
    _expire(services, now)
    before = now - timedelta(hours=services.settings.deleted_kept_hours)
    for run_id in services.records.overdue_runs(before):
        services.storage.drop_run(run_id)
        services.records.purge_run(run_id, before)
        log.info("removed run %s, which was deleted long enough ago", run_id)
    services.records.forget_audit(now - timedelta(days=services.settings.audit_kept_days))
    stopped = now - timedelta(hours=services.settings.upload_kept_hours)
    for name in [*services.uploads.drop_stale(stopped), *services.data_uploads.drop_stale(stopped)]:
        log.info("discarded the upload of %s, which stopped long ago", name)
    _drop_unused_models(services, now)


def _expire(services: Services, now: datetime) -> None:
    """Delete runs and remove trials that are older than the settings allow. Deleted runs can still be restored."""
    settings = services.settings
    if settings.runs_kept_days is not None:
        for run_id in services.records.expire_runs(now - timedelta(days=settings.runs_kept_days)):
            services.records.audit(None, "expire_run", run_id)
            log.info("deleted run %s, which ended long ago", run_id)
    if settings.trials_kept_days is not None:
        services.records.expire_trials(now - timedelta(days=settings.trials_kept_days))


def _drop_unused_models(services: Services, now: datetime) -> None:
    days = services.settings.models_kept_days
    if days is not None:
        for model in services.uploads.drop_unused(now - timedelta(days=days), services.records.is_model_used):
            services.records.audit(None, "expire_model", model)
            log.info("deleted model %s, which no run has used for long", model)


async def clean_up_periodically(services: Services) -> None:
    """Clean up until cancelled, several times within the time that deleted runs and uploads are kept."""
    hours = min(services.settings.deleted_kept_hours, services.settings.upload_kept_hours)
    pause = min(MAX_PAUSE_S, max(MIN_PAUSE_S, hours * 3600 / 4))
    while True:
        try:
            await run_in_threadpool(clean_up, services, datetime.now(UTC))
        except Exception:  # databases and object stores raise many kinds; the next round tries again
            log.exception("could not clean up")
        await asyncio.sleep(pause)
