"""The job that measures how far a run's maps can be trusted, while there is no other work.

The report grows item by item in the storage, so a worker may be killed, or switch to other work, between two items.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from typing import Any

from rq import Retry

from backend.queue.names import RUNS
from modelshapley.contracts import Faithfulness, HarmChoice, KindFaithfulness, Progress, Run, Status
from modelshapley.errors import Damaged
from modelshapley.evaluation.faithfulness import PLANS, Bench, SubsetTruth, efficiency, finish
from modelshapley.maps.compare import rank_correlation
from modelshapley.maps.importance import ImportanceMap
from modelshapley.methods import harm_of, sums_up
from modelshapley.units import UnitKind
from workers.context import WorkerContext, get_context
from workers.running.cancelling import CancelPoll, Unwanted
from workers.running.failures import failures_recorded

log = logging.getLogger(__name__)
MAX_RETRIES = 1_000_000  # a check may be postponed this often; RQ needs a limit
Halves = Mapping[str, tuple[ImportanceMap, ImportanceMap]]


class RunWaiting(Exception):
    """A run is waiting, so the check must stop."""


def first_report(run: Run, halves: Halves) -> Faithfulness:
    """Return the report of a run that was just scored: how far two halves of its probe set agree."""
    agreement = {
        (method, kind): rank_correlation(*(half.scores[kind] for half in pair))
        for method, pair in halves.items()
        for kind in run.units
    }
    return Faithfulness.unmeasured(run, agreement)


def check_run(run_id: str) -> Retry | None:
    """Continue the report of a finished run; it yields to trials, and stops and is queued again for a run."""
    context = get_context()
    run = context.records.update_checks(run_id, Status.RUNNING)
    if run is None:
        log.info("run %s is not to be checked any more", run_id)
        return None
    with failures_recorded(lambda error: _record_failure(context, run_id, error)), context.warm.in_use(run.model):
        try:
            _CheckInProgress(context, run).complete_report()
        except RunWaiting:
            context.records.update_checks(run_id, Status.QUEUED)
            return Retry(max=MAX_RETRIES)
        except Unwanted:
            log.info("the check of run %s is not wanted any more", run_id)
            return None
        context.records.update_checks(run_id, Status.DONE)
    return None


def _record_failure(context: WorkerContext, run_id: str, error: str) -> None:
    context.storage.save_report(_load_report(context, context.records.run(run_id)).model_copy(update={"error": error}))
    context.records.update_checks(run_id, Status.FAILED)


def _load_report(context: WorkerContext, run: Run) -> Faithfulness:
    """Return the report so far of the check that the run requests."""
    try:
        report = context.storage.load_report(run.id) or first_report(run, {})
    except Damaged as error:
        log.warning("%s", error)
        report = first_report(run, {})
    return report.answering(run).model_copy(update={"error": None})


class _CheckInProgress:
    """The check of one run, whose report is being completed."""

    def __init__(self, context: WorkerContext, run: Run) -> None:
        self._context, self._run = context, run
        self._cancel = CancelPoll(context.records, f"check-{run.id}")
        self._report = _load_report(context, run)
        loaded, task = context.scored_model(run), context.scored_task(run)
        intact = context.intact(run, loaded, task)
        self._bench = Bench(loaded, task, PLANS[run.faithfulness], run.seed, intact)
        self._truths: dict[UnitKind, SubsetTruth] = {}
        self._worths: dict[UnitKind, float] = {}

    def complete_report(self) -> None:
        """Measure everything that the report lacks, kind by kind. Raises RunWaiting between two passes."""
        for kind in self._run.units:
            for place, entry in enumerate(self._report.maps):
                if entry.unit is kind and entry.agreement is None:
                    maps = list(self._report.maps)
                    maps[place] = self._measure_entry(entry)
                    self._save(maps=maps)
            if not any(curve.unit is kind for curve in self._report.random):
                self._save(random=[*self._report.random, self._run_to_end(self._bench.random_curve(kind))])

    def _measure_entry(self, entry: KindFaithfulness) -> KindFaithfulness:
        kind, bench = entry.unit, self._bench
        importance_map = self._context.storage.load_map(self._run.id, entry.method)
        scores = importance_map.scores[kind]
        if kind not in self._truths:
            self._truths[kind] = self._run_to_end(bench.truth(kind, self._run.limit))
            self._worths[kind] = self._run_to_end(bench.worth(kind, self._run.limit))
        return entry.model_copy(
            update={
                "least": self._run_to_end(bench.curve(scores, kind, "least")),
                "most": self._run_to_end(bench.curve(scores, kind, "most")),
                "agreement": self._truths[kind].agreement(scores),
                "harm": self._harm(entry.method, importance_map, kind),
                "efficiency": efficiency(scores, self._worths[kind]) if sums_up(entry.method) else None,
            }
        )

    def _harm(self, method: str, importance_map: ImportanceMap, kind: UnitKind) -> HarmChoice | None:
        harm = harm_of(method)
        if harm is None:
            return None
        default = 0.5 if harm == "signed" else float(harm)
        choice: HarmChoice = self._run_to_end(self._bench.harm(importance_map.sides[kind], kind, default))
        return choice

    def _save(self, **values: Any) -> None:
        report = self._report.model_copy(update=values)
        done = sum(entry.agreement is not None for entry in report.maps) + len(report.random)
        total = len(report.maps) + len(self._run.units)
        self._report = report.model_copy(update={"progress": Progress(done=done, total=total)})
        self._context.storage.save_report(self._report)
        self._context.turns.progressed()

    def _run_to_end(self, measuring: Generator[None, None, Any]) -> Any:
        return finish(measuring, self._yield_to_trials)

    def _yield_to_trials(self) -> None:
        self._context.turns.yield_to_trials()
        self._cancel.look()
        if self._context.queues.waiting([RUNS]):
            raise RunWaiting
