"""Statistics of a model's activations on a task: mean and standard deviation of every channel of every unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from modelshapley.architectures.anatomy import Site
from modelshapley.interventions.gates import Change, hook
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.memory import AdaptiveBatcher
from modelshapley.tasks.base import Split, Task
from modelshapley.units import UnitKind

MAX_EXAMPLES = 128
SiteKey = tuple[str, str]


@dataclass(frozen=True)
class ChannelStatistics:
    """Statistics of each channel at one site, (channels,), float64 on the CPU, in units of activation.

    deviation: root of the mean squared distance from the mean.
    """

    mean: Tensor
    deviation: Tensor


@dataclass(frozen=True)
class Activations:
    """Activation statistics by (path, side) of the sites of units. examples: number of examples measured."""

    statistics: Mapping[SiteKey, ChannelStatistics]
    examples: int

    def at_site(self, site: Site) -> ChannelStatistics:
        """Return the statistics of the channels at a site."""
        return self.statistics[site.path, site.side]


def activations_of(
    loaded: LoadedModel,
    task: Task[Any],
    seed: int = 0,
    examples: int = MAX_EXAMPLES,
    pause: Callable[[], None] = lambda: None,
) -> Activations:
    """Measure the activations of the intact model on the task's first probe examples, over all their positions.

    This covers every kind of unit but experts. Examples run one at a time, so that nothing is padded and nothing
    depends on how examples are batched; positions that a model adds by itself (Swin, to fill a window) count. The
    passes are those of the task's losses: a question with choices is run with the right one. pause: called between
    two passes, and may raise to stop. Raises OutOfMemory.
    """
    chosen = task.select(loaded, Split.PROBE, seed, examples)
    sites = {(site.path, site.side): site for site in _sites(loaded)}
    moments = {key: _RunningMoments() for key in sites}
    batcher = AdaptiveBatcher(loaded, 1, backward=False)

    def measure(example: Any, _: int) -> None:
        with torch.inference_mode(), ExitStack() as stack:
            for key, site in sites.items():
                stack.callback(hook(loaded.model, site, _record_into(moments[key])).remove)
            task.losses(loaded, [example])

    for example in chosen:
        batcher.run(partial(measure, example), 1)
        pause()
    return Activations({key: channel_moments.statistics() for key, channel_moments in moments.items()}, len(chosen))


def _sites(loaded: LoadedModel) -> list[Site]:
    kinds = [kind for kind in UnitKind if kind is not UnitKind.EXPERT]
    layers = range(loaded.anatomy.shapes.layers)
    return [site for kind in kinds for layer in layers for site in loaded.anatomy.sites(kind, layer)]


def _record_into(moments: _RunningMoments) -> Change:
    def change(z: Tensor, _: Tensor | None) -> Tensor:
        moments.add(z)
        return z

    return change


class _RunningMoments:
    """Mean and summed squared distances from it, merged part by part (Chan, Golub and LeVeque 1979).

    Plain sums of squares would lose a small deviation beside a large mean.
    """

    def __init__(self) -> None:
        self._count = 0
        self._mean = self._squares = torch.zeros((), dtype=torch.float64)

    def add(self, z: Tensor) -> None:
        """Add the positions of an activation z, (..., channels)."""
        rows = z.reshape(-1, z.shape[-1]).double()
        mean, count = rows.mean(0), self._count + len(rows)
        shift = mean - self._mean.to(mean)
        squares = (rows - mean).square().sum(0) + shift.square() * (self._count * len(rows) / count)
        self._mean = self._mean.to(mean) + shift * (len(rows) / count)
        self._squares = self._squares.to(mean) + squares
        self._count = count

    def statistics(self) -> ChannelStatistics:
        """Return the statistics of everything added."""
        return ChannelStatistics(self._mean.cpu(), (self._squares / self._count).sqrt().cpu())
