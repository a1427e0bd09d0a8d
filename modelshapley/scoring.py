"""Score a model on a task: stream probe batches through one backward pass each, add up, read the maps."""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

import numpy as np
import torch
import transformers

from modelshapley import __version__
from modelshapley.importance import ImportanceMap, pack, unpack
from modelshapley.methods.base import Method, Moments
from modelshapley.models import LoadedModel
from modelshapley.signals import observed
from modelshapley.tasks.base import Split, Task
from modelshapley.units import UnitKind

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
            "task": self.task.info.id,
            "task_fingerprint": self.task.fingerprint(),
            "methods": {method.info.id: dict(method.parameters) for method in self.methods},
            "kinds": sorted(kind.value for kind in self.kinds),
            "limit": self.limit,
            "seed": self.seed,
        }

    def steps(self, sums: Sums) -> Iterator[tuple[int, int]]:
        """Add up batch after batch into `sums`, yielding (done, total) after each. Safe to stop between two."""
        examples = self.task.examples(Split.PROBE, self.seed)[: self.limit]
        total = len(examples)
        while sums.done < total:
            batch = examples[sums.done : sums.done + self.task.probe_batch]
            self._add(batch, sums)
            sums.done += len(batch)
            yield sums.done, total

    def maps(self, sums: Sums) -> dict[str, ImportanceMap]:
        """Read the finished sums: {method id: map}."""
        return {method.info.id: self._read(method, sums) for method in self.methods}

    def _add(self, batch: Sequence[Any], sums: Sums) -> None:
        with observed(self.loaded.model, self.loaded.anatomy, self.kinds) as observer:
            self.task.losses(self.loaded, batch).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            signals = observer.take()
        for method in self.methods:
            for kind in self.kinds:
                for name, values in method.statistics(signals[kind]).items():
                    sums.add(method.info.id, kind, name, Moments.of(values))

    def _read(self, method: Method, sums: Sums) -> ImportanceMap:
        scores, errors = {}, {}
        for kind in UnitKind:
            if kind not in self.kinds:
                continue
            shape = self.loaded.anatomy.shapes.of(kind)
            rng = np.random.default_rng([self.seed, list(UnitKind).index(kind)])
            table = (shape[0], shape[1] if len(shape) == 2 else 1)
            values, standard_errors = method.read(sums.of(method.info.id, kind), table, rng)
            scores[kind], errors[kind] = values.reshape(shape), standard_errors.reshape(shape)
        return ImportanceMap(
            method=method.info.id,
            quantity=method.info.quantity,
            signed=method.info.signed,
            scores=scores,
            standard_errors=errors,
            provenance=self._provenance(method, sums),
        )

    def _provenance(self, method: Method, sums: Sums) -> dict[str, Any]:
        return {
            "model": self.loaded.id,
            "revision": self.loaded.revision,
            "task": self.task.info.id,
            "task_fingerprint": self.task.fingerprint(),
            "n": sums.done,
            "seed": self.seed,
            "method": method.info.id,
            "parameters": dict(method.parameters),
            "device": str(self.loaded.device),
            "versions": {
                "modelshapley": __version__,
                "torch": torch.__version__,
                "transformers": transformers.__version__,
                "python": platform.python_version(),
            },
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def score(scoring: Scoring, on_progress: Progress | None = None) -> dict[str, ImportanceMap]:
    """Run a scoring job from start to end: {method id: map}."""
    sums = Sums(scoring.plan())
    for done, total in scoring.steps(sums):
        if on_progress:
            on_progress(done, total)
    return scoring.maps(sums)
