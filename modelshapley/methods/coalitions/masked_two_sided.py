"""The two-sided reading, averaged over the intact model and random masks of its units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from modelshapley.methods.base import Batch, BatchPosition, Shape
from modelshapley.methods.infos import MASKED_TWO_SIDED
from modelshapley.methods.sided import SidedMethod


class MaskedTwoSided(SidedMethod):
    """Help and harm by phi_b = -c_b + c_b²/2 as in two-sided, each a mean over the intact model and `masks` masks.

    In a mask every unit is on with probability `keep`, drawn anew for each example, in antithetic pairs. Where units
    can stand in for each other, the derivative of the intact model says that each of them is dispensable; with some
    of them off it tells which are needed then. Nats; one backward pass, and `masks` more for each kind of unit.
    """

    info = MASKED_TWO_SIDED

    def values(self, batch: Batch) -> Tensor:
        """Return phi of the intact model; help and harm are averaged, not phi."""
        return _phi(batch.intact_signals().gate)

    def statistics(self, batch: Batch) -> Mapping[str, Tensor]:
        total = {name: side.double() for name, side in self._sides(self.values(batch)).items()}
        masks = int(self.parameters["masks"])
        for gates in _masks(batch.position, batch.shape, masks, float(self.parameters["keep"])):
            for name, side in self._sides(_phi(batch.signals_at(gates).gate)).items():
                total[name] += side.double()
        return {name: side / (1 + masks) for name, side in total.items()}


def _phi(c: Tensor) -> Tensor:
    return -c + c.square() / 2


def _masks(position: BatchPosition, shape: Shape, count: int, keep: float) -> Iterator[Tensor]:
    """Yield masks (examples, layers, units a layer), which depend only on an example's place in the probe set."""
    rngs = [np.random.default_rng([position.seed, position.kind, position.start + i]) for i in range(position.count)]
    for number in range(count):
        if number % 2 == 0:
            draws = np.stack([rng.random(shape) for rng in rngs])
        yield torch.from_numpy(((1 - draws if number % 2 else draws) < keep).astype(np.float32))
