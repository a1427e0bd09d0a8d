"""Base of the methods: per-example statistics of the signals, summed, then read as scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt
from torch import Tensor

from modelshapley.contracts import MethodInfo
from modelshapley.methods.specs import Value, canonical
from modelshapley.signals.observe import Signals
from modelshapley.units import UnitKind

Array = npt.NDArray[np.float64]
Shape = tuple[int, int]
Utility = Literal["loss", "accuracy"]


BLOCKS = 16  # their spread has 15 degrees of freedom, so a standard error from it is itself known to about 18 %


@cache
def blocks_of(total: int) -> npt.NDArray[np.int64]:
    """Return the block, 0 to BLOCKS - 1, of each of `total` examples: at random, and of equal sizes."""
    return np.random.default_rng(total).permutation(total) % BLOCKS


@dataclass(frozen=True)
class Blocked:
    """Per-example values, (examples, layers, units a layer), that are summed by block; blocks: that of each example.

    For scores of which a standard error cannot be read from sums of squares, because it depends on the covariance of
    many units: the spread of the blocks' sums gives it (the method of random groups).
    """

    values: Tensor
    blocks: Tensor

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Sequence[int]) -> Blocked:
        return Blocked(self.values[rows], self.blocks[rows])


Statistic = Tensor | Blocked


@dataclass
class Moments:
    """Sums over examples of one statistic and of its square, (layers, units a layer) in float64.

    Of blocked values, the sums of each block, (BLOCKS, layers, units a layer), and no squares. Sums commute, so batches
    and shards can come in any split and order.
    """

    n: int
    total: Array
    squares: Array

    @classmethod
    def of(cls, values: Statistic) -> Self:
        """Sum per-example values (examples, layers, units a layer)."""
        if isinstance(values, Blocked):
            doubles = values.values.detach().double()
            sums = doubles.new_zeros((BLOCKS, *doubles.shape[1:]))
            sums.index_add_(0, values.blocks.to(doubles.device), doubles)
            return cls(len(values), sums.cpu().numpy(), np.zeros(0))
        doubles = values.detach().double()
        return cls(len(values), doubles.sum(0).cpu().numpy(), doubles.square().sum(0).cpu().numpy())

    def merge(self, other: Moments) -> None:
        """Add the sums of other examples."""
        self.n += other.n
        self.total = self.total + other.total
        self.squares = self.squares + other.squares

    def mean(self) -> Array:
        return self.total / self.n

    def mean_square(self) -> Array:
        return self.squares / self.n

    def standard_error(self) -> Array:
        """Return the standard error of the mean; infinite for a single example, whose spread is unknown."""
        return standard_error(self.mean(), self.mean_square(), self.n)


def standard_error(mean: Array, mean_square: Array, n: int) -> Array:
    """Return the standard error of a mean over n examples from its first two moments; infinite for n = 1."""
    if n < 2:
        return np.full_like(mean, np.inf)
    variance = np.maximum(mean_square - mean**2, 0.0) * n / (n - 1)
    result: Array = np.sqrt(variance / n)
    return result


@dataclass(frozen=True)
class BatchPosition:
    """Position of a batch in the probe set: examples `start` to `start + count` of `total`; the run's seed.

    kind: index of the scored kind of unit among all kinds, so that random draws differ between kinds.
    """

    start: int
    count: int
    total: int
    seed: int
    kind: int


Scores = tuple[Array, Array]
"""Scores and their standard errors, both (layers, units a layer)."""


@dataclass(frozen=True)
class Reading:
    """Inputs of a score besides the sums.

    kind: kind of the scored units. shape: (layers, units a layer). total: number of examples in the probe set. rng: for
    methods with random draws. weights: returns the mean |weight| of every unit's outgoing weights, of `shape`.
    row_groups: returns the rows that belong to each unit of a layer (Anatomy.row_groups).
    """

    kind: UnitKind
    shape: Shape
    total: int
    rng: np.random.Generator
    weights: Callable[[], Array]
    row_groups: Callable[[int], list[list[int]]]

    def pool_rows(self, rows: Array) -> Array:
        """Average values of rows, (..., layers, rows), over the rows of each unit, to (..., *shape).

        Paper, section 5, Figure 1.
        """
        pooled = np.zeros((*rows.shape[:-2], *self.shape))
        for layer in range(self.shape[0]):
            for unit, group in enumerate(self.row_groups(layer)):
                pooled[..., layer, unit] = rows[..., layer, group].mean(-1)
        return pooled


class Batch(Protocol):
    """A batch of probe examples and one kind of unit, with everything that a method may measure on them.

    shape: (layers, units a layer); is_unit: array of this shape, True where there is a unit.
    """

    position: BatchPosition
    shape: Shape
    is_unit: npt.NDArray[np.bool_]

    def intact_signals(self) -> Signals:
        """Return the signals of the intact model; one pass, shared by all methods and kinds that need it."""

    def signals_at(self, gates: Tensor) -> Signals:
        """Return the signals at gates (examples, layers, units a layer), separate for each example; one pass."""

    def utility(self, gates: Tensor, rows: Sequence[int], what: Utility) -> Tensor:
        """Return the utility of coalitions, (coalitions,): of example ``rows[i]`` of the batch under ``gates[i]``.

        'loss': minus its loss, nats; 'accuracy': 1 where it is answered right, else 0. Forward only.
        """


class Method(ABC):
    """One importance method. Stateless: the caller holds the sums.

    parts: signals that it needs besides the gate derivative (signals.observe.PARTS).
    """

    info: MethodInfo
    parts: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, **parameters: Value) -> None:
        self.parameters: Mapping[str, Value] = parameters

    @property
    def spec(self) -> str:
        """Spec of the method, as a run names it."""
        return canonical(",".join([self.info.id, *(f"{k}={v}" for k, v in self.parameters.items())]))

    def source(self, kind: UnitKind) -> UnitKind:
        """Return the kind whose signals :meth:`statistics` reads to score `kind`: another if scores are pooled."""
        return kind

    @abstractmethod
    def statistics(self, batch: Batch) -> Mapping[str, Statistic]:
        """Compute the per-example statistics whose sums the method needs, each (examples, layers, units a layer).

        An example's statistics must not depend on the others of its batch, so that any split gives the same map.
        """

    @abstractmethod
    def read(self, moments: Mapping[str, Moments], reading: Reading) -> Scores:
        """Compute the scores from the sums."""

    def worth(self, moments: Mapping[str, Moments]) -> float | None:
        """Return what the signed scores of all units should sum to, nats; None where the method does not measure it."""
        return None


class MeanMethod(Method):
    """A one-pass method whose score is the mean over examples of one statistic."""

    @abstractmethod
    def statistic(self, signals: Signals) -> Tensor:
        """Compute the statistic, (examples, layers, units a layer)."""

    def statistics(self, batch: Batch) -> Mapping[str, Tensor]:
        return {"value": self.statistic(batch.intact_signals())}

    def read(self, moments: Mapping[str, Moments], reading: Reading) -> Scores:
        return moments["value"].mean(), moments["value"].standard_error()
