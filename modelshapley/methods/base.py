"""What every method is: per-example statistics of the signals, added up, then read as scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass
class Moments:
    """ScoreAccumulator over examples of one statistic and of its square, (layers, units a layer) in float64.

    ScoreAccumulator commute, so batches and shards can come in any split and order.
    """

    n: int
    total: Array
    squares: Array

    @classmethod
    def of(cls, values: Tensor) -> Self:
        """From per-example values (examples, layers, units a layer)."""
        doubles = values.detach().double()
        return cls(len(values), doubles.sum(0).cpu().numpy(), doubles.square().sum(0).cpu().numpy())

    def merge(self, other: Moments) -> None:
        self.n += other.n
        self.total = self.total + other.total
        self.squares = self.squares + other.squares

    def mean(self) -> Array:
        return self.total / self.n

    def mean_square(self) -> Array:
        return self.squares / self.n

    def standard_error(self) -> Array:
        """Of the mean; infinite for a single example, whose spread cannot be known."""
        return standard_error(self.mean(), self.mean_square(), self.n)


def standard_error(mean: Array, mean_square: Array, n: int) -> Array:
    """Standard error of a mean over n examples from its first two moments; infinite for n = 1."""
    if n < 2:
        return np.full_like(mean, np.inf)
    variance = np.maximum(mean_square - mean**2, 0.0) * n / (n - 1)
    result: Array = np.sqrt(variance / n)
    return result


@dataclass(frozen=True)
class Place:
    """Where a batch stands in the probe set: examples `start` to `start + count` of `total`; the run's seed.

    kind: the place of the scored kind of unit among all kinds, so that draws differ from kind to kind.
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
    """What a score may need besides the sums.

    kind: of the units that are scored. shape: (layers, units a layer). total: examples in the probe set. rng: for
    methods that draw. weights: gives the mean |weight| of every unit's outgoing weights, of `shape`. row_groups:
    gives the rows that belong to each unit of a layer (Anatomy.row_groups).
    """

    kind: UnitKind
    shape: Shape
    total: int
    rng: np.random.Generator
    weights: Callable[[], Array]
    row_groups: Callable[[int], list[list[int]]]

    def pooled(self, rows: Scores) -> Scores:
        """Scores and standard errors of rows, (layers, rows), as means over the rows of each unit, of `shape`.

        The mean of the rows' standard errors bounds that of their mean from above. Paper, section 5, Figure 1.
        """
        scores, errors = np.zeros((2, *self.shape))
        for layer in range(self.shape[0]):
            for unit, group in enumerate(self.row_groups(layer)):
                scores[layer, unit], errors[layer, unit] = (values[layer, group].mean() for values in rows)
        return scores, errors


class Batch(Protocol):
    """Some probe examples in front of the model, and one kind of unit: what a method may ask about them.

    shape: (layers, units a layer); there: the same, True where a place is a unit.
    """

    place: Place
    shape: Shape
    there: npt.NDArray[np.bool_]

    def intact(self) -> Signals:
        """Of the model as it is; one pass, shared with every other method and kind that asks for it."""

    def at(self, gates: Tensor) -> Signals:
        """At gates (examples, layers, units a layer), each example at its own; one pass."""

    def utility(self, gates: Tensor, rows: Sequence[int], what: Utility) -> Tensor:
        """Utility of coalitions, (coalitions,): of example ``rows[i]`` of the batch under ``gates[i]``.

        'loss': minus its loss, nats; 'accuracy': 1 where it is answered right, else 0. Forward only.
        """


class Method(ABC):
    """One importance method. Stateless: the sums are kept by the caller.

    parts: the signals besides the gate derivative that it wants (signals.PARTS).
    """

    info: MethodInfo
    parts: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, **parameters: Value) -> None:
        self.parameters: Mapping[str, Value] = parameters

    @property
    def spec(self) -> str:
        """How a run names it."""
        return canonical(",".join([self.info.id, *(f"{k}={v}" for k, v in self.parameters.items())]))

    def source(self, kind: UnitKind) -> UnitKind:
        """The kind whose signals :meth:`statistics` reads to score `kind`: another where scores are pooled."""
        return kind

    @abstractmethod
    def statistics(self, batch: Batch) -> Mapping[str, Tensor]:
        """Per-example statistics whose sums the method needs, each (examples, layers, units a layer).

        What an example gives may not depend on the others of its batch: any split gives the same map.
        """

    @abstractmethod
    def read(self, moments: Mapping[str, Moments], reading: Reading) -> Scores:
        """Scores from the sums."""


class MeanMethod(Method):
    """A method of one pass whose score is the mean over examples of one statistic."""

    @abstractmethod
    def statistic(self, signals: Signals) -> Tensor:
        """The statistic, (examples, layers, units a layer)."""

    def statistics(self, batch: Batch) -> Mapping[str, Tensor]:
        return {"value": self.statistic(batch.intact())}

    def read(self, moments: Mapping[str, Moments], reading: Reading) -> Scores:
        return moments["value"].mean(), moments["value"].standard_error()
