"""Cost of methods in passes, known before they run. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelshapley.methods.infos import PATH_GRID
from modelshapley.methods.specs import Value, parse_method
from modelshapley.units import UnitKind


@dataclass(frozen=True)
class Cost:
    """Largest number of passes over each example. backward: forward and backward; forward: forward passes alone."""

    backward: int
    forward: int

    @property
    def work(self) -> float:
        """Cost in backward passes.

        A forward pass counts as half of one: with the weights frozen, going backward costs about as much as going
        forward (docs/benchmarks.md: 0.83 s and 1.67 s).
        """
        return self.backward + self.forward / 2


def cost_of(methods: Sequence[str], counts: Mapping[UnitKind, int]) -> Cost:
    """Return the cost of scoring by these methods together. counts: number of units of each scored kind.

    All one-pass methods share one pass for all kinds; a method of several passes needs its own for each kind. Raises
    what parse_method raises.
    """
    shared, backward, forward = 0, 0, 0
    for spec in methods:
        info, values = parse_method(spec)
        if "pairs" in values:
            forward += sum(2 * _as_int(values["pairs"]) * count for count in counts.values())
        elif not info.passes and "passes" in values:
            forward += _as_int(values["passes"]) * len(counts)
        elif info.passes > 1:
            forward += len(PATH_GRID) * len(counts) if "points" in values else 0
            backward += _as_int(values.get("passes", values.get("points", info.passes))) * len(counts)
        else:
            shared = max(shared, info.passes)
    return Cost(shared + backward, forward)


def _as_int(value: Value) -> int:
    return int(value)
