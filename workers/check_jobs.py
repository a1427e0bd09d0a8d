"""The job behind a run's faithfulness: measure how far its maps can be trusted, while nothing else is to be done.

The report grows item by item in the storage, so a worker may be killed, or turn to other work, between two.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from typing import Any

from rq import Retry

from backend.queue.queues import RUNS
from modelshapley.contracts import Faithfulness, HarmChoice, KindFaithfulness, Progress, Run, Status
from modelshapley.evaluation.faithfulness import PLANS, Bench, SubsetTruth, efficiency, finish
from modelshapley.maps.compare import rank_correlation
from modelshapley.maps.importance import ImportanceMap
from modelshapley.methods import harm_of, sums_up
from modelshapley.units import UnitKind
from workers.context import WorkerContext, get_context
from workers.failures import failures_recorded

log = logging.getLogger(__name__)
GIVES_WAY = 1_000_000  # times that a check may be put off
Halves = Mapping[str, tuple[ImportanceMap, ImportanceMap]]


class OtherWork(Exception):
    """A run is waiting."""


def first_report(run: Run, halves: Halves) -> Faithfulness:
    """What is known once a run is scored: how far two halves of its probe set agree."""
    agree = {
        (method, kind): rank_correlation(*(half.scores[kind] for half in pair))
        for method, pair in halves.items()
        for kind in run.units
    }
    return Faithfulness.unmeasured(run, agree)


def check_run(run_id: str) -> Retry | None:
    """Go on with the report of a finished run; trials come in between, for a run it ends and is queued anew."""
    context = get_context()
    run = context.records.update_checks(run_id, Status.RUNNING)
    if run is None:
        log.info("run %s is not to be checked any more", run_id)
        return None
    with failures_recorded(lambda error: _failed(context, run_id, error)), context.warm.in_use(run.model):
        try:
            _Checking(context, run).go_on()
        except OtherWork:
            context.records.update_checks(run_id, Status.QUEUED)
            return Retry(max=GIVES_WAY)
        context.records.update_checks(run_id, Status.DONE)
    return None


def _failed(context: WorkerContext, run_id: str, words: str) -> None:
    context.storage.save_report(_report(context, context.records.run(run_id)).model_copy(update={"error": words}))
    context.records.update_checks(run_id, Status.FAILED)


def _report(context: WorkerContext, run: Run) -> Faithfulness:
    """What is known already of the check that is asked for now."""
    report = context.storage.load_report(run.id) or first_report(run, {})
    return report.answering(run).model_copy(update={"error": None})


class _Checking:
    """One run's report in the making."""

    def __init__(self, context: WorkerContext, run: Run) -> None:
        self._context, self._run = context, run
        self._report = _report(context, run)
        loaded, task = context.scored_model(run), context.scored_task(run)
        intact = context.intact(run, loaded, task)
        self._bench = Bench(loaded, task, PLANS[run.faithfulness], run.seed, intact)
        self._truths: dict[UnitKind, SubsetTruth] = {}
        self._worths: dict[UnitKind, float] = {}

    def go_on(self) -> None:
        """Everything that the report lacks, kind by kind. Raises OtherWork between two passes."""
        for kind in self._run.units:
            for place, entry in enumerate(self._report.maps):
                if entry.unit is kind and entry.agreement is None:
                    maps = list(self._report.maps)
                    maps[place] = self._measured(entry)
                    self._keep(maps=maps)
            if not any(curve.unit is kind for curve in self._report.random):
                self._keep(random=[*self._report.random, self._do(self._bench.random_curve(kind))])

    def _measured(self, entry: KindFaithfulness) -> KindFaithfulness:
        kind, bench = entry.unit, self._bench
        found = self._context.storage.load_map(self._run.id, entry.method)
        scores = found.scores[kind]
        if kind not in self._truths:
            self._truths[kind] = self._do(bench.truth(kind, self._run.limit))
            self._worths[kind] = self._do(bench.worth(kind, self._run.limit))
        return entry.model_copy(
            update={
                "least": self._do(bench.curve(scores, kind, "least")),
                "most": self._do(bench.curve(scores, kind, "most")),
                "agreement": self._truths[kind].agreement(scores),
                "harm": self._harm(entry.method, found, kind),
                "efficiency": efficiency(scores, self._worths[kind]) if sums_up(entry.method) else None,
            }
        )

    def _harm(self, method: str, found: ImportanceMap, kind: UnitKind) -> HarmChoice | None:
        harm = harm_of(method)
        if harm is None:
            return None
        default = 0.5 if harm == "signed" else float(harm)
        choice: HarmChoice = self._do(self._bench.harm(found.sides[kind], kind, default))
        return choice

    def _keep(self, **values: Any) -> None:
        report = self._report.model_copy(update=values)
        done = sum(entry.agreement is not None for entry in report.maps) + len(report.random)
        total = len(report.maps) + len(self._run.units)
        self._report = report.model_copy(update={"progress": Progress(done=done, total=total)})
        self._context.storage.save_report(self._report)

    def _do(self, measuring: Generator[None, None, Any]) -> Any:
        return finish(measuring, self._yield_to_trials)

    def _yield_to_trials(self) -> None:
        self._context.turns.yield_to_trials()
        if self._context.queues.waiting([RUNS]):
            raise OtherWork
