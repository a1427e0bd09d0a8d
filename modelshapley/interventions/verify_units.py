"""Verification that gates are what they say: half a gate adds half, and a head's channels are that head's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from modelshapley.architectures.anatomy import Anatomy, Attention, Layer, Rows
from modelshapley.errors import UnsupportedModel
from modelshapley.interventions.gates import hook
from modelshapley.units import UnitKind

TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}  # of the largest number that a part adds
COARSE = 2e-2  # in half precision
Inputs = Mapping[str, Tensor]


def with_norms(model: nn.Module, anatomy: Anatomy, inputs: Inputs) -> Anatomy:
    """Return the anatomy with the norms that this model applies to what a part adds, and to the stream after adding.

    A norm behind a part (OLMo 2, GLM 4, EXAONE 4) undoes a factor in front of it, so that the part adds what comes out
    of the norm. A norm of the stream itself (XLM-R, ELECTRA, DeBERTa, OPT-350m) is not part of what is added. Both are
    found by comparing tensors in one pass; a family that names its norms is left as it is.
    """
    traces = [_Trace(model, layer) for layer in anatomy.layers]
    with ExitStack() as stack:
        for trace in traces:
            stack.enter_context(trace)
        model(**inputs)
    return replace(anatomy, layers=tuple(trace.with_norms() for trace in traces))


class _Trace:
    """One layer during a pass: its stream, what its parts add, and every norm's input and output by its path."""

    def __init__(self, model: nn.Module, layer: Layer) -> None:
        self._model, self._layer = model, layer
        self._parts = [*layer.attentions, layer.mlp]
        self._norms: dict[str, tuple[Tensor, Tensor]] = {}
        self._outputs: dict[str, Tensor] = {}
        self._stream: list[Tensor] = []
        self._hooks = ExitStack()

    def __enter__(self) -> None:
        def record_part(path: str, _: nn.Module, __: Any, output: Any) -> None:
            self._outputs[path] = output[0] if isinstance(output, tuple) else output

        def record_norm(path: str, _: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if args and isinstance(args[0], Tensor) and isinstance(output, Tensor):
                self._norms[path] = args[0], output

        def record_block(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            self._stream = [_first_tensor(args, kwargs), output[0] if isinstance(output, tuple) else output]

        block = self._model.get_submodule(self._layer.block)
        handles = [block.register_forward_hook(record_block, with_kwargs=True)]
        for part in self._parts:
            module = self._model.get_submodule(part.added)
            handles.append(module.register_forward_hook(partial(record_part, part.added)))
        for name, module in block.named_modules():
            if "norm" in type(module).__name__.lower():
                path = f"{self._layer.block}.{name}"
                handles.append(module.register_forward_hook(partial(record_norm, path)))
        for handle in handles:
            self._hooks.callback(handle.remove)

    def __exit__(self, *_: object) -> None:
        self._hooks.close()

    def with_norms(self) -> Layer:
        """Return the layer with the norms that were found."""
        layer = self._layer
        attentions = tuple(replace(one, added=self._norm_behind(one.added)) for one in layer.attentions)
        mlp = replace(layer.mlp, added=self._norm_behind(layer.mlp.added))
        return replace(layer, attentions=attentions, mlp=mlp, norms=layer.norms or self._norms_of_the_stream())

    def _norm_behind(self, path: str) -> str:
        """Return the norm that takes what this part gives, or the part itself."""
        output = self._outputs[path]
        return next((name for name, (given, _) in self._norms.items() if _same(given, output)), path)

    def _norms_of_the_stream(self) -> tuple[str, ...]:
        """Return the norms that the stream passes after each part, if it leaves the layer through the last of them."""
        device = self._outputs[self._parts[0].added].device  # the stream may come from another, and go to it
        stream, final = (one.to(device) for one in self._stream)
        chosen: list[str] = []
        for part in self._parts:
            added = self._outputs[part.added]
            if added.numel() != stream.numel():
                return ()
            after = stream + added.reshape(stream.shape)  # OPT flattens texts and positions in front of its MLP
            name = next((n for n, (given, _) in self._norms.items() if _close(given, after)), None)
            if name is None:
                return ()
            chosen.append(name)
            stream = self._norms[name][1]
        return tuple(chosen) if _close(final, stream) else ()


def _first_tensor(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    stream: Tensor = args[0] if args else kwargs["hidden_states"]
    return stream


def _same(given: Tensor, output: Tensor) -> bool:
    return given.data_ptr() == output.data_ptr() and given.shape == output.shape


def _close(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one.float(), other.float(), atol=1e-5, rtol=1e-3)


def check_halves(model: nn.Module, anatomy: Anatomy, inputs: Inputs) -> None:
    """Check that with a factor of one half each part of a layer adds half. Raises UnsupportedModel."""
    for number, layer in _ends(anatomy):
        for part in range(len(layer.attentions) + 1):
            whole, half = (_added(model, anatomy, number, part, factor, inputs) for factor in (1.0, 0.5))
            size, stream = float(whole.added.abs().max()), float(whole.stream.abs().max())
            # What is added is known only as exactly as the stream that it was added to is stored.
            rounding = 4 * torch.finfo(whole.dtype).eps * stream
            tolerance = TOLERANCE.get(whole.dtype, COARSE) * max(size, 1e-6) + rounding
            if not float((half.added - whole.added / 2).abs().max()) <= tolerance:
                path = anatomy.sites(UnitKind.LAYER, number)[part].path
                raise UnsupportedModel(
                    f"A factor of one half on what {path} adds does not halve it in layer {number}: something "
                    "behind it undoes the factor, so scores of layers would mean nothing."
                )


@dataclass(frozen=True)
class _Sum:
    """added: to the stream. stream: its magnitude, before or after. dtype: in which the model adds."""

    added: Tensor
    stream: Tensor
    dtype: torch.dtype


def _added(model: nn.Module, anatomy: Anatomy, number: int, part: int, factor: float, inputs: Inputs) -> _Sum:
    """What one part of a layer adds to the stream under a factor, while the layer's other parts add nothing."""
    layer, sites = anatomy.layers[number], anatomy.sites(UnitKind.LAYER, number)
    seen: list[tuple[Tensor, Tensor]] = []
    norm_inputs: list[Tensor] = []

    def record(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        seen.append((_first_tensor(args, kwargs), hidden))

    def scaled(scale: float, z: Tensor, _: Tensor | None) -> Tensor:
        return z * scale

    with ExitStack() as stack:
        for place, site in enumerate(sites):
            change = partial(scaled, factor if place == part else 0.0)
            stack.callback(hook(model, site, change).remove)
        block = model.get_submodule(layer.block)
        stack.callback(block.register_forward_hook(record, with_kwargs=True).remove)
        if layer.norms:
            norm = model.get_submodule(layer.norms[part])
            stack.callback(norm.register_forward_pre_hook(lambda _, args: norm_inputs.append(args[0])).remove)
        model(**inputs)
    stream, output = seen[0]
    stream = stream.to(next(block.parameters()).device)  # of blocks on several devices, it may come from another
    for name in layer.norms[:part]:
        stream = model.get_submodule(name)(stream)
    after, before = (norm_inputs[0] if layer.norms else output).double().cpu(), stream.double().cpu()
    after = after.reshape(before.shape)
    return _Sum(after - before, torch.maximum(before.abs(), after.abs()), output.dtype)


def check_heads(model: nn.Module, anatomy: Anatomy, inputs: Inputs) -> None:
    """Check that the values of a head reach its own channels of the attention output's input, and no others.

    Values are changed for one group of heads at a time, the first and the last. Attention whose values are not found by
    name is not checked. Raises UnsupportedModel.
    """
    for number, layer in _ends(anatomy):
        for attention in layer.attentions[:1]:
            values = _values_of(model, layer, attention)
            if values is None or values.count % attention.width:
                continue
            groups = values.count // attention.width
            if groups < 1 or attention.heads % groups:
                continue
            for group in {0, groups - 1}:
                _check_group(model, attention, values, group, groups, number, inputs)


def _check_group(
    model: nn.Module, attention: Attention, values: Rows, group: int, groups: int, number: int, inputs: Inputs
) -> None:
    channels = [channel for start, stop in values.spans for channel in range(start, stop)]
    own = channels[group * attention.width : (group + 1) * attention.width]

    def change(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        changed = output.clone()
        changed[..., own] += 1 + changed[..., own].abs()
        return changed

    intact, changed = _inputs_of(model, attention.output, inputs), None
    handle = model.get_submodule(values.path).register_forward_hook(change)
    try:
        changed = _inputs_of(model, attention.output, inputs)
    finally:
        handle.remove()
    touched = (changed != intact).flatten(0, -2).any(0)
    shared = attention.heads // groups * attention.width
    expected = torch.zeros_like(touched)
    expected[group * shared : (group + 1) * shared] = True
    if not torch.equal(touched, expected):
        heads = f"{group * attention.heads // groups} to {(group + 1) * attention.heads // groups - 1}"
        raise UnsupportedModel(
            f"The values of heads {heads} of layer {number} do not reach the channels that stand for these heads: this "
            "attention mixes or reorders its heads, and their scores would be those of others."
        )


def _inputs_of(model: nn.Module, path: str, inputs: Inputs) -> Tensor:
    """The input of a module in a pass of the model."""
    seen: list[Tensor] = []
    handle = model.get_submodule(path).register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().clone()))
    try:
        model(**inputs)
    finally:
        handle.remove()
    return seen[0]


def _values_of(model: nn.Module, layer: Layer, attention: Attention) -> Rows | None:
    """The rows that compute the values: as the family names them, else the linear map v_proj beside the output."""
    for rows in layer.rows:
        if rows.name == "v":
            return rows
    parent = attention.output.rpartition(".")[0]
    for name in ("v_proj", "value", "v_lin", "v"):
        try:
            module = model.get_submodule(f"{parent}.{name}")
        except AttributeError:
            continue
        if isinstance(module, nn.Linear):
            return Rows("v", f"{parent}.{name}", ((0, module.out_features),))
    return None


def _ends(anatomy: Anatomy) -> Iterator[tuple[int, Layer]]:
    """The first and the last layer of the model, and the first of each stack."""
    last = len(anatomy.layers) - 1
    for number, layer in enumerate(anatomy.layers):
        if layer.first or number in (0, last):
            yield number, layer
