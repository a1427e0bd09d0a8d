"""Score a model on a task: stream probe batches through one backward pass each, add up, read the maps."""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from itertools import product
from typing import Any, Self

import numpy as np
import torch
import transformers
from torch import Tensor

from modelshapley import __version__
from modelshapley.gates import gated_each
from modelshapley.importance import ImportanceMap, pack, unpack
from modelshapley.memory import Room
from modelshapley.methods import check_size
from modelshapley.methods.base import Method, Moments, Place, Reading, Utility
from modelshapley.methods.sided import SidedMethod
from modelshapley.models import LoadedModel
from modelshapley.signals import Signals, signals_of
from modelshapley.tasks.base import Split, Task
from modelshapley.units import UnitKind
from modelshapley.weights import magnitudes

Progress = Callable[[int, int], None]
Key = tuple[str, UnitKind, str]


@dataclass
class Sums:
    """Everything a run has added up so far: enough to stop, resume, and merge shards.

    plan: what is being summed; sums of different plans never mix. done: examples so far.
    """

    plan: dict[str, Any]
    done: int = 0
    moments: dict[Key, Moments] = field(default_factory=dict)

    def add(self, method: str, kind: UnitKind, statistic: str, moments: Moments) -> None:
        key = (method, kind, statistic)
        if key in self.moments:
            self.moments[key].merge(moments)
        else:
            self.moments[key] = moments

    def of(self, method: str, kind: UnitKind) -> dict[str, Moments]:
        return {s: m for (name, unit, s), m in self.moments.items() if (name, unit) == (method, kind)}

    def to_bytes(self) -> bytes:
        """A checkpoint: one safetensors file."""
        tensors = {}
        for (method, kind, statistic), moments in self.moments.items():
            tensors[f"{method}/{kind.value}/{statistic}/total"] = moments.total
            tensors[f"{method}/{kind.value}/{statistic}/squares"] = moments.squares
        return pack(tensors, {"plan": self.plan, "done": self.done})

    @classmethod
    def resume(cls, checkpoint: bytes | None, plan: dict[str, Any]) -> Self:
        """The sums in a checkpoint if there is one and its plan is the same, else empty ones."""
        if checkpoint is None:
            return cls(plan)
        tensors, header = unpack(checkpoint)
        if header.get("plan") != plan:
            return cls(plan)
        sums = cls(plan, done=header["done"])
        for name, total in tensors.items():
            method, kind, statistic, part = name.split("/")
            if part == "total":
                squares = tensors[f"{method}/{kind}/{statistic}/squares"]
                sums.moments[method, UnitKind(kind), statistic] = Moments(sums.done, total, squares)
        return sums


