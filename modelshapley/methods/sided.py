"""Scores that keep help and harm apart, so that they can be weighed after the run."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from torch import Tensor

from modelshapley.maps.importance import Sides, weigh
from modelshapley.methods.base import Batch, Method, Moments, Reading, Scores


class SidedMethod(Method):
    """A per-example value phi_b, summed on two sides: E[max(phi_b, 0)], the help, and E[max(-phi_b, 0)], the harm.

    The reading `harm` turns them into a score; see :func:`modelshapley.maps.importance.weigh`.
    """

    @abstractmethod
    def values(self, batch: Batch) -> Tensor:
        """phi_b of every unit, (examples, layers, units a layer), nats; positive: the example needs the unit."""

    def statistics(self, batch: Batch) -> Mapping[str, Tensor]:
        phi = self.values(batch)
        return {"help": phi.clamp(min=0), "harm": (-phi).clamp(min=0)}

    def sides(self, moments: Mapping[str, Moments]) -> Sides:
        """The two means with their squares' means, for the map to keep."""
        helps, harms = moments["help"], moments["harm"]
        return Sides(helps.n, helps.mean(), harms.mean(), helps.mean_square(), harms.mean_square())

    def read(self, moments: Mapping[str, Moments], reading: Reading) -> Scores:
        harm = self.parameters["harm"]
        return weigh(self.sides(moments), None if harm == "signed" else float(harm))
