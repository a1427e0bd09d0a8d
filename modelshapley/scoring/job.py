"""Scoring a model on a task: stream probe batches through one backward pass each, sum, read the maps."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from itertools import product
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from modelshapley import __version__
from modelshapley.contracts.task_files.descriptions import BadRows
from modelshapley.errors import BadParameter, NotFinite, TaskMismatch
from modelshapley.interventions.gates import gated_each
from modelshapley.interventions.weights import magnitudes
from modelshapley.maps.importance import ImportanceMap
from modelshapley.methods import check_size
from modelshapley.methods.base import BatchPosition, Method, Reading, Statistic, Utility
from modelshapley.methods.sided import SidedMethod
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.memory import AdaptiveBatcher
from modelshapley.scoring.accumulator import Key, ScoreAccumulator, Total
from modelshapley.signals.observe import Signals, signals_of
from modelshapley.tasks.base import Split, Task
from modelshapley.tasks.batching import batch_edges, batch_end, order_by_length
from modelshapley.units import UnitKind

MAX_GAP = 0.05  # a larger completeness gap: the quadrature has not converged
Progress = Callable[[int, int], None]
HALVES = ("first", "second")


@dataclass(frozen=True)
class Scoring:
    """One scoring job: model, task, methods, kinds of unit, at most `limit` probe examples, seed.

    per_class: separate the sums of the task's classes, for a map of each. pause: called between two passes, when
    nothing hooks the model, so that others may use it.
    """

    loaded: LoadedModel
    task: Task[Any]
    methods: Sequence[Method]
    kinds: Collection[UnitKind]
    limit: int
    seed: int = 0
    per_class: bool = False
    pause: Callable[[], None] = lambda: None

    def plan(self) -> dict[str, Any]:
        """Return everything that the sums depend on, JSON-serialisable, and equal for every shard."""
        return {
            "model": self.loaded.id,
            "revision": self.loaded.revision,
            "dtype": self.loaded.dtype,
            "task": self.task.info.id,
            "task_fingerprint": self.task.fingerprint(self.seed),
            "methods": [method.spec for method in self.methods],
            "kinds": sorted(kind.value for kind in self.kinds),
            "limit": self.limit,
            "seed": self.seed,
            "per_class": self.per_class,
        }

    @cached_property
    def examples(self) -> Sequence[Any]:
        """Probe examples in scoring order, in which neighbours have similar sizes."""
        chosen = self.task.select(self.loaded, Split.PROBE, self.seed, self.limit)
        order = order_by_length([self.task.size(self.loaded, example) for example in chosen], self.task.probe_batch)
        return [chosen[position] for position in order]

    @cached_property
    def sizes(self) -> list[int]:
        """Size of each probe example, in the task's own unit (tokens, or 1 for an image)."""
        return [self.task.size(self.loaded, example) for example in self.examples]

    @cached_property
    def batch_size(self) -> int:
        """Largest number of examples in one pass."""
        return self.loaded.batch_size(self.task.probe_batch, self.sizes)

    def shard(self, number: int, of: int) -> range:
        """Return the places of the examples of shard `number`, from 1, of `of`; empty if there are fewer batches.

        A shard consists of whole adjacent batches, so that all shards together run exactly the batches of an undivided
        run. Raises BadParameter for a shard that does not exist.
        """
        if not 1 <= number <= of:
            raise BadParameter(f"There is no shard {number} of {of}; shards count from 1 to {of}.")
        edges = batch_edges(self.sizes, self.batch_size, self.task.pass_tokens)
        start, stop = (edges[(len(edges) - 1) * before // of] for before in (number - 1, number))
        return range(start, stop)

    def steps(self, sums: ScoreAccumulator, part: range | None = None) -> Iterator[tuple[int, int]]:
        """Add batch after batch to `sums` until all of `part` is included, yielding (done, total) of it after each.

        part: places in the probe set, all of it by default. It is safe to stop between two batches; examples already
        included do not run again. Raises BadParameter or TaskMismatch for what cannot be scored.
        """
        if self.per_class and self.task.info.classes is None:
            raise TaskMismatch.no_classes(self.task.info.id)
        for method, kind in product(self.methods, self.kinds):
            check_size(method.spec, kind.value, self.loaded.anatomy.shapes.count(kind))
            if not self.loaded.anatomy.shapes.count(method.source(kind)):
                raise BadParameter(
                    f"{method.spec!r} scores {kind.value}s by their rows, which are not known for this model; "
                    f"use {method.info.id + ',pool=gate'!r}."
                )
        part = range(len(self.examples)) if part is None else part
        batcher = AdaptiveBatcher(self.loaded, self.batch_size)
        while gaps := sums.missing_spans(part):
            start = gaps[0].start
            stop = min(gaps[0].stop, batch_end(self.sizes, start, self.batch_size, self.task.pass_tokens))
            added, _ = batcher.run(partial(self._add, sums, start), stop - start)
            yield len(part) - sum(map(len, gaps)) + added, len(part)

    def maps(self, sums: ScoreAccumulator, label: str | None = None) -> dict[str, ImportanceMap]:
        """Read the sums: {method spec: map}, of all their examples, or of a class or group of classes.

        Raises UnknownName for an unknown class, ModelShapleyError without examples.
        """
        if label is None:
            return self._maps(sums.finish(), {})
        is_unit = sums.classes
        members = [name for name in self.task.groups.get(label, [label]) if name in is_unit or name == label]
        return self._maps(sums.finish(labels=members), {"class": label})

    def classes(self, sums: ScoreAccumulator) -> dict[str, int]:
        """Return the number of examples of every class and non-empty group of classes, for which `maps` has a map."""
        is_unit = sums.classes
        groups = {name: sum(is_unit.get(one, 0) for one in members) for name, members in self.task.groups.items()}
        return is_unit | {name: n for name, n in groups.items() if n and is_unit}

    def half_maps(self, sums: ScoreAccumulator) -> dict[str, tuple[ImportanceMap, ImportanceMap]]:
        """Return two maps of each method, from two halves of the examples (:func:`accumulator.half_of`).

        {method spec: (first, second)}. The two share no example, so their agreement shows how far the whole map
        can be trusted; methods without data (random, magnitude) give the same map twice. Raises ModelShapleyError
        for fewer than two examples.
        """
        first, second = (self._maps(sums.finish(half=half), {"half": HALVES[half]}) for half in (0, 1))
        return {spec: (first[spec], second[spec]) for spec in first}

    def _add(self, sums: ScoreAccumulator, start: int, count: int) -> None:
        """Run one batch and add it: all of it counts or, if it raises, nothing."""
        batch = self.examples[start : start + count]
        labels = [self.task.class_of(example) if self.per_class else None for example in batch]
        sums.update(start, labels, self._statistics(batch, start))

    def _statistics(self, batch: Sequence[Any], start: int) -> Iterator[tuple[Key, Statistic]]:
        shared = _IntactSignals(self, batch)
        for method, kind in product(self.methods, self.kinds):
            position = BatchPosition(start, len(batch), len(self.examples), self.seed, list(UnitKind).index(kind))
            for name, values in method.statistics(_Batch(self, batch, method, kind, position, shared)).items():
                yield (method.spec, kind, name), values

    def signals(
        self,
        batch: Sequence[Any],
        kinds: Collection[UnitKind],
        parts: Collection[str],
        gates: Mapping[UnitKind, Tensor] | None = None,
    ) -> Mapping[UnitKind, Signals]:
        """Run one forward and one activation-only backward pass."""
        self.pause()
        loaded, losses = self.loaded, partial(self.task.losses, self.loaded, batch)
        return signals_of(loaded.model, loaded.anatomy, losses, kinds, parts, gates)

    def _maps(self, total: Total, which: Mapping[str, str]) -> dict[str, ImportanceMap]:
        return {method.spec: self._read_map(method, total, which) for method in self.methods}

    def _read_map(self, method: Method, total: Total, which: Mapping[str, str]) -> ImportanceMap:
        scores, errors, sides, gaps = {}, {}, {}, {}
        shapes = self.loaded.anatomy.shapes
        for kind in UnitKind:
            if kind not in self.kinds:
                continue
            shape, absent = shapes.of(kind), ~shapes.is_unit(kind)
            rng = np.random.default_rng([self.seed, list(UnitKind).index(kind)])
            moments = total.of(method.spec, kind)
            weights = partial(magnitudes, self.loaded.model, self.loaded.anatomy, kind)
            groups = partial(self.loaded.anatomy.row_groups, kind)
            reading = Reading(kind, shapes.table(kind), total.n, rng, weights, groups)
            values, standard_errors = method.read(moments, reading)
            scores[kind], errors[kind] = values.reshape(shape).copy(), standard_errors.reshape(shape).copy()
            if not np.isfinite(scores[kind][~absent]).all():
                raise NotFinite.of(f"A score of {kind.value}s by {method.spec!r}", math.nan, self.loaded.dtype)
            scores[kind][absent] = errors[kind][absent] = np.nan
            if isinstance(method, SidedMethod):
                sides[kind] = method.sides(moments).reshape(shape)
                worth = method.worth(moments)
                if worth is not None:
                    total_score = float(np.nansum(np.where(absent, 0, sides[kind].help - sides[kind].harm)))
                    gaps[kind.value] = completeness(total_score, worth)
        return ImportanceMap(
            method=method.spec,
            quantity=method.info.quantity,
            signed=is_signed(method),
            scores=scores,
            standard_errors=errors,
            provenance={**self._provenance(method, total.n), **which, **({"completeness": gaps} if gaps else {})},
            sides=sides,
        )

    def _skipped_rows(self) -> list[BadRows]:
        return self.task.skipped_rows(self.loaded, Split.PROBE, self.seed, self.limit)

    def _provenance(self, method: Method, n: int) -> dict[str, Any]:
        return {
            "model": self.loaded.id,
            "revision": self.loaded.revision,
            "task": self.task.info.id,
            "task_fingerprint": self.task.fingerprint(self.seed),
            "left_out": [bad.model_dump() for bad in self._skipped_rows()],
            "n": n,
            "seed": self.seed,
            "method": method.spec,
            "parameters": dict(method.parameters),
            "device": self.loaded.places,
            "dtype": self.loaded.dtype,
            "unused_tensors": list(self.loaded.unused),
            "shortcuts": self.loaded.shortcuts.notes() or "all proven",
            "versions": {
                "modelshapley": __version__,
                "torch": torch.__version__,
                "transformers": transformers.__version__,
                "python": platform.python_version(),
            },
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }


class _IntactSignals:
    """Signals of the intact model for all kinds and methods, computed when first needed."""

    def __init__(self, scoring: Scoring, examples: Sequence[Any]) -> None:
        self._scoring, self._examples = scoring, examples

    @cached_property
    def signals(self) -> Mapping[UnitKind, Signals]:
        parts = frozenset().union(*(method.parts for method in self._scoring.methods))
        sources = {m.source(kind) for m, kind in product(self._scoring.methods, self._scoring.kinds)}
        kinds = [kind for kind in UnitKind if kind in sources]
        return self._scoring.signals(self._examples, kinds, parts)


class _Batch:
    """Batch for one method and one kind of unit (methods.base.Batch)."""

    def __init__(
        self,
        scoring: Scoring,
        examples: Sequence[Any],
        method: Method,
        kind: UnitKind,
        position: BatchPosition,
        shared: _IntactSignals,
    ) -> None:
        shapes = scoring.loaded.anatomy.shapes
        self._scoring, self._examples, self._method, self._kind = scoring, examples, method, kind
        self._shared = shared
        self.position, self.shape = position, shapes.table(kind)
        self.is_unit = shapes.is_unit(kind).reshape(self.shape)

    def intact_signals(self) -> Signals:
        return self._shared.signals[self._method.source(self._kind)]

    def signals_at(self, gates: Tensor) -> Signals:
        kind = self._kind
        return self._scoring.signals(self._examples, [kind], self._method.parts, {kind: gates})[kind]

    def utility(self, gates: Tensor, rows: Sequence[int], what: Utility) -> Tensor:
        loaded, task = self._scoring.loaded, self._scoring.task
        chosen = [self._examples[row] for row in rows]
        self._scoring.pause()
        with torch.inference_mode(), gated_each(loaded.model, loaded.anatomy, self._kind, gates.to(loaded.device)):
            return -task.losses(loaded, chosen) if what == "loss" else task.correct(loaded, chosen)


def completeness(total: float, worth: float) -> dict[str, Any]:
    """Compare the sum of all scores with what all units together are worth, U(all) - U(none), nats.

    gap: their difference as a share of the worth. converged: whether it is at most MAX_GAP.
    """
    gap = abs(total - worth) / abs(worth) if worth else float(total != worth)
    return {"sum": total, "worth": worth, "gap": gap, "converged": gap <= MAX_GAP}


def is_signed(method: Method) -> bool:
    """Return whether this method, with its parameters, can give negative scores."""
    harm = method.parameters.get("harm")
    if harm is None:
        return method.info.signed
    return harm == "signed" or float(harm) > 1


def accumulate(scoring: Scoring, on_progress: Progress | None = None) -> ScoreAccumulator:
    """Run a scoring job from start to end; return its sums, which :meth:`Scoring.maps` reads."""
    sums = ScoreAccumulator(scoring.plan())
    for done, total in scoring.steps(sums):
        if on_progress:
            on_progress(done, total)
    return sums


def score(scoring: Scoring, on_progress: Progress | None = None) -> dict[str, ImportanceMap]:
    """Run a scoring job from start to end; return {method spec: map}."""
    return scoring.maps(accumulate(scoring, on_progress))
