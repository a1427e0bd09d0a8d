"""Gates in the autograd graph that report activations and their gradients on the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from modelshapley.architectures.anatomy import Site
from modelshapley.interventions.gates import factors_of

Sink = Callable[[Tensor, Tensor, Tensor | None], None]
"""Receiver of (z, dLoss/dz, index of experts or None)."""


class Tap(torch.autograd.Function):
    """A gate (identity without factor) that passes (z, dLoss/d(gated z)) to a sink on the backward pass."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, factor: Tensor | None, sink: Callable[[Tensor, Tensor], None]) -> Tensor:
        ctx.save_for_backward(z)
        ctx.factor, ctx.sink = factor, sink
        return z.view_as(z) if factor is None else z * factor

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor, None, None]:
        (z,) = ctx.saved_tensors
        ctx.sink(z, dz)
        return (dz if ctx.factor is None else dz * ctx.factor), None, None


def tap(site: Site, gates: Tensor | None, sink: Sink) -> Any:
    """Return a change for :func:`gates.hook`. gates: (examples, units of the site)."""

    def change(z: Tensor, index: Tensor | None) -> Tensor:
        factor = None if gates is None else factors_of(site, gates, z, index)
        tapped: Tensor = Tap.apply(z, factor, lambda z, dz: sink(z, dz, index))  # type: ignore[no-untyped-call]  # torch leaves it untyped
        # Falcon adds in place to what a layer's part adds, which autograd forbids on the view that a tap returns.
        return tapped.clone() if site.width == 0 and site.side == "output" else tapped

    return change


class _ThinTap(torch.autograd.Function):
    """An identity that passes only dLoss/dz to a sink, and so stores no activation."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, sink: Callable[[Tensor], None]) -> Tensor:
        ctx.sink = sink
        return z.view_as(z)

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor, None]:
        ctx.sink(dz)
        return dz, None


def thin_tap(sink: Callable[[Tensor], None]) -> Any:
    """Return a change for :func:`gates.hook` that reports gradients only."""

    def change(z: Tensor, _: Tensor | None) -> Tensor:
        tapped: Tensor = _ThinTap.apply(z, sink)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return tapped

    return change
