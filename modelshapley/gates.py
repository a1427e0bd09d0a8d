"""Scale or switch off units in a live model, and always put it back.

Gates sit on activations, never on weights: a model inside :func:`gated` has its weights untouched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from modelshapley.anatomy import Anatomy
from modelshapley.units import Deactivation, UnitKind

Factors = Mapping[UnitKind, npt.NDArray[np.floating]]


@contextmanager
def gated(model: nn.Module, anatomy: Anatomy, factors: Factors) -> Iterator[None]:
    """Multiply every unit's activation by its factor while the block runs.

    factors: {kind: array of ``anatomy.shapes.of(kind)``}; 1 leaves a unit as it is, 0 switches it off.
    Layers whose factors are all 1 are not touched. The hooks are gone afterwards, also after an exception.
    """
    with ExitStack() as stack:
        for kind, array in factors.items():
            if array.shape != anatomy.shapes.of(kind):
                raise ValueError(
                    f"factors of {kind.value}s have shape {array.shape}, not {anatomy.shapes.of(kind)}"
                )
            for layer in range(anatomy.shapes.layers):
                if np.any(array[layer] != 1):
                    for handle in _hook(model, anatomy, kind, layer, torch.as_tensor(array[layer])):
                        stack.callback(handle.remove)
        yield


@contextmanager
def switched_off(model: nn.Module, anatomy: Anatomy, deactivation: Deactivation) -> Iterator[None]:
    """The model without these units while the block runs. Raises UnitOutOfRange."""
    deactivation.check(anatomy.shapes)
    factors = {
        kind: 1.0 - deactivation.mask(kind, anatomy.shapes) for kind in UnitKind if deactivation.of_kind(kind)
    }
    with gated(model, anatomy, factors):
        yield


def _hook(model: nn.Module, anatomy: Anatomy, kind: UnitKind, layer: int, factor: Tensor) -> list[Any]:
    attention = model.get_submodule(anatomy.attention_output(layer))
    mlp = model.get_submodule(anatomy.mlp_output(layer))
    if kind is UnitKind.LAYER:
        return [module.register_forward_hook(_scale_output(factor)) for module in (attention, mlp)]
    if kind is UnitKind.HEAD:
        return [attention.register_forward_pre_hook(_scale_input(factor.repeat_interleave(anatomy.head_width)))]
    return [mlp.register_forward_pre_hook(_scale_input(factor))]


def _scale_input(factor: Tensor) -> Any:
    def hook(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (args[0] * factor.to(args[0]), *args[1:])

    return hook


def _scale_output(factor: Tensor) -> Any:
    def hook(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output * factor.to(output)

    return hook
