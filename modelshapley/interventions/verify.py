"""Verification of a model's anatomy, on every load, before a number is shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from modelshapley.architectures.anatomy import Anatomy, Layer, Mlp
from modelshapley.errors import UnsupportedModel
from modelshapley.interventions.gates import treated
from modelshapley.interventions.verify_units import check_halves, check_heads, with_norms
from modelshapley.interventions.weights import are_zero, oriented, zeroed_weights
from modelshapley.units import Deactivation, Unit, UnitKind

TOLERANCE = 1e-4  # relative to the largest output
MAX_NOISE_EPSILONS = 4  # a model may differ from itself where its kernels add in changing order


def verify(model: nn.Module, anatomy: Anatomy) -> Anatomy:
    """Check that gating a sample of units equals zeroing the matching weights, and changes something.

    Return the anatomy with the norms that stand behind parts of layers. Half a gate must add half, and the channels of
    a head must be that head's.

    They must agree to 1e-4 of the largest output in every dtype: both ways put the same exact zeros into the same
    sums, so they round alike. Where a model's kernels add in changing order, they may differ as much as the model
    differs from itself, up to four times the dtype's precision. Raises UnsupportedModel with the first check that
    failed.
    """
    for layer in anatomy.layers:
        _check_modules(model, layer)
    inputs = probe_inputs(model, anatomy)
    with torch.no_grad():
        anatomy = with_norms(model, anatomy, inputs)
        intact = _logits(model, inputs)
        noise = MAX_NOISE_EPSILONS * float((_logits(model, inputs) - intact).abs().max())
        coarsest = MAX_NOISE_EPSILONS * torch.finfo(intact.dtype).eps
        for deactivation in _sample(anatomy):
            with treated(model, anatomy, deactivation):
                off = _logits(model, inputs)
            with zeroed_weights(model, anatomy, deactivation):
                reference = _logits(model, inputs)
            error = float((off - reference).abs().max())
            scale = max(1.0, float(reference.abs().max()))
            if not error <= max(TOLERANCE * scale, min(noise, coarsest * scale)):
                raise UnsupportedModel(
                    f"Switching off {deactivation.describe()} is not the same as zeroing its weights "
                    f"(outputs differ by {error:.3g}); this model's anatomy is not what its type promises."
                )
            if (
                len(deactivation) > 2
                and torch.equal(off, intact)
                and not are_zero(model, anatomy, deactivation)  # those of a pruned model may be
            ):
                raise UnsupportedModel(
                    f"Switching off {deactivation.describe()} changes nothing; wrong modules are gated."
                )
        _check_layers_are_complete(model, anatomy, inputs)
        check_halves(model, anatomy, inputs)
        check_heads(model, anatomy, inputs)
    return anatomy


def _check_modules(model: nn.Module, layer: Layer) -> None:
    for attention in layer.attentions:
        _check_linear(model, attention.output, inputs=attention.heads * attention.width)
    if isinstance(layer.mlp, Mlp):
        _check_linear(model, layer.mlp.output, inputs=layer.mlp.neurons)
    rows_of: dict[str, int] = {}
    for rows in layer.rows:
        rows_of[rows.path] = rows_of.get(rows.path, 0) + rows.count
    for path, count in rows_of.items():
        _check_linear(model, path, outputs=count)


def _check_linear(model: nn.Module, path: str, inputs: int | None = None, outputs: int | None = None) -> None:
    try:
        module = model.get_submodule(path)
    except AttributeError as error:
        raise UnsupportedModel(f"This model has no module {path}.") from error
    expected = f"{inputs} inputs" if inputs is not None else f"{outputs} outputs"
    if isinstance(module, nn.Linear | Conv1D):
        rows, columns = oriented(module).shape
        if columns == inputs or rows == outputs:
            return
    raise UnsupportedModel(f"{path} should be a linear map with {expected}, but is {module}.")


def _sample(anatomy: Anatomy) -> Iterator[Deactivation]:
    """Yield the first and last unit of each stack and kind, then all units of a layer, then several kinds together."""
    starts = [number for number, layer in enumerate(anatomy.layers) if layer.first]
    ends = [*(start - 1 for start in starts[1:]), anatomy.shapes.layers - 1]
    mixed: dict[UnitKind, list[Unit]] = {}
    for kind in anatomy.shapes.kinds:
        for start, end in zip(starts, ends, strict=True):
            units = [_units(anatomy, kind, layer) for layer in range(start, end + 1)]
            filled = [layer for layer in units if layer]
            if not filled:
                continue
            yield Deactivation.of({kind: [filled[0][0]]})
            yield Deactivation.of({kind: [filled[-1][-1]]})
            if kind is UnitKind.ROW:
                yield Deactivation.of({kind: _ends_of_maps(anatomy, end)})
            elif kind is not UnitKind.LAYER:
                yield Deactivation.of({kind: filled[-1]})
            mixed.setdefault(kind, []).append(filled[0][0] if kind is UnitKind.LAYER else filled[-1][0])
    yield Deactivation.of(mixed)


def _units(anatomy: Anatomy, kind: UnitKind, layer: int) -> list[Unit]:
    if kind is UnitKind.LAYER:
        return [(layer,)]
    return [(layer, index) for index in range(anatomy.layers[layer].count(kind))]


def _ends_of_maps(anatomy: Anatomy, layer: int) -> list[Unit]:
    sites = anatomy.sites(UnitKind.ROW, layer)
    return [(layer, index) for site in sites for index in (site.first, site.first + site.count - 1)]


def _check_layers_are_complete(model: nn.Module, anatomy: Anatomy, inputs: dict[str, Tensor]) -> None:
    """Check that with all layers off, each block returns the residual stream unchanged, up to its normalisation."""
    streams: dict[int, tuple[Tensor, Tensor]] = {}

    def record(number: int, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        streams.setdefault(number, (args[0] if args else kwargs["hidden_states"], hidden))

    with ExitStack() as stack:
        for number, layer in enumerate(anatomy.layers):
            block = model.get_submodule(layer.block)
            stack.callback(block.register_forward_hook(partial(record, number), with_kwargs=True).remove)
        every_layer = [(number,) for number in range(anatomy.shapes.layers)]
        stack.enter_context(treated(model, anatomy, Deactivation.of({UnitKind.LAYER: every_layer})))
        _logits(model, inputs)
    for number, layer in enumerate(anatomy.layers):
        if number in streams:
            expected, actual = streams[number]
            for norm in layer.norms:
                expected = model.get_submodule(norm)(expected)
            if torch.equal(expected.to(actual.device), actual):
                continue
        raise UnsupportedModel(f"Layer {number} adds something to the residual stream besides attention and MLP.")


def probe_inputs(model: nn.Module, anatomy: Anatomy, length: int = 8) -> dict[str, Tensor]:
    """Return random inputs for one example, always the same. length: number of tokens, for models of text."""
    config: Any = model.config
    weight = next(model.parameters())
    generator = torch.Generator().manual_seed(0)
    if anatomy.modality == "image":
        vision: Any = getattr(config, "vision_config", config)
        size = vision.image_size
        height, width = size if isinstance(size, (list, tuple)) else (size, size)
        pixels = torch.randn((1, vision.num_channels, height, width), generator=generator)
        return {"pixel_values": pixels.to(weight)}
    vocabulary = config.get_text_config().vocab_size
    tokens = torch.randint(0, vocabulary, (1, length), generator=generator).to(weight.device)
    if anatomy.auto_class == "AutoModelForSeq2SeqLM":
        return {"input_ids": tokens, "decoder_input_ids": tokens.flip(1)}
    return {"input_ids": tokens}


def _logits(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    logits: Tensor = model(**inputs).logits
    return logits
