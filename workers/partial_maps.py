"""The maps of a run so far, saved while somebody watches it: scores are means over the examples that are summed."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from backend.queue.connections import REDIS_DOWN
from modelshapley.contracts import Run
from modelshapley.errors import ModelShapleyError
from modelshapley.scoring.accumulator import ScoreAccumulator
from modelshapley.scoring.job import Scoring
from workers.context import WorkerContext

log = logging.getLogger(__name__)
MIN_PAUSE_S = 2.0  # between two maps of a run
MAX_COST = 0.05  # share of the time that they may take


class PartialMaps:
    """Saves the maps of one run so far, now and then."""

    def __init__(self, context: WorkerContext, run: Run, scoring: Scoring) -> None:
        self._context, self._run, self._scoring = context, run, scoring
        self._pause_s = MIN_PAUSE_S

    def offer(self, number: int, sums: ScoreAccumulator) -> None:
        """Save the maps of the examples so far, if somebody watches the run and it is time again.

        number, sums: of the shard being scored; for the other shards their checkpoints count.
        """
        if not sums.done or not self._is_time():
            return
        started = time.monotonic()
        try:
            merged = self._merged(number, sums)
            for importance_map in self._scoring.maps(merged).values():
                provenance = {**importance_map.provenance, "partial_of": len(self._scoring.examples)}
                self._context.storage.save_partial(self._run.id, replace(importance_map, provenance=provenance))
        except ModelShapleyError as error:  # the run itself goes on, and reports it if it stays
            log.info("run %s has no map so far: %s", self._run.id, error)
        self._pause_s = max(MIN_PAUSE_S, (time.monotonic() - started) / MAX_COST)

    def _is_time(self) -> bool:
        try:
            return self._context.watched.take_turn(self._run.id, self._pause_s)
        except REDIS_DOWN:
            return False

    def _merged(self, number: int, sums: ScoreAccumulator) -> ScoreAccumulator:
        plan = self._scoring.plan()
        merged = ScoreAccumulator(plan)
        merged.merge(sums)
        for other in range(1, self._run.shards + 1):
            if other != number:
                merged.merge(ScoreAccumulator.resume(self._context.storage.load_sums(self._run.id, other), plan))
        return merged
