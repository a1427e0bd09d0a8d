"""Sums over examples, which batches and shards build together in any split and order."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
from safetensors import SafetensorError

from modelshapley.errors import ModelShapleyError, UnknownName
from modelshapley.maps.importance import pack, unpack
from modelshapley.methods.base import Moments, Statistic
from modelshapley.units import UnitKind

log = logging.getLogger(__name__)
FORMAT = "modelshapley.sums.v2"
K = TypeVar("K")
Key = tuple[str, UnitKind, str]
"""A method's spec, a kind of unit, and the name of a statistic."""
Span = tuple[int, int]
"""Examples from the first place up to, but not including, the second."""


@cache
def half_of(place: int) -> int:
    """Return the half of the probe set, 0 or 1, of the example at a place of the probe order.

    Of the places 2i and 2i + 1, one is in each half, chosen at random for each i: plain even and odd places would put
    whole classes into one half where the order is stratified.
    """
    return (place + int(np.random.default_rng(place // 2).integers(2))) % 2


class Cell(NamedTuple):
    """Examples that are summed together.

    half: see :func:`half_of`. label: their class; None if classes are not separated, or the examples have none.
    """

    half: int
    label: str | None = None


@dataclass(frozen=True)
class Total:
    """Finished sums over `n` examples."""

    n: int
    moments: Mapping[Key, Moments]

    def of(self, method: str, kind: UnitKind) -> dict[str, Moments]:
        """Return {statistic: moments} of one method and kind of unit."""
        return {s: m for (name, unit, s), m in self.moments.items() if (name, unit) == (method, kind)}


@dataclass
class ScoreAccumulator:
    """Accumulated sums: `update` adds a batch, `merge` adds other sums, `finish` reads them. All three commute.

    plan: identifies what is summed; sums of different plans never mix. spans: examples included so far, in order.
    """

    plan: dict[str, Any]
    spans: list[Span] = field(default_factory=list)
    counts: dict[Cell, int] = field(default_factory=dict)
    moments: dict[tuple[Cell, Key], Moments] = field(default_factory=dict)

    @property
    def done(self) -> int:
        """Number of examples included so far."""
        return sum(self.counts.values())

    @property
    def classes(self) -> dict[str, int]:
        """Number of examples of every class, classes in order; empty if classes are not separated."""
        labels = sorted({cell.label for cell in self.counts if cell.label is not None})
        return {label: sum(n for cell, n in self.counts.items() if cell.label == label) for label in labels}

    def missing_spans(self, part: range) -> list[range]:
        """Return the ranges of `part` whose examples are not included yet."""
        inside = [(max(start, part.start), min(stop, part.stop)) for start, stop in self.spans]
        edges = [(part.start, part.start), *(s for s in inside if s[0] < s[1]), (part.stop, part.stop)]
        return [range(before[1], after[0]) for before, after in pairwise(edges) if before[1] < after[0]]

    def update(self, start: int, labels: Sequence[str | None], statistics: Iterable[tuple[Key, Statistic]]) -> None:
        """Add a batch: the examples at places start, start + 1, ... of the probe order, of these classes.

        statistics: per-example values, each (examples, layers, units a layer), computed one after the other. Either the
        whole batch counts or, if computing or adding it raises, none of it. Raises what :meth:`merge` raises.
        """
        batch = ScoreAccumulator(self.plan, [(start, start + len(labels))])
        rows: dict[Cell, list[int]] = {}
        for row, label in enumerate(labels):
            rows.setdefault(Cell(half_of(start + row), label), []).append(row)
        batch.counts = {cell: len(members) for cell, members in rows.items()}
        for key, values in statistics:
            for cell, members in rows.items():
                batch.moments[cell, key] = Moments.of(values[members])
        self.merge(batch)

    def merge(self, other: ScoreAccumulator) -> None:
        """Add the sums of `other`, which stays unchanged.

        Raises ModelShapleyError, and changes nothing, if the plans differ or an example would count twice.
        """
        _check_plans(self.plan, other.plan)
        self.spans = _join_spans(self.spans, other.spans)
        for cell, n in other.counts.items():
            self.counts[cell] = self.counts.get(cell, 0) + n
        for key, moments in other.moments.items():
            _add(self.moments, key, moments)

    def finish(self, *, half: int | None = None, labels: Collection[str] | None = None) -> Total:
        """Return the sums over all examples, over one half, or over some classes.

        Raises UnknownName for a class that no example has, ModelShapleyError if no example is left.
        """
        for label in labels or ():
            if label not in self.classes:
                raise UnknownName("class in these sums", label, list(self.classes))
        cells = [
            cell
            for cell in sorted(self.counts, key=lambda cell: (cell.half, cell.label or ""))
            if half in (None, cell.half) and (labels is None or cell.label in labels)
        ]
        if not cells:
            raise ModelShapleyError(
                f"Nothing to read: none of {self.done} examples is in "
                f"{'the sums' if half is None else f'half {half}'}; score at least {1 if half is None else 2}."
            )
        total: dict[Key, Moments] = {}
        for cell in cells:
            for (where, key), moments in self.moments.items():
                if where == cell:
                    _add(total, key, moments)
        return Total(sum(self.counts[cell] for cell in cells), total)

    def to_bytes(self) -> bytes:
        """Serialise a checkpoint: one safetensors file, exact to the bit."""
        cells = list(self.counts)
        tensors = {}
        for (cell, (method, kind, statistic)), moments in self.moments.items():
            name = f"{cells.index(cell)}/{method}/{kind.value}/{statistic}"
            tensors[f"{name}/total"], tensors[f"{name}/squares"] = moments.total, moments.squares
        cell_rows = [[cell.half, cell.label, self.counts[cell]] for cell in cells]
        return pack(tensors, {"format": FORMAT, "plan": self.plan, "spans": self.spans, "cells": cell_rows})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what :meth:`to_bytes` wrote. Raises ModelShapleyError for anything else."""
        try:
            tensors, header = unpack(data)
        except (SafetensorError, ValueError) as error:
            raise ModelShapleyError(f"not the sums of a run: {error}") from error
        if header.get("format") != FORMAT:
            raise ModelShapleyError(f"not the sums of a run in format {FORMAT}")
        cells = [Cell(half, label) for half, label, _ in header["cells"]]
        counts = {cell: n for cell, (_, _, n) in zip(cells, header["cells"], strict=True)}
        sums = cls(header["plan"], [(start, stop) for start, stop in header["spans"]], counts)
        for name, total in tensors.items():
            index, method, kind, statistic, part = name.split("/")
            if part == "total":
                squares = tensors[f"{index}/{method}/{kind}/{statistic}/squares"]
                cell = cells[int(index)]
                sums.moments[cell, (method, UnitKind(kind), statistic)] = Moments(counts[cell], total, squares)
        return sums

    @classmethod
    def resume(cls, checkpoint: bytes | None, plan: dict[str, Any]) -> Self:
        """Return the sums of a checkpoint if it can be read and has the same plan, else empty sums."""
        if checkpoint is not None:
            try:
                sums = cls.from_bytes(checkpoint)
            except ModelShapleyError as error:
                log.warning("ignoring a checkpoint of %d bytes: %s", len(checkpoint), error)
            else:
                if sums.plan == plan:
                    return sums
        return cls(plan)


def _add(total: dict[K, Moments], key: K, moments: Moments) -> None:
    """Add `moments`, which stay unchanged, to those under `key`, if there are any."""
    if key in total:
        total[key].merge(moments)
    else:
        total[key] = replace(moments)


def _check_plans(plan: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    for name in sorted(plan.keys() | other.keys()):
        if plan.get(name) != other.get(name):
            raise ModelShapleyError(
                f"Sums of different plans cannot be merged: {name} is {plan.get(name)!r} here and "
                f"{other.get(name)!r} there. Score all shards of a run with the same plan."
            )


def _join_spans(spans: Sequence[Span], others: Sequence[Span]) -> list[Span]:
    """Join spans in order, merging neighbours. Raises ModelShapleyError if two overlap."""
    joined: list[Span] = []
    for start, stop in sorted([*spans, *others]):
        if not joined or start > joined[-1][1]:
            joined.append((start, stop))
        elif start == joined[-1][1]:
            joined[-1] = (joined[-1][0], stop)
        else:
            twice = min(stop, joined[-1][1]) - 1
            raise ModelShapleyError(
                f"Examples {start} to {twice} of the probe set would count twice; merge every shard only once."
            )
    return joined
