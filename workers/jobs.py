"""The two jobs: score a run, measure a trial. Queued by name with an id; everything else is in the records.

A job may be started twice (its worker was killed): a run goes on from its checkpoint, a trial is measured again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from backend.queues import REDIS_DOWN
from modelshapley.contracts import Measured, Run, Status, Trial
from modelshapley.errors import ModelShapleyError
from modelshapley.intervals import accuracy_interval
from modelshapley.methods import load_method
from modelshapley.scoring import Scoring, Sums
from modelshapley.tasks import load_task
from modelshapley.trials import answers, compare
from workers.shop import Shop, open_shop

log = logging.getLogger(__name__)
PROGRESS_EVERY_S = 0.2


def score_run(run_id: str) -> None:
    """Score a queued run: maps into the storage, progress into records and events."""
    shop = open_shop()
    run = shop.update_run(run_id, "status", status=Status.RUNNING, started=datetime.now(UTC), worker=shop.name)
    if run is None:
        log.info("run %s is not to be done any more", run_id)
        return
    with _failures_recorded(lambda error: shop.update_run(run_id, "status", status=Status.FAILED, error=error)):
        _score(shop, run)


def measure_trial(trial_id: str) -> None:
    """Measure a queued trial, an event after each chunk."""
    shop = open_shop()
    trial = shop.update_trial(trial_id, "status", status=Status.RUNNING, n=0)
    if trial is None:
        log.info("trial %s is not to be done any more", trial_id)
        return
    with _failures_recorded(
        lambda error: shop.update_trial(trial_id, "status", status=Status.FAILED, error=error)
    ):
        _measure(shop, trial)


def _score(shop: Shop, run: Run) -> None:
    loaded = shop.warm.model(run.model)
    task = load_task(run.task)
    task.check(loaded)
    scoring = Scoring(loaded, task, [load_method(m) for m in run.methods], run.units, run.limit, run.seed)
    sums = Sums.resume(shop.storage.load_checkpoint(run.id), scoring.plan())
    began, already = time.monotonic(), sums.done
    checked = told = began
    for done, total in scoring.steps(sums):
        now = time.monotonic()
        if now - checked >= shop.settings.checkpoint_seconds:
            shop.storage.save_checkpoint(run.id, sums.to_bytes())
            checked = now
        if now - told >= PROGRESS_EVERY_S or done == total:
            left = (total - done) * (now - began) / (done - already)
            if shop.update_run(run.id, "progress", done=done, total=total, eta_s=round(left, 1)) is None:
                shop.storage.drop_checkpoint(run.id)
                return
            told = now
    for importance_map in scoring.maps(sums).values():
        shop.storage.save_map(run.id, importance_map)
    intact = shop.warm.intact(loaded, run.task, run.seed)
    right, n = int(intact.sum()), len(intact)
    measured = Measured(accuracy=right / n, interval=accuracy_interval(right, n), n=n)
    values = {"intact": measured.model_dump(mode="json"), "revision": loaded.revision}
    shop.update_run(run.id, "status", status=Status.DONE, **values)
    shop.storage.drop_checkpoint(run.id)


def _measure(shop: Shop, trial: Trial) -> None:
    run = shop.records.run(trial.run)
    loaded = shop.warm.model(run.model)
    if loaded.revision != shop.records.revision(run.id):
        raise ModelShapleyError(f"The files of {run.model!r} have changed since run {run.id}; score it again.")
    intact = shop.warm.intact(loaded, run.task, run.seed)
    for correct, total in answers(loaded, load_task(run.task), trial.off.deactivation(), run.seed):
        values: dict[str, Any] = {
            "n": len(correct),
            "total": total,
            "result": compare(correct, intact).model_dump(mode="json"),
        }
        finished = len(correct) == total
        if finished:
            values["status"] = Status.DONE
        if shop.update_trial(trial.id, "status" if finished else "progress", **values) is None:
            return


@contextmanager
def _failures_recorded(record: Any) -> Iterator[None]:
    """A failure ends up in the record, in words; the log keeps the traceback."""
    try:
        yield
    except ModelShapleyError as error:
        log.warning("failed: %s", error)
        record(str(error))
    except REDIS_DOWN:
        # The record stays unfinished, and RQ gives the job to a worker again.
        raise
    except Exception as error:
        log.exception("failed unexpectedly")
        record(f"The worker met an unexpected {type(error).__name__}; its log tells more.")
