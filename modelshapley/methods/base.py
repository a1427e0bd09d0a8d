"""What every method is: per-example statistics of the signals, added up, then read as scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from torch import Tensor

from modelshapley.contracts import MethodInfo
from modelshapley.signals import Signals

Array = npt.NDArray[np.float64]


@dataclass
class Moments:
    """Sums over examples of one statistic and of its square, (layers, units a layer) in float64.

    Sums commute, so batches and shards can come in any split and order.
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
        self.total += other.total
        self.squares += other.squares

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


Scores = tuple[Array, Array]
"""Scores and their standard errors, both (layers, units a layer)."""


class Method(ABC):
    """One importance method. Stateless: the sums are kept by the caller."""

    info: MethodInfo

    @property
    def parameters(self) -> Mapping[str, float | str]:
        """What the scores depend on besides the data, for provenance."""
        return {}

    @abstractmethod
    def statistics(self, signals: Signals) -> Mapping[str, Tensor]:
        """Per-example statistics whose sums the method needs, each (examples, layers, units a layer)."""

    @abstractmethod
    def read(self, moments: Mapping[str, Moments], shape: tuple[int, int], rng: np.random.Generator) -> Scores:
        """Scores of `shape` from the sums; `rng` is for methods that draw."""


class MeanMethod(Method):
    """A method whose score is the mean over examples of one statistic."""

    @abstractmethod
    def statistic(self, signals: Signals) -> Tensor:
        """The statistic, (examples, layers, units a layer)."""

    def statistics(self, signals: Signals) -> Mapping[str, Tensor]:
        return {"value": self.statistic(signals)}

    def read(self, moments: Mapping[str, Moments], shape: tuple[int, int], rng: np.random.Generator) -> Scores:
        return moments["value"].mean(), moments["value"].standard_error()
