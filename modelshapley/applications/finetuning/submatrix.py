"""Chosen rows or columns of linear maps as the only parameters that train; the whole weights stay frozen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from modelshapley.applications.finetuning.experts import SubExperts
from modelshapley.applications.finetuning.parts import Part, master_of, parts_of
from modelshapley.architectures.anatomy import Anatomy
from modelshapley.interventions.forwards import Forward, replaced_forward
from modelshapley.interventions.weights import oriented
from modelshapley.units import Deactivation


class _Linear(torch.autograd.Function):
    """A linear map whose backward pass computes the gradients of its input and of one sub-matrix, and no others."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, part: Tensor, bias_part: Tensor | None, weight: Tensor, bias: Tensor | None, cut: _Cut
    ) -> Tensor:
        inputs = x if cut.side == "rows" else x.index_select(-1, cut.index)
        ctx.save_for_backward(inputs, weight)
        ctx.cut, ctx.dtype = cut, part.dtype
        return linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight = ctx.saved_tensors
        chosen = grad.index_select(-1, ctx.cut.index) if ctx.cut.side == "rows" else grad
        flat = chosen.reshape(-1, chosen.shape[-1])
        part = (flat.T @ inputs.reshape(-1, inputs.shape[-1])).to(ctx.dtype) if ctx.needs_input_grad[1] else None
        bias = flat.sum(0, dtype=ctx.dtype) if ctx.needs_input_grad[2] else None
        return (grad @ weight if ctx.needs_input_grad[0] else None), part, bias, None, None, None


@dataclass(frozen=True)
class _Cut:
    side: str
    index: Tensor


class SubMatrix:
    """The trained part of one module: parameters, which :meth:`write` copies into the frozen weight."""

    def __init__(self, model: nn.Module, part: Part) -> None:
        self.part, self.module = part, model.get_submodule(part.path)
        self._weight = oriented(self.module)  # a view: writing into it changes the module
        bias = dict(self.module.named_parameters(recurse=False)).get("bias")
        self._bias = None if bias is None else bias.detach()
        self._cut = _Cut(part.side, torch.tensor(part.index, device=self._weight.device))
        self.weight = nn.Parameter(master_of(self._weight.index_select(self.dimension, self._cut.index)))
        has_bias = self._bias is not None and part.side == "rows"
        self.bias = (
            nn.Parameter(master_of(self._bias[self._cut.index])) if has_bias and self._bias is not None else None
        )

    @property
    def dimension(self) -> int:
        """Dimension of the weight (outputs x inputs) that is cut: 0 for rows, 1 for columns."""
        return 0 if self.part.side == "rows" else 1

    def parameters(self) -> dict[str, nn.Parameter]:
        """Return the trained parameters by name."""
        named = {f"{self.part.path}.{self.part.side}.weight": self.weight}
        if self.bias is not None:
            named[f"{self.part.path}.{self.part.side}.bias"] = self.bias
        return named

    @torch.no_grad()
    def write(self) -> None:
        """Copy the parameters into the module's weights, which forward passes use."""
        self._weight.index_copy_(self.dimension, self._cut.index, self.weight.to(self._weight))
        if self.bias is not None and self._bias is not None:
            self._bias.index_copy_(0, self._cut.index, self.bias.to(self._bias))

    def wrap(self, _: Forward) -> Forward:
        """Return the forward of the module that lets its sub-matrix train."""

        def run(x: Tensor) -> Tensor:
            result: Tensor = _Linear.apply(x, self.weight, self.bias, self._weight, self._bias, self._cut)  # type: ignore[no-untyped-call]  # torch leaves it untyped
            return result

        return run


Trained = SubMatrix | SubExperts


def named(parts: Sequence[Trained]) -> dict[str, nn.Parameter]:
    """Return the trained parameters of all parts by name."""
    return {name: parameter for part in parts for name, parameter in part.parameters().items()}


def write_all(parts: Sequence[Trained]) -> None:
    """Copy the parameters of all parts into the model's weights, after a step of an optimiser."""
    for part in parts:
        part.write()


@contextmanager
def training(model: nn.Module, anatomy: Anatomy, units: Deactivation) -> Iterator[list[Trained]]:
    """Let only these units of a frozen model train while the block runs; what they have become stays afterwards.

    Yields the parts. After each step of an optimiser, :func:`write_all` must be called.
    """
    parts = [
        SubExperts(model, part) if part.side == "experts" else SubMatrix(model, part)
        for part in parts_of(anatomy, units)
    ]
    with ExitStack() as stack:
        for part in parts:
            stack.enter_context(replaced_forward(part.module, part.wrap))
        yield parts
