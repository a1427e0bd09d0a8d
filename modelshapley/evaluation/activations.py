"""What a model's activations are like on a task: mean and standard deviation of every channel of every unit."""

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
from modelshapley.models.loading import LoadedModel
from modelshapley.models.memory import AdaptiveBatcher
from modelshapley.tasks.base import Split, Task
from modelshapley.units import UnitKind

EXAMPLES = 128
Place = tuple[str, str]


@dataclass(frozen=True)
class Usual:
    """Of each channel at one place in the model, (channels,), float64 on the CPU, in units of activation.

    deviation: the root of the mean squared distance from the mean.
    """

    mean: Tensor
    deviation: Tensor


@dataclass(frozen=True)
class Activations:
    """usual: by (path, side) of the places where units have their activations. examples: how many were seen."""

    usual: Mapping[Place, Usual]
    examples: int

    def at(self, site: Site) -> Usual:
        return self.usual[site.path, site.side]


def activations_of(
    loaded: LoadedModel,
    task: Task[Any],
    seed: int = 0,
    examples: int = EXAMPLES,
    pause: Callable[[], None] = lambda: None,
) -> Activations:
    """The activations of the intact model on the task's first probe examples, over all their positions.

    Of every kind of unit but experts. One example at a time, so that nothing is padded and nothing hangs on how
    examples are put together; positions that a model adds by itself (Swin, to fill a window) count. The passes are
    those of the task's losses: a question with choices is seen with the right one. pause: called between two
    passes, and may raise to stop. Raises OutOfMemory.
    """
    chosen = task.select(loaded, Split.PROBE, seed, examples)
    places = {(site.path, site.side): site for site in _sites(loaded)}
    seen = {place: _Seen() for place in places}
    batcher = AdaptiveBatcher(loaded, 1, backward=False)

    def look(example: Any, _: int) -> None:
        with torch.inference_mode(), ExitStack() as stack:
            for place, site in places.items():
                stack.callback(hook(loaded.model, site, _showing(seen[place])).remove)
            task.losses(loaded, [example])

    for example in chosen:
        batcher.run(partial(look, example), 1)
        pause()
    return Activations({place: one.usual() for place, one in seen.items()}, len(chosen))


def _sites(loaded: LoadedModel) -> list[Site]:
    kinds = [kind for kind in UnitKind if kind is not UnitKind.EXPERT]
    layers = range(loaded.anatomy.shapes.layers)
    return [site for kind in kinds for layer in layers for site in loaded.anatomy.sites(kind, layer)]


def _showing(seen: _Seen) -> Change:
    def change(z: Tensor, _: Tensor | None) -> Tensor:
        seen.add(z)
        return z

    return change


class _Seen:
    """Mean and squared distances from it, merged part by part (Chan, Golub and LeVeque 1979): sums of squares
    would lose a small deviation beside a large mean.
    """

    def __init__(self) -> None:
        self._count = 0
        self._mean = self._squares = torch.zeros((), dtype=torch.float64)

    def add(self, z: Tensor) -> None:
        """z: (..., channels)."""
        rows = z.reshape(-1, z.shape[-1]).double()
        mean, count = rows.mean(0), self._count + len(rows)
        away = mean - self._mean.to(mean)
        squares = (rows - mean).square().sum(0) + away.square() * (self._count * len(rows) / count)
        self._mean = self._mean.to(mean) + away * (len(rows) / count)
        self._squares = self._squares.to(mean) + squares
        self._count = count

    def usual(self) -> Usual:
        return Usual(self._mean.cpu(), (self._squares / self._count).sqrt().cpu())
