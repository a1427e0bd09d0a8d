"""What methods cost before they are run, in passes. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelshapley.methods.specs import Value, parse_method
from modelshapley.units import UnitKind


@dataclass(frozen=True)
class Cost:
    """Passes over each example, at most. backward: forward and backward; forward: forward passes alone."""

    backward: int
    forward: int

    @property
    def work(self) -> float:
        """In backward passes. A forward pass is half of one: with the weights frozen, the way back costs about
        what the way forth does (docs/benchmarks.md: 0.83 s and 1.67 s)."""
        return self.backward + self.forward / 2


def cost_of(methods: Sequence[str], counts: Mapping[UnitKind, int]) -> Cost:
    """Of scoring by these methods together. counts: units of each scored kind. Raises what parse_method does.

    All methods of one pass share it, for all kinds; a method of several takes its own for each kind.
    """
    shared, backward, forward = 0, 0, 0
    for spec in methods:
        info, values = parse_method(spec)
        if "pairs" in values:
            forward += sum(2 * _whole(values["pairs"]) * count for count in counts.values())
        elif info.passes > 1:
            backward += _whole(values.get("passes", values.get("points", info.passes))) * len(counts)
        else:
            shared = max(shared, info.passes)
    return Cost(shared + backward, forward)


def _whole(value: Value) -> int:
    return int(value)
