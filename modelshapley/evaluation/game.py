"""The cooperative game: units are players, and a forward pass measures the utility of a coalition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from modelshapley.interventions.gates import gated
from modelshapley.interventions.suffix import suffix_reuse
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Task
from modelshapley.units import UnitKind

Array = npt.NDArray[np.float64]
Utility = Literal["loss", "accuracy"]


@dataclass(frozen=True)
class Game:
    """A game: players are the units of one kind; a coalition's utility is its mean over `examples` (paper, section 3).

    utility: 'loss' is minus the task's loss, nats; 'accuracy' is the share of right answers, 0 to 1.
    Units outside the coalition are switched off; units of other kinds stay on.
    """

    loaded: LoadedModel
    task: Task[Any]
    kind: UnitKind
    examples: Sequence[Any]
    utility: Utility = "loss"

    @property
    def players(self) -> int:
        return self.loaded.anatomy.shapes.count(self.kind)

    def units(self) -> npt.NDArray[np.int64]:
        """Return the position of each player in the flattened score array."""
        return np.flatnonzero(self.loaded.anatomy.shapes.is_unit(self.kind))

    def value(self, on: npt.NDArray[np.bool_]) -> float:
        """Return the utility of one coalition; `on` is (players,), True for its members."""
        shape = self.loaded.anatomy.shapes.of(self.kind)
        table = np.ones(shape)
        table.flat[self.units()] = on
        factors = {self.kind: table}
        with torch.inference_mode(), gated(self.loaded.model, self.loaded.anatomy, factors):
            if self.utility == "loss":
                return -float(self.task.losses(self.loaded, self.examples).double().mean())
            return float(self.task.correct(self.loaded, self.examples).double().mean())

    def walk(self, order: Sequence[int]) -> Iterator[float]:
        """Yield the utilities along a permutation: with everything on, then after each player of `order` has left.

        Each pass computes only the layers from the leaving unit's on; the values equal :meth:`value` of each coalition.
        """
        layers = self.units() // self.loaded.anatomy.shapes.table(self.kind)[1]
        on = np.ones(self.players, dtype=bool)
        with suffix_reuse(self.loaded.model, self.loaded.anatomy) as suffix:
            yield self.value(on)
            for player in order:
                on[player] = False
                suffix.start = int(layers[player])
                yield self.value(on)
