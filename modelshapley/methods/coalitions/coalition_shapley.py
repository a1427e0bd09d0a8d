"""Gate derivatives averaged over random coalitions."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from modelshapley.methods.base import Batch, BatchPosition, Shape
from modelshapley.methods.infos import COALITION_SHAPLEY
from modelshapley.methods.sided import SidedMethod


class CoalitionShapley(SidedMethod):
    """phi_b = -mean of c_b at random coalitions: t uniform on (from, 1), each unit on with probability t.

    Every example has its own coalitions, in antithetic pairs (the second has t and the draws mirrored), so that n
    examples use n x `passes` coalitions, and the spread over examples includes that of the coalitions. With from = 0 it
    estimates the Shapley value where the loss is linear in each gate. Nats; positive: the unit lowers the loss. At most
    `passes` backward passes for each kind of unit: with `error` above 0, an example is done as soon as the standard
    error of its values from pair to pair, as a root mean square over units, is at most `error` times their own root
    mean square.
    """

    info = COALITION_SHAPLEY

    def values(self, batch: Batch) -> Tensor:
        pairs = int(self.parameters["passes"]) // 2
        total = torch.zeros((batch.position.count, *batch.shape), dtype=torch.float64)
        squares, used = torch.zeros_like(total), torch.zeros(batch.position.count, dtype=torch.float64)
        active = torch.ones(batch.position.count, dtype=torch.bool)
        coalitions = _Coalitions(batch.position, batch.shape, pairs, float(self.parameters["from"]))
        for pair in range(pairs):
            phi = -torch.stack([batch.signals_at(gates).gate.double().cpu() for gates in coalitions.pair(pair)]).mean(0)
            total[active] += phi[active]
            squares[active] += phi[active].square()
            used[active] += 1
            active &= ~self._converged(total, squares, used)
            if not active.any():
                break
        return total / used[:, None, None]

    def _converged(self, total: Tensor, squares: Tensor, used: Tensor) -> Tensor:
        """Return which examples need no more pairs, (examples,)."""
        n = used[:, None, None]
        mean = total / n
        variance = (squares / n - mean.square()).clamp(min=0) / (n - 1).clamp(min=1)
        error, size = variance.mean((1, 2)), mean.square().mean((1, 2))
        return (used > 1) & (error <= float(self.parameters["error"]) ** 2 * size)


class _Coalitions:
    """Coalitions of every example of a batch, which depend only on its position in the probe set."""

    def __init__(self, position: BatchPosition, shape: Shape, pairs: int, low: float) -> None:
        self._shape, self._pairs, self._low = shape, pairs, low
        self._rngs = [
            np.random.default_rng([position.seed, position.kind, position.start + i]) for i in range(position.count)
        ]

    def pair(self, number: int) -> list[Tensor]:
        """Draw two gates (examples, layers, units a layer). Call it in order: pair 0, 1, 2 ..."""
        gates = np.empty((2, len(self._rngs), *self._shape), dtype=np.float32)
        for row, rng in enumerate(self._rngs):
            # Stratified: the pairs of an example divide the interval of t among them, in an order that covers it evenly
            # however early the example converges.
            stratum = _evenly_spread(number, self._pairs)
            t = (stratum + rng.random()) / self._pairs / 2
            draws = rng.random(self._shape)
            for mirrored in (0, 1):
                share = self._low + (1 - self._low) * (1 - t if mirrored else t)
                gates[mirrored, row] = (1 - draws if mirrored else draws) < share
        return list(torch.from_numpy(gates))


def _evenly_spread(number: int, count: int) -> int:
    """Return entry `number` of 0 to count - 1 in bit-reversed order, whose every prefix is evenly spread."""
    bits = max(1, (count - 1).bit_length())
    order = [int(format(i, f"0{bits}b")[::-1], 2) for i in range(1 << bits)]
    return [i for i in order if i < count][number]
