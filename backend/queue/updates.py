"""Updates of runs and trials: recorded in the database, then published as events. Web-free, used by workers too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from backend.queue.metrics import RUNS_ENDED, TRIALS_ENDED
from backend.queue.queues import Queues
from backend.store.records import Records
from backend.store.trial_records import StartedTrial
from modelshapley.contracts import Run, Trial

Event = Literal["progress", "status"]


@dataclass(frozen=True)
class Updates:
    """Record a change first and publish it afterwards, so that readers of an event find it in the database.

    Methods return None, and publish nothing, if the record refused the change. Errors: REDIS_DOWN.
    """

    records: Records
    queues: Queues

    def update_run(self, run_id: str, event: Event, **values: Any) -> Run | None:
        """Update an open run; None if it is not open any more (cancelled, say)."""
        return self._publish_run(event, self.records.update_run(run_id, **values))

    def begin_run(self, run_id: str, worker: str) -> Run | None:
        """Record that a worker processes a run, or a shard of it; None if the run is not open."""
        return self._publish_run("status", self.records.begin_run(run_id, worker))

    def update_shard(self, run_id: str, number: int, **values: Any) -> Run | None:
        """Update the progress of a shard; None if the run is not open any more (cancelled, say)."""
        return self._publish_run("progress", self.records.update_shard(run_id, number, **values))

    def update_trial(self, trial_id: str, event: Event, **values: Any) -> Trial | None:
        """Update an open trial; None if it is not open any more (superseded, say)."""
        trial = self.records.update_trial(trial_id, **values)
        if trial is not None:
            self._publish_trial(event, trial)
        return trial

    def begin_trial(self, trial_id: str, turn: int, worker: str) -> StartedTrial | None:
        """Record that a worker measures a trial in its turn; None if that turn is over."""
        begun = self.records.begin_trial(trial_id, turn, worker)
        if begun is not None:
            self._publish_trial("status", begun.trial)
        return begun

    def _publish_run(self, event: Event, run: Run | None) -> Run | None:
        if run is not None:
            self.queues.publish("run", run.id, event, run)
            if event == "status" and run.status.ended:
                self.queues.metrics.count(RUNS_ENDED, run.status)
        return run

    def _publish_trial(self, event: Event, trial: Trial) -> None:
        self.queues.publish("trial", trial.id, event, trial, trial.sequence)
        if event == "status" and trial.status.ended:
            self.queues.metrics.count(TRIALS_ENDED, trial.status)