@dataclass(frozen=True)
class Scoring:
    """One scoring job: model, task, methods, kinds of unit, at most `limit` probe examples, seed."""

    loaded: LoadedModel
    task: Task[Any]
    methods: Sequence[Method]
    kinds: Collection[UnitKind]
    limit: int
    seed: int = 0

    def plan(self) -> dict[str, Any]:
        return {
            "model": self.loaded.id,
            "revision": self.loaded.revision,
            "dtype": self.loaded.dtype,
            "task": self.task.info.id,
            "task_fingerprint": self.task.fingerprint(),
            "methods": [method.spec for method in self.methods],
            "kinds": sorted(kind.value for kind in self.kinds),
            "limit": self.limit,
            "seed": self.seed,
        }

    def steps(self, sums: Sums) -> Iterator[tuple[int, int]]:
        """Add up batch after batch into `sums`, yielding (done, total) after each. Safe to stop between two."""
        for method, kind in product(self.methods, self.kinds):
            check_size(method.spec, kind.value, self.loaded.anatomy.shapes.count(kind))
        examples = self.task.examples(Split.PROBE, self.seed)[: self.limit]
        total = len(examples)
        room = Room(self.loaded, self.task.probe_batch)
        while sums.done < total:
            count, found = room.run(partial(self._moments, examples, sums.done), total - sums.done)
            for key, moments in found.items():
                sums.add(*key, moments)
            sums.done += count
            yield sums.done, total

    def maps(self, sums: Sums) -> dict[str, ImportanceMap]:
        """Read the finished sums: {method spec: map}."""
        return {method.spec: self._read(method, sums) for method in self.methods}

    def _moments(self, examples: Sequence[Any], start: int, count: int) -> dict[Key, Moments]:
        """What a batch adds to the sums; it adds nothing itself, since a batch may be tried again."""
        batch, total = examples[start : start + count], len(examples)
        found, shared = {}, _Intact(self, batch)
        for method in self.methods:
            for kind in self.kinds:
                place = Place(start, len(batch), total, self.seed, list(UnitKind).index(kind))
                for name, values in method.statistics(_Batch(self, batch, method, kind, place, shared)).items():
                    found[method.spec, kind, name] = Moments.of(values)
        return found

    def signals(
        self,
        batch: Sequence[Any],
        kinds: Collection[UnitKind],
        parts: Collection[str],
        gates: Mapping[UnitKind, Tensor] | None = None,
    ) -> Mapping[UnitKind, Signals]:
        """One forward and one activation-only backward pass."""
        loaded, losses = self.loaded, partial(self.task.losses, self.loaded, batch)
        return signals_of(loaded.model, loaded.anatomy, losses, kinds, parts, gates)

    def _read(self, method: Method, sums: Sums) -> ImportanceMap:
        scores, errors, sides = {}, {}, {}
        shapes = self.loaded.anatomy.shapes
        for kind in UnitKind:
            if kind not in self.kinds:
                continue
            shape, absent = shapes.of(kind), ~shapes.there(kind)
            rng = np.random.default_rng([self.seed, list(UnitKind).index(kind)])
            moments = sums.of(method.spec, kind)
            weights = partial(magnitudes, self.loaded.model, self.loaded.anatomy, kind)
            reading = Reading(shapes.table(kind), sums.done, rng, weights)
            values, standard_errors = method.read(moments, reading)
            scores[kind], errors[kind] = values.reshape(shape).copy(), standard_errors.reshape(shape).copy()
            scores[kind][absent] = errors[kind][absent] = np.nan
            if isinstance(method, SidedMethod):
                sides[kind] = method.sides(moments).reshape(shape)
        return ImportanceMap(
            method=method.spec,
            quantity=method.info.quantity,
            signed=is_signed(method),
            scores=scores,
            standard_errors=errors,
            provenance=self._provenance(method, sums),
            sides=sides,
        )

    def _provenance(self, method: Method, sums: Sums) -> dict[str, Any]:
        return {
            "model": self.loaded.id,
            "revision": self.loaded.revision,
            "task": self.task.info.id,
            "task_fingerprint": self.task.fingerprint(),
            "n": sums.done,
            "seed": self.seed,
            "method": method.spec,
            "parameters": dict(method.parameters),
            "device": self.loaded.places,
            "dtype": self.loaded.dtype,
            "versions": {
                "modelshapley": __version__,
                "torch": torch.__version__,
                "transformers": transformers.__version__,
                "python": platform.python_version(),
            },
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }


class _Intact:
    """The signals of the model as it is, for all kinds and methods, computed when first asked for."""

    def __init__(self, scoring: Scoring, examples: Sequence[Any]) -> None:
        self._scoring, self._examples = scoring, examples

    @cached_property
    def signals(self) -> Mapping[UnitKind, Signals]:
        parts = frozenset().union(*(method.parts for method in self._scoring.methods))
        return self._scoring.signals(self._examples, self._scoring.kinds, parts)


class _Batch:
    """A batch as one method sees it, for one kind of unit (methods.base.Batch)."""

    def __init__(
        self,
        scoring: Scoring,
        examples: Sequence[Any],
        method: Method,
        kind: UnitKind,
        place: Place,
        shared: _Intact,
    ) -> None:
        shapes = scoring.loaded.anatomy.shapes
        self._scoring, self._examples, self._method, self._kind = scoring, examples, method, kind
        self._shared = shared
        self.place, self.shape = place, shapes.table(kind)
        self.there = shapes.there(kind).reshape(self.shape)

    def intact(self) -> Signals:
        return self._shared.signals[self._kind]

    def at(self, gates: Tensor) -> Signals:
        kind = self._kind
        return self._scoring.signals(self._examples, [kind], self._method.parts, {kind: gates})[kind]

    def utility(self, gates: Tensor, rows: Sequence[int], what: Utility) -> Tensor:
        loaded, task = self._scoring.loaded, self._scoring.task
        chosen = [self._examples[row] for row in rows]
        with torch.inference_mode(), gated_each(loaded.model, loaded.anatomy, self._kind, gates.to(loaded.device)):
            return -task.losses(loaded, chosen) if what == "loss" else task.correct(loaded, chosen)


def is_signed(method: Method) -> bool:
    """Whether this method, as its parameters are, can give negative scores."""
    harm = method.parameters.get("harm")
    if harm is None:
        return method.info.signed
    return harm == "signed" or float(harm) > 1


def score(scoring: Scoring, on_progress: Progress | None = None) -> dict[str, ImportanceMap]:
    """Run a scoring job from start to end: {method spec: map}."""
    sums = Sums(scoring.plan())
    for done, total in scoring.steps(sums):
        if on_progress:
            on_progress(done, total)
    return scoring.maps(sums)
