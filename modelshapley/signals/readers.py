"""Sums of an activation over positions, and of channels over units, for every example of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from modelshapley.architectures.anatomy import Site


def at_least_float32(x: Tensor) -> Tensor:
    """Convert to float32 at least: half-precision products and sums would be rounded, or vanish, at every step."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


@dataclass(frozen=True)
class Channels:
    """Reader of an activation (..., channels) whose leading dimension is the examples, or windows of each."""

    site: Site
    examples: int

    def positions(self, z: Tensor) -> int:
        return z.numel() // (self.examples * z.shape[-1])

    def sums(self, values: Tensor) -> Tensor:
        """Sum over positions: (examples, channels)."""
        return values.reshape(self.examples, -1, values.shape[-1]).sum(1).float()

    def products(self, z: Tensor, dz: Tensor) -> Tensor:
        """Sum z * dz over positions: (examples, channels).

        It goes example by example: all at once, the product would take as much memory as z.
        """
        rows = zip(*(x.reshape(self.examples, -1, x.shape[-1]) for x in (z, dz)), strict=True)
        return torch.stack([(at_least_float32(one) * at_least_float32(other)).sum(0) for one, other in rows]).float()

    def units(self, by_channel: Tensor, how: Literal["sum", "mean"]) -> Tensor:
        """Sum or average over the channels of each unit: (examples, units)."""
        if self.site.spans:
            by_channel = torch.cat([by_channel[:, start:stop] for start, stop in self.site.spans], dim=1)
        if self.site.width == 1:
            return by_channel
        grouped = by_channel.view(self.examples, self.site.count, -1)
        return grouped.sum(-1) if how == "sum" else grouped.mean(-1)


@dataclass(frozen=True)
class Experts:
    """Reader of routing weights (tokens, experts a token); `index` is the expert of each weight."""

    count: int
    examples: int
    index: Tensor

    def positions(self, z: Tensor) -> int:
        return len(z) // self.examples

    def sums(self, values: Tensor) -> Tensor:
        """Sum over tokens: (examples, experts)."""
        by_expert = values.new_zeros((self.examples, self.count), dtype=torch.float32)
        return by_expert.scatter_add_(
            1, self.index.reshape(self.examples, -1), values.float().reshape(self.examples, -1)
        )

    def products(self, z: Tensor, dz: Tensor) -> Tensor:
        """Sum z * dz over tokens: (examples, experts)."""
        return self.sums(at_least_float32(z) * at_least_float32(dz))

    def units(self, by_expert: Tensor, how: Literal["sum", "mean"]) -> Tensor:
        return by_expert
