"""Is this model's anatomy what we think it is? Checked on every load, before a number is shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from modelshapley.anatomy import Anatomy
from modelshapley.errors import UnsupportedModel
from modelshapley.gates import switched_off
from modelshapley.units import Deactivation, UnitKind

TOLERANCE = 1e-4


@contextmanager
def zeroed_weights(model: nn.Module, anatomy: Anatomy, deactivation: Deactivation) -> Iterator[None]:
    """The reference for switching off: the matching weights set to zero, and put back afterwards.

    A neuron: its column of the last MLP projection. A head: its columns of the attention output
    projection. A layer: weight and bias of both.
    """
    saved: dict[Tensor, Tensor] = {}
    try:
        for kind, units in deactivation.units:
            for unit in units:
                for view in _weights(model, anatomy, kind, unit, saved):
                    view.zero_()
        yield
    finally:
        for parameter, original in saved.items():
            parameter.data.copy_(original)


def _weights(
    model: nn.Module, anatomy: Anatomy, kind: UnitKind, unit: tuple[int, ...], saved: dict[Tensor, Tensor]
) -> list[Tensor]:
    attention = model.get_submodule(anatomy.attention_output(unit[0]))
    mlp = model.get_submodule(anatomy.mlp_output(unit[0]))
    modules = {UnitKind.NEURON: [mlp], UnitKind.HEAD: [attention], UnitKind.LAYER: [attention, mlp]}[kind]
    parameters = [p for module in modules for p in module.parameters(recurse=False)]
    if kind is not UnitKind.LAYER:
        parameters = [module.get_parameter("weight") for module in modules]
    for parameter in parameters:
        saved.setdefault(parameter, parameter.detach().clone())
    if kind is UnitKind.NEURON:
        return [p.data[:, unit[1]] for p in parameters]
    if kind is UnitKind.HEAD:
        start = unit[1] * anatomy.head_width
        return [p.data[:, start : start + anatomy.head_width] for p in parameters]
    return [p.data for p in parameters]


def verify(model: nn.Module, anatomy: Anatomy) -> None:
    """Gating a sample of units must equal zeroing the matching weights, and must change something.

    Raises UnsupportedModel with the first check that failed.
    """
    _check_modules(model, anatomy)
    inputs = _probe_inputs(model, anatomy)
    with torch.no_grad():
        intact = _logits(model, inputs)
        for deactivation in _sample(anatomy):
            with switched_off(model, anatomy, deactivation):
                off = _logits(model, inputs)
            with zeroed_weights(model, anatomy, deactivation):
                reference = _logits(model, inputs)
            error = float((off - reference).abs().max())
            scale = max(1.0, float(reference.abs().max()))
            if not error <= TOLERANCE * scale:
                raise UnsupportedModel(
                    f"Switching off {deactivation.describe()} is not the same as zeroing its weights "
                    f"(outputs differ by {error:.3g}); this model's anatomy is not what its type promises."
                )
            if len(deactivation) > 1 and torch.equal(off, intact):
                raise UnsupportedModel(
                    f"Switching off {deactivation.describe()} changes nothing; wrong modules are gated."
                )
        _check_layer_is_all(model, anatomy, inputs)


def _check_modules(model: nn.Module, anatomy: Anatomy) -> None:
    shapes = anatomy.shapes
    for layer in range(shapes.layers):
        wanted = {
            anatomy.attention_output(layer): shapes.heads * anatomy.head_width,
            anatomy.mlp_output(layer): shapes.neurons,
        }
        for path, width in wanted.items():
            try:
                module = model.get_submodule(path)
            except AttributeError as error:
                raise UnsupportedModel(f"This model has no module {path}.") from error
            if not isinstance(module, nn.Linear) or module.in_features != width:
                raise UnsupportedModel(f"{path} should be a linear map with {width} inputs, but is {module}.")


def _sample(anatomy: Anatomy) -> list[Deactivation]:
    """First and last unit of each kind, then several together across kinds."""
    last = anatomy.shapes.layers - 1
    heads, neurons = anatomy.shapes.heads, anatomy.shapes.neurons
    singles = [
        Deactivation.of({kind: [unit]})
        for kind, unit in (
            (UnitKind.NEURON, (0, 0)),
            (UnitKind.NEURON, (last, neurons - 1)),
            (UnitKind.HEAD, (0, 0)),
            (UnitKind.HEAD, (last, heads - 1)),
            (UnitKind.LAYER, (last,)),
        )
    ]
    together = [
        Deactivation.of({UnitKind.NEURON: [(last, j) for j in range(neurons)]}),
        Deactivation.of({UnitKind.HEAD: [(last, h) for h in range(heads)]}),
        Deactivation.of({UnitKind.LAYER: [(0,)], UnitKind.HEAD: [(last, 0)], UnitKind.NEURON: [(last, 0)]}),
    ]
    return [*singles, *together]


def _check_layer_is_all(model: nn.Module, anatomy: Anatomy, inputs: dict[str, Tensor]) -> None:
    """With layer l off, its block must hand on the residual stream as it came."""
    for layer in range(anatomy.shapes.layers):
        block = model.get_submodule(anatomy.block(layer))
        seen: list[tuple[Tensor, Tensor]] = []

        def record(
            _: nn.Module, args: tuple[Tensor, ...], output: Tensor, seen: list[tuple[Tensor, Tensor]] = seen
        ) -> None:
            seen.append((args[0], output))

        handle = block.register_forward_hook(record)
        try:
            with switched_off(model, anatomy, Deactivation.of({UnitKind.LAYER: [(layer,)]})):
                _logits(model, inputs)
        finally:
            handle.remove()
        if not seen or not torch.equal(*seen[0]):
            raise UnsupportedModel(
                f"Layer {layer} adds something to the residual stream besides attention and MLP."
            )


def _probe_inputs(model: nn.Module, anatomy: Anatomy) -> dict[str, Tensor]:
    config: Any = model.config
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    if anatomy.modality == "image":
        size = config.image_size
        height, width = size if isinstance(size, (list, tuple)) else (size, size)
        pixels = torch.randn((1, config.num_channels, height, width), generator=generator)
        return {"pixel_values": pixels.to(device)}
    return {"input_ids": torch.randint(0, config.vocab_size, (1, 8), generator=generator).to(device)}


def _logits(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    logits: Tensor = model(**inputs).logits
    return logits
