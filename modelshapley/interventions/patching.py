"""Patching: units get the activations that they have in other forward passes (interchange interventions)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from modelshapley.architectures.anatomy import Anatomy, Site
from modelshapley.errors import BadTreatment
from modelshapley.interventions.gates import Change, changed, channels, sites_of
from modelshapley.units import Deactivation


@contextmanager
def patched(model: nn.Module, anatomy: Anatomy, units: Deactivation, source: Callable[[], object]) -> Iterator[None]:
    """Run `source`; while the block runs, units have the activations that they had in its forward passes.

    The passes of the block must be those of `source` on other inputs of the same shapes: activations are put in pass
    by pass and position by position, and everything else follows from them. The hooks are gone afterwards, also
    after an exception. Raises UnitOutOfRange, and BadTreatment for experts and for passes that do not match.
    """
    units.check(anatomy.shapes)
    recorders, patches = [], []
    for site, chosen in sites_of(anatomy, units):
        recording: deque[Tensor] = deque()
        recorders.append((site, _record_into(recording)))
        patches.append((site, _put_in(site, chosen, recording)))
    with changed(model, recorders):
        source()
    with changed(model, patches):
        yield


def _record_into(recording: deque[Tensor]) -> Change:
    def change(z: Tensor, _: Tensor | None) -> Tensor:
        recording.append(z.detach())
        return z

    return change


def _put_in(site: Site, chosen: Tensor, recording: deque[Tensor]) -> Change:
    def change(z: Tensor, _: Tensor | None) -> Tensor:
        other = recording.popleft() if recording else None
        if other is None or other.shape != z.shape:
            raise BadTreatment(
                "Units cannot be patched: the passes of the clean and of the corrupted prompts differ in shape."
            )
        return torch.where(channels(site, ~chosen.to(z.device), z.shape[-1]), z, other)

    return change
