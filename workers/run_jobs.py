"""Jobs of a run: score it, or one shard of it. They are queued by name with an id; records hold the rest.

A job may start twice (because its worker was killed): it continues from its checkpoint.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from backend.queue.metrics import PASS
from modelshapley.contracts import Measured, Run, Status
from modelshapley.contracts.task_files.descriptions import BadRows
from modelshapley.evaluation.intervals import mean_interval, pack
from modelshapley.methods import load_method
from modelshapley.scoring.accumulator import ScoreAccumulator
from modelshapley.scoring.job import Scoring
from modelshapley.tasks.base import Split
from modelshapley.tasks.kinds.data_task import format_bad_rows
from workers.check_jobs import first_report
from workers.context import WorkerContext, get_context
from workers.partial_maps import PartialMaps
from workers.running.cancelling import CancelPoll, Unwanted
from workers.running.failures import failures_recorded

log = logging.getLogger(__name__)
PROGRESS_EVERY_S = 0.2


def score_run(run_id: str) -> None:
    """Score what no shard of a queued run has scored yet, and save its maps."""
    _with_open_run(run_id, _score)


def score_shard(run_id: str, number: int) -> None:
    """Score one shard of a queued run; its sums stay in the storage until :func:`score_run` merges them."""
    _with_open_run(run_id, lambda context, run: _score_shard(context, run, _open_scoring(context, run), number))


def _with_open_run(run_id: str, work: Callable[[WorkerContext, Run], object]) -> None:
    """Work on an open run and record failures; remove the sums of a run that is not open any more."""
    context = get_context()
    run = context.updates.begin_run(run_id, context.name)
    if run is None:
        log.info("run %s is not open any more", run_id)
        context.storage.drop_sums(run_id)
        return

    def fail(error: str) -> None:
        context.updates.update_run(run_id, "status", status=Status.FAILED, error=error)
        context.storage.drop_sums(run_id)

    with failures_recorded(fail), context.warm.in_use(run.model):
        try:
            work(context, run)
        except Unwanted:
            log.info("run %s was cancelled", run_id)
            context.storage.drop_sums(run_id)


def _open_scoring(context: WorkerContext, run: Run) -> Scoring:
    loaded, task = context.warm.model(run.model), context.tasks.fresh(run.task)
    task.check(loaded)
    context.turns.reached("model loaded")
    methods = [load_method(method) for method in run.methods]
    cancel = CancelPoll(context.records, f"run-{run.id}")

    def pause() -> None:
        context.turns.yield_to_trials()
        cancel.look()

    return Scoring(loaded, task, methods, run.units, run.limit, run.seed, run.per_class, pause)


def _score(context: WorkerContext, run: Run) -> None:
    scoring = _open_scoring(context, run)
    sums = ScoreAccumulator(scoring.plan())
    for number in range(1, run.shards + 1):
        part = _score_shard(context, run, scoring, number)
        if part is None:
            return
        sums.merge(part)
    _finish(context, run, scoring, sums)


def _score_shard(context: WorkerContext, run: Run, scoring: Scoring, number: int) -> ScoreAccumulator | None:
    """Score one shard from its checkpoint on; return None, and remove its sums, if the run is not open any more.

    The last checkpoint holds all sums: a finished shard is loaded and does not run again.
    """
    shard, total = scoring.shard(number, run.shards), len(scoring.examples)
    sums = ScoreAccumulator.resume(context.storage.load_sums(run.id, number), scoring.plan())
    resumed_at = sums.done
    open_run = context.updates.update_shard(run.id, number, done=resumed_at, size=len(shard), rate=None, total=total)
    started = checkpointed = reported = before = time.monotonic()
    partial_maps = PartialMaps(context, run, scoring)
    passes: list[float] = []
    for done, size in scoring.steps(sums, shard) if open_run else ():
        now = time.monotonic()
        passes.append(now - before)
        before = now
        if now - checkpointed >= context.settings.checkpoint_seconds or done == size:
            context.storage.save_sums(run.id, number, sums.to_bytes())
            context.turns.progressed()
            checkpointed = now
        if now - reported >= PROGRESS_EVERY_S or done == size:
            rate = (done - resumed_at) / (now - started)
            open_run = context.updates.update_shard(run.id, number, done=done, size=size, rate=rate, total=total)
            context.queues.metrics.observe(PASS, passes)
            partial_maps.offer(number, sums)
            reported, passes = now, []
        if open_run is None:
            break
    if open_run is None:
        context.storage.drop_sums(run.id)
        return None
    return sums


def _finish(context: WorkerContext, run: Run, scoring: Scoring, sums: ScoreAccumulator) -> None:
    """Save the maps of finished sums; then mark the run as done and remove its sums."""
    context.turns.reached("scored")
    classes = scoring.classes(sums)
    notes = _notes(scoring)
    for label in (None, *classes):
        for importance_map in scoring.maps(sums, label).values():
            context.storage.save_map(run.id, importance_map, label)
            notes += importance_map.notes() if label is None else []
    context.turns.reached("maps saved")
    intact = context.warm.intact(scoring.loaded, scoring.task, run.seed)
    context.storage.save_intact(run.id, pack(intact))
    measured = Measured(accuracy=float(intact.mean()), interval=mean_interval(intact), n=len(intact))
    report = first_report(run, scoring.half_maps(sums) if sums.done > 1 else {})
    context.storage.save_report(report)
    values = {
        "intact": measured.model_dump(mode="json"),
        "revision": scoring.loaded.revision,
        "task_fingerprint": scoring.task.fingerprint(run.seed),
        "notes": notes,
        "classes": classes or None,
        "checks": report.status,
    }
    if context.updates.update_run(run.id, "status", status=Status.DONE, **values) and report.status is Status.QUEUED:
        context.queues.enqueue_check(run.id, run.owner)
    context.storage.drop_sums(run.id)


def _notes(scoring: Scoring) -> list[str]:
    """Describe the skipped rows of the task's data, one sentence for each part and reason."""
    loaded, task, seed = scoring.loaded, scoring.task, scoring.seed
    skipped = {
        "scored": task.skipped_rows(loaded, Split.PROBE, seed, scoring.limit),
        "test": task.skipped_rows(loaded, Split.TEST, seed),
    }
    return [
        *loaded.notes,
        *_skipped_notes(skipped),
    ]


def _skipped_notes(skipped: Mapping[str, Sequence[BadRows]]) -> list[str]:
    return [
        f"Left out of the {part} examples: {format_bad_rows([bad])}." for part, rows in skipped.items() for bad in rows
    ]
