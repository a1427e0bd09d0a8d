"""The weights of each unit: their size, and scaling them, to zero for example."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from modelshapley.architectures.anatomy import Anatomy, Experts, Site
from modelshapley.units import OFF, Deactivation, Unit, UnitKind


def oriented(module: nn.Module) -> Tensor:
    """Return the weight of a linear map as (outputs, inputs), a view; GPT-2 stores it transposed."""
    weight = module.get_parameter("weight").detach()
    return weight.T if isinstance(module, Conv1D) else weight


def outgoing(model: nn.Module, site: Site) -> Tensor:
    """Return the sum of the |weights| that consume each channel at `site`; 1 for unweighted outputs (layers, rows)."""
    module = model.get_submodule(site.path)
    if site.side == "output":
        return torch.ones((), device=next(model.parameters()).device)
    if site.side == "routing":
        return module.get_parameter("down_proj").detach().abs().sum((1, 2), dtype=torch.float32)
    return oriented(module).abs().sum(0, dtype=torch.float32)


def magnitudes(model: nn.Module, anatomy: Anatomy, kind: UnitKind) -> npt.NDArray[np.float64]:
    """Return the mean |weight| of each unit, (layers, units a layer): of weights that consume it, or of a row itself.

    For a layer it is the mean over all its output projections. Places without a unit are 0.
    """
    table = np.zeros(anatomy.shapes.table(kind))
    for layer in range(anatomy.shapes.layers):
        if kind is UnitKind.LAYER:
            weights = _producers(model, anatomy, layer)
            total = sum(float(weight.abs().sum(dtype=torch.float64)) for weight in weights)
            table[layer] = total / sum(weight.numel() for weight in weights)
            continue
        for site in anatomy.sites(kind, layer):
            table[layer, site.first : site.first + site.count] = _site_magnitudes(model, site).cpu().numpy()
    return table


def _site_magnitudes(model: nn.Module, site: Site) -> Tensor:
    module = model.get_submodule(site.path)
    if site.side == "routing":
        return module.get_parameter("down_proj").detach().abs().double().mean((1, 2))
    weight = oriented(module).abs().double()
    if site.side == "output":
        return torch.cat([weight[start:stop] for start, stop in site.spans]).mean(1)
    return weight.mean(0).view(site.count, -1).mean(1)


def _producers(model: nn.Module, anatomy: Anatomy, layer: int) -> list[Tensor]:
    """Return the weights of the maps whose outputs a layer adds to the residual stream."""
    block = anatomy.layers[layer]
    weights = [model.get_submodule(attention.output).get_parameter("weight") for attention in block.attentions]
    if isinstance(block.mlp, Experts):
        weights.append(model.get_submodule(block.mlp.path).get_parameter("down_proj"))
    else:
        weights.append(model.get_submodule(block.mlp.output).get_parameter("weight"))
    return [weight.detach() for weight in weights]


@contextmanager
def zeroed_weights(model: nn.Module, anatomy: Anatomy, deactivation: Deactivation) -> Iterator[None]:
    """Set the weights of the units to zero, and restore them afterwards: the reference for switching off.

    The deactivation's own treatment is ignored. Which weights these are: see :func:`scaled_weights`.
    """
    with scaled_weights(model, anatomy, replace(deactivation, treatment=OFF)):
        yield


@contextmanager
def scaled_weights(model: nn.Module, anatomy: Anatomy, deactivation: Deactivation) -> Iterator[None]:
    """Scale the weights of the units by the factor, and restore them afterwards: the reference for scaling.

    A neuron: its column of the last MLP projection. A head: its columns of the attention output projection.
    An expert: its output projection. A row: its weights and bias. A layer: weight and bias of every output
    projection. Raises ValueError for a treatment other than 'scale', and for layers whose contribution goes
    through another module before it is added (Gemma's norm undoes any factor but 0).
    """
    if deactivation.treatment.how != "scale":
        raise ValueError(f"weights can only be scaled, but these units are {deactivation.treatment.describe()}")
    factor = deactivation.treatment.value
    if factor != 0:
        for (layer,) in deactivation.of_kind(UnitKind.LAYER):
            _check_linear(anatomy, layer)
    saved: dict[Tensor, Tensor] = {}
    try:
        for kind, units in deactivation.units:
            for unit in units:
                for parameter, view in _views(model, anatomy, kind, unit):
                    saved.setdefault(parameter, parameter.detach().clone())
                    view.mul_(factor)
        yield
    finally:
        for parameter, original in saved.items():
            parameter.data.copy_(original)


def are_zero(model: nn.Module, anatomy: Anatomy, deactivation: Deactivation) -> bool:
    """Return whether all these units have weights of 0 already, or lie in layers that have.

    So it is in models whose units were zeroed in place.
    """

    def zero(kind: UnitKind, unit: Unit) -> bool:
        return not any(bool(view.any()) for _, view in _views(model, anatomy, kind, unit))

    units = ((kind, unit) for kind, units in deactivation.units for unit in units)
    return all(zero(kind, unit) or zero(UnitKind.LAYER, unit[:1]) for kind, unit in units)


def _check_linear(anatomy: Anatomy, layer: int) -> None:
    block = anatomy.layers[layer]
    for part in (*block.attentions, block.mlp):
        if not isinstance(part, Experts) and part.added != part.output:
            raise ValueError(f"layer {layer} passes what it adds through {part.added}, which need not be linear")


def _views(model: nn.Module, anatomy: Anatomy, kind: UnitKind, unit: Unit) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the parameters that hold the unit's weights, each with the view of just these."""
    block = anatomy.layers[unit[0]]
    if kind is UnitKind.LAYER:
        paths = [a.output for a in block.attentions] + ([] if isinstance(block.mlp, Experts) else [block.mlp.output])
        for path in paths:
            for parameter in model.get_submodule(path).parameters(recurse=False):
                yield parameter, parameter.data
        if isinstance(block.mlp, Experts):
            parameter = model.get_submodule(block.mlp.path).get_parameter("down_proj")
            yield parameter, parameter.data
        return
    site = next(s for s in anatomy.sites(kind, unit[0]) if s.first <= unit[1] < s.first + s.count)
    module, place = model.get_submodule(site.path), unit[1] - site.first
    if site.side == "routing":
        parameter = module.get_parameter("down_proj")
        yield parameter, parameter.data[place]
        return
    weight = module.get_parameter("weight")
    matrix = weight.data.T if isinstance(module, Conv1D) else weight.data
    if site.side == "input":
        yield weight, matrix[:, place * site.width : (place + 1) * site.width]
        return
    row = [channel for start, stop in site.spans for channel in range(start, stop)][place]
    yield weight, matrix[row]
    bias = dict(module.named_parameters(recurse=False)).get("bias")
    if bias is not None:
        yield bias, bias.data[row]
