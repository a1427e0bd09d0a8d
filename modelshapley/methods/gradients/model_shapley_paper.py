"""The closed form as the paper prints it, smoothed over mini-batches, ranked by its absolute value."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from modelshapley.methods.base import Array, Batch, Blocked, Method, Moments, Reading, Scores, Statistic, blocks_of
from modelshapley.methods.gradients.model_shapley import block_sum
from modelshapley.methods.infos import MODEL_SHAPLEY_PAPER
from modelshapley.units import UnitKind


class ModelShapleyPaper(Method):
    """|phi| with phi_b = -c_b - 1/2 c_b sum_k c_kb (paper, eq. 7, Algorithm 2), smoothed over mini-batches.

    The paper's moving average phi <- (1 - alpha) phi + alpha phi_m over mini-batches m is a weighted mean of
    examples whose weights are known in advance, so it can be summed in any order. alpha 0
    is the plain mean. Kept for comparison: the minus before the second term contradicts the paper's own eq. 3.
    Heads and layers are means over their rows' scores, as in the paper; with pool=gate they are scored as units of
    their own. Nats, never negative. The standard error is that of the mean inside the bars; of a mean over rows, that
    of the rows' mean with their signs, so that it has the covariance of the rows. One pass.
    """

    info = MODEL_SHAPLEY_PAPER

    def source(self, kind: UnitKind) -> UnitKind:
        pools = self.parameters["pool"] == "rows" and kind in (UnitKind.HEAD, UnitKind.LAYER)
        return UnitKind.ROW if pools else kind

    def statistics(self, batch: Batch) -> Mapping[str, Statistic]:
        c, position = batch.intact_signals().gate, batch.position
        phi = -c - 0.5 * c * block_sum(c, str(self.parameters["block"]))
        weights = torch.from_numpy(self._weights(position.total)[position.start : position.start + position.count])
        w = weights.to(c)[:, None, None]
        kind = list(UnitKind)[position.kind]
        if self.source(kind) is not kind:
            places = blocks_of(position.total)[position.start : position.start + position.count]
            blocks = torch.from_numpy(places).to(c.device)
            return {"weighted by block": Blocked(w * phi, blocks), "weight by block": Blocked(w, blocks)}
        return {"weighted": w * phi, "twice": w.square() * phi, "weight": w}

    def read(self, moments: Mapping[str, Moments], reading: Reading) -> Scores:
        if self.source(reading.kind) is not reading.kind:
            return self._read_pooled(moments, reading)
        weighted, weight = moments["weighted"], moments["weight"]
        n = weighted.n
        with np.errstate(invalid="ignore"):  # 0 / 0 where the smoothing gives all examples weight 0: no score
            mean = weighted.total / weight.total
        if n < 2:
            return np.abs(mean), np.full_like(mean, np.inf)
        # sum of w^2 (phi - mean)^2, expanded
        spread = weighted.squares - 2 * mean * moments["twice"].total + mean**2 * weight.squares
        with np.errstate(invalid="ignore"):
            return np.abs(mean), np.sqrt(np.maximum(spread, 0) * n / (n - 1)) / weight.total

    def _read_pooled(self, moments: Mapping[str, Moments], reading: Reading) -> Scores:
        """Read the means over the rows of each unit of |mean over examples|, and their standard errors.

        The bars make the score a sum of the rows' means with their signs. The signs are known only now, so squares of
        an example's sum could not be added up before: the spread of the blocks' sums stands for them.
        """
        weighted, weight = moments["weighted by block"].total, moments["weight by block"].total
        with np.errstate(invalid="ignore"):  # as in `read`
            mean = weighted.sum(0) / weight.sum(0)
        scores = reading.pool_rows(np.abs(mean))
        filled = np.count_nonzero(weight)
        if filled < 2:
            return scores, np.full_like(scores, np.inf)
        residuals = reading.pool_rows(np.sign(mean) * (weighted - mean * weight))
        return scores, np.sqrt(np.square(residuals).sum(0) * filled / (filled - 1)) / weight.sum()

    def _weights(self, total: int) -> Array:
        """Return the weight of each of `total` examples in the smoothed mean; their mean is 1."""
        alpha, size = float(self.parameters["alpha"]), int(self.parameters["batch"])
        if alpha == 0:
            return np.ones(total)
        batch = np.arange(total) // size
        last = batch[-1]
        share = np.where(batch == 0, 1.0, alpha) * (1 - alpha) ** (last - batch)
        weights: Array = share * total / np.bincount(batch)[batch]
        return weights
