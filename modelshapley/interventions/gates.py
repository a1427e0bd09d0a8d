"""Switch off, scale, hold or offset units in a live model, and always restore it.

Gates sit on activations, never on weights: a model inside :func:`gated` has its weights untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from modelshapley.architectures.anatomy import Anatomy, Site
from modelshapley.errors import BadTreatment
from modelshapley.units import Deactivation, UnitKind

if TYPE_CHECKING:
    from modelshapley.evaluation.activations import Activations

Factors = Mapping[UnitKind, npt.NDArray[np.floating]]
Change = Callable[[Tensor, Tensor | None], Tensor]


_PER_EXAMPLE: ContextVar[bool] = ContextVar("examples have gates of their own", default=False)


def examples_differ() -> bool:
    """Return whether each example of a pass now has its own gates (:func:`gated_each`), so that all must stay in it."""
    return _PER_EXAMPLE.get()


@contextmanager
def gated(model: nn.Module, anatomy: Anatomy, factors: Factors) -> Iterator[None]:
    """Multiply every unit's activation by its factor while the block runs.

    factors: {kind: array of ``anatomy.shapes.of(kind)``}; 1 leaves a unit as it is, 0 switches it off. Places
    without a unit may hold anything. Layers whose factors are all 1 are not touched. The hooks are gone
    afterwards, also after an exception.
    """
    with ExitStack() as stack:
        for kind, array in factors.items():
            for site, site_gates in _by_site(anatomy, kind, array):
                if bool((site_gates != 1).any()):
                    stack.callback(hook(model, site, _scale(site, site_gates)).remove)
        yield


@contextmanager
def treated(
    model: nn.Module, anatomy: Anatomy, deactivation: Deactivation, activations: Activations | None = None
) -> Iterator[None]:
    """Treat units as the deactivation says (off by default) while the block runs.

    activations: statistics of the task's probe set, for means and deviations; 'scale' needs none. Units that contain
    one another (a layer, and a row of its output projection) are treated one after the other.
    Scaling by 1 and offsetting by 0 touch nothing. The hooks are gone afterwards, also after an exception.
    Raises UnitOutOfRange, and BadTreatment for a treatment that these units do not allow or that lacks the activations.
    """
    with changed(model, changes_of(anatomy, deactivation, activations)):
        yield


def changes_of(
    anatomy: Anatomy, deactivation: Deactivation, activations: Activations | None = None
) -> list[tuple[Site, Change]]:
    """Return what a deactivation changes, by site, for :func:`changed`. Arguments and errors as in :func:`treated`."""
    deactivation.check(anatomy.shapes)
    how, value = deactivation.treatment.how, deactivation.treatment.value
    sites = list(sites_of(anatomy, deactivation))
    if deactivation.treatment.needs_pairs:
        raise BadTreatment(
            "Units can be patched from corrupted prompts only where examples of a task of counterfactual pairs are "
            "measured, not here; switch them off, or hold them at their mean."
        )
    if how == "scale":
        factor = torch.tensor(value, dtype=torch.float64)
        return [(site, _scale(site, torch.where(chosen, factor, 1.0))) for site, chosen in sites if value != 1]
    if activations is None:
        raise BadTreatment(
            f"Treating units by {how!r} needs the activations of the task's probe set, which are not given; "
            "measure them first, with modelshapley.evaluation.activations.activations_of."
        )
    if how == "mean":
        return [(site, _hold(site, chosen, activations.at_site(site).mean)) for site, chosen in sites]
    return [
        (site, _add(site, chosen, activations.at_site(site).deviation * value)) for site, chosen in sites if value != 0
    ]


def sites_of(anatomy: Anatomy, deactivation: Deactivation) -> Iterator[tuple[Site, Tensor]]:
    """Yield the sites of the units, each with a mask of those of its units that are meant: (units of the site,)."""
    for kind, _ in deactivation.units:
        for site, chosen in _by_site(anatomy, kind, deactivation.mask(kind, anatomy.shapes)):
            if chosen.any():
                yield site, chosen


@contextmanager
def changed(model: nn.Module, changes: Iterable[tuple[Site, Change]]) -> Iterator[None]:
    """Change activations while the block runs. The hooks are gone afterwards, also after an exception."""
    with ExitStack() as stack:
        for site, change in changes:
            stack.callback(hook(model, site, change).remove)
        yield


@contextmanager
def gated_each(model: nn.Module, anatomy: Anatomy, kind: UnitKind, gates: Tensor) -> Iterator[None]:
    """Multiply activations by separate gates for each example of the forward pass: (examples, layers, units a
    layer).
    """
    with ExitStack() as stack:
        stack.callback(_PER_EXAMPLE.reset, _PER_EXAMPLE.set(True))
        for layer in range(anatomy.shapes.layers):
            for site in anatomy.sites(kind, layer):
                site_gates = gates[:, layer, site.first : site.first + site.count]
                if bool((site_gates != 1).any()):
                    stack.callback(hook(model, site, _scale_each(site, site_gates)).remove)
        yield


def hook(model: nn.Module, site: Site, change: Change) -> Any:
    """Pass the activation at `site` through `change`, and return a handle that removes the hook.

    change: (activation, index) -> activation; index is None, except for experts: there it names the expert of each
    routing weight (both (tokens, experts a token)).
    """
    module = model.get_submodule(site.path)
    if site.side == "output":
        return module.register_forward_hook(lambda _, __, output: _change_first(output, lambda z: change(z, None)))
    if site.side == "input":
        return module.register_forward_pre_hook(lambda _, args: (change(args[0], None), *args[1:]))

    def routing(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        states, index, weights, *others = args
        return (states, index, change(weights, index), *others)

    return module.register_forward_pre_hook(routing)


def _by_site(anatomy: Anatomy, kind: UnitKind, array: npt.NDArray[np.generic]) -> Iterator[tuple[Site, Tensor]]:
    """Yield the sites of a kind, each with its part of an array of ``anatomy.shapes.of(kind)``: (units of the
    site,).
    """
    if array.shape != anatomy.shapes.of(kind):
        raise ValueError(f"an array of {kind.value}s has shape {array.shape}, not {anatomy.shapes.of(kind)}")
    table = array.reshape(anatomy.shapes.table(kind))
    for layer in range(anatomy.shapes.layers):
        for site in anatomy.sites(kind, layer):
            yield site, torch.as_tensor(table[layer, site.first : site.first + site.count])


def channels(site: Site, by_unit: Tensor, width: int) -> Tensor:
    """Spread factors (..., units) over the `width` channels of the site's activation; other channels get 1."""
    if not site.spans:
        return by_unit.repeat_interleave(site.width or width, -1)
    spread = by_unit.new_ones((*by_unit.shape[:-1], width))
    start = 0
    for begin, end in site.spans:
        spread[..., begin:end] = by_unit[..., start : start + end - begin]
        start += end - begin
    return spread


