"""ScoreAccumulator of an activation over positions, and of channels over units, for every example of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from modelshapley.architectures.anatomy import Site


def wide(x: Tensor) -> Tensor:
    """In float32 at least: products and sums of half precision would be rounded, or vanish, at every step."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


@dataclass(frozen=True)
class Channels:
    """Reads an activation (..., channels) whose leading size is the examples, or windows of each."""

    site: Site
    examples: int

    def positions(self, z: Tensor) -> int:
        return z.numel() // (self.examples * z.shape[-1])

    def sums(self, values: Tensor) -> Tensor:
        """Summed over positions: (examples, channels)."""
        return values.reshape(self.examples, -1, values.shape[-1]).sum(1).float()

    def products(self, z: Tensor, dz: Tensor) -> Tensor:
        """z * dz summed over positions: (examples, channels).

        One example after the other: all at once, the product would take as much memory again as z.
        """
        rows = zip(*(x.reshape(self.examples, -1, x.shape[-1]) for x in (z, dz)), strict=True)
        return torch.stack([(wide(one) * wide(other)).sum(0) for one, other in rows]).float()

    def units(self, by_channel: Tensor, how: Literal["sum", "mean"]) -> Tensor:
        """A sum or mean over the channels of each unit: (examples, units)."""
        if self.site.spans:
            by_channel = torch.cat([by_channel[:, start:stop] for start, stop in self.site.spans], dim=1)
        if self.site.width == 1:
            return by_channel
        grouped = by_channel.view(self.examples, self.site.count, -1)
        return grouped.sum(-1) if how == "sum" else grouped.mean(-1)


@dataclass(frozen=True)
class Experts:
    """Reads routing weights (tokens, experts a token); `index` tells which expert each belongs to."""

    count: int
    examples: int
    index: Tensor

    def positions(self, z: Tensor) -> int:
        return len(z) // self.examples

    def sums(self, values: Tensor) -> Tensor:
        """Summed over tokens: (examples, experts)."""
        by_expert = values.new_zeros((self.examples, self.count), dtype=torch.float32)
        return by_expert.scatter_add_(
            1, self.index.reshape(self.examples, -1), values.float().reshape(self.examples, -1)
        )

    def products(self, z: Tensor, dz: Tensor) -> Tensor:
        """z * dz summed over tokens: (examples, experts)."""
        return self.sums(wide(z) * wide(dz))

    def units(self, by_expert: Tensor, how: Literal["sum", "mean"]) -> Tensor:
        return by_expert
