"""Methods that store help and harm separately, so that they can be weighted after the run."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from torch import Tensor

from modelshapley.maps.importance import Sides, weigh
from modelshapley.methods.base import Batch, Method, Moments, Reading, Scores


class SidedMethod(Method):
    """A method whose per-example value phi_b has two sums: E[max(phi_b, 0)], the help, and E[max(-phi_b, 0)], the harm.

    The reading `harm` turns them into a score; see :func:`modelshapley.maps.importance.weigh`.
    """

    @abstractmethod
    def values(self, batch: Batch) -> Tensor:
        """Compute phi_b of every unit, (examples, layers, units a layer), nats; positive: the example needs the
        unit.
        """

    def statistics(self, batch: Batch) -> Mapping[str, Tensor]:
        return self._sides(self.values(batch))

    @staticmethod
    def _sides(phi: Tensor) -> dict[str, Tensor]:
        return {"help": phi.clamp(min=0), "harm": (-phi).clamp(min=0)}

    def sides(self, moments: Mapping[str, Moments]) -> Sides:
        """Return the two means and the means of their squares, for the map to store."""
        helps, harms = moments["help"], moments["harm"]
        return Sides(helps.n, helps.mean(), harms.mean(), helps.mean_square(), harms.mean_square())

    def read(self, moments: Mapping[str, Moments], reading: Reading) -> Scores:
        harm = self.parameters["harm"]
        return weigh(self.sides(moments), None if harm == "signed" else float(harm))