def factors_of(site: Site, gates: Tensor, z: Tensor, index: Tensor | None) -> Tensor:
    """Shape gates (examples, units of the site) to multiply z by them: (examples or windows, ..., channels).

    index: expert of each routing weight, where z holds these.
    """
    site_gates = gates.to(z)
    if index is not None:
        return site_gates.gather(1, index.reshape(len(site_gates), -1)).view_as(z)
    spread = channels(site, site_gates, z.shape[-1]).repeat_interleave(len(z) // len(site_gates), 0)
    return spread.view(len(z), *(1,) * (z.dim() - 2), z.shape[-1])


def _change_first(output: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Change the activation in a module's output: some modules return a tuple that begins with it."""
    return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)


def _scale(site: Site, factor: Tensor) -> Change:
    def change(z: Tensor, index: Tensor | None) -> Tensor:
        site_gates = factor.to(z)
        return z * (channels(site, site_gates, z.shape[-1]) if index is None else site_gates[index])

    return change


def _scale_each(site: Site, gates: Tensor) -> Change:
    return lambda z, index: z * factors_of(site, gates, z, index)


def _hold(site: Site, chosen: Tensor, mean: Tensor) -> Change:
    """Replace the channels of the chosen units by their mean, (channels,)."""

    def change(z: Tensor, _: Tensor | None) -> Tensor:
        return torch.where(channels(site, ~chosen.to(z.device), z.shape[-1]), z, mean.to(z))

    return change


def _add(site: Site, chosen: Tensor, offset: Tensor) -> Change:
    """Add an offset, (channels,), to the channels of the chosen units."""

    def change(z: Tensor, _: Tensor | None) -> Tensor:
        return torch.where(channels(site, ~chosen.to(z.device), z.shape[-1]), z, z + offset.to(z))

    return change
