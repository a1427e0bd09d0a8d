"""Gate derivatives averaged over random coalitions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from modelshapley.methods.base import Place, Shape
from modelshapley.methods.infos import COALITION_SHAPLEY
from modelshapley.methods.sided import SidedMethod, mean_gate
from modelshapley.signals import Signals


class CoalitionShapley(SidedMethod):
    """phi_b = -mean of c_b at random coalitions: t uniform on (from, 1), each unit on with probability t.

    Every example draws coalitions of its own, in antithetic pairs (the second has t mirrored and the draws
    turned round), so that n examples see n x `passes` coalitions, and the spread over examples holds the
    coalitions' too. With from = 0 it estimates the Shapley value where the loss is linear in each gate. Nats;
    positive: the unit lowers the loss. `passes` backward passes for each kind of unit.
    """

    info = COALITION_SHAPLEY

    def gates(self, shape: Shape, place: Place) -> Sequence[Tensor]:
        pairs = int(self.parameters["passes"]) // 2
        low = float(self.parameters["from"])
        coalitions = np.empty((2 * pairs, place.count, *shape), dtype=np.float32)
        for row in range(place.count):
            rng = np.random.default_rng([place.seed, place.kind, place.start + row])
            for pair in range(pairs):
                # Stratified: the pairs of an example share the interval of t between them.
                t = (pair + rng.random()) / pairs / 2
                draws = rng.random(shape)
                for mirrored in (0, 1):
                    share = low + (1 - low) * (1 - t if mirrored else t)
                    coalitions[2 * pair + mirrored, row] = (1 - draws if mirrored else draws) < share
        return list(torch.from_numpy(coalitions))

    def values(self, signals: Sequence[Signals]) -> Tensor:
        return -mean_gate(signals, torch.full((len(signals),), 1 / len(signals), dtype=torch.float64))
