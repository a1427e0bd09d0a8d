"""Activations of units on single examples, as features of a linear classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from modelshapley.architectures.anatomy import Site
from modelshapley.errors import ModelShapleyError
from modelshapley.interventions.gates import hook
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.memory import AdaptiveBatcher
from modelshapley.tasks.base import Task
from modelshapley.units import Deactivation, UnitKind

Array = npt.NDArray[np.float32]
CLASSIFICATION = ("image-classification", "text-classification")
CAUSAL = "AutoModelForCausalLM"


@dataclass(frozen=True)
class Features:
    """Activations at the sites of some kinds of unit: {(kind, layer, first unit): (examples, units, channels)}."""

    by_site: dict[tuple[UnitKind, int, int], Array]

    def of(self, units: Deactivation) -> npt.NDArray[np.float64]:
        """Return the channels of these units side by side, (examples, channels)."""
        columns = [
            array[:, (unit[1] if len(unit) > 1 else 0) - first]
            for kind, chosen in units.units
            for unit in chosen
            for (of_kind, layer, first), array in self.by_site.items()
            if of_kind is kind and layer == unit[0] and 0 <= (unit[1] if len(unit) > 1 else 0) - first < array.shape[1]
        ]
        return np.concatenate(columns, axis=1).astype(np.float64)


def features_of(
    loaded: LoadedModel,
    task: Task[Any],
    kinds: Sequence[UnitKind],
    examples: Sequence[Any],
    on_example: Callable[[], None] = lambda: None,
) -> Features:
    """Record the activations of the intact model, before it answers.

    For classification: the mean over all positions of an example. For multiple choice: at the last token of the prompt,
    which is run without any choice. Examples run one at a time, so that nothing is padded. Raises ModelShapleyError for
    experts and for tasks of other kinds, OutOfMemory.
    """
    if UnitKind.EXPERT in kinds:
        raise ModelShapleyError("Experts have no activations of their own to probe; choose neurons, heads or layers.")
    run, read = _passes(task, loaded)
    sites = {
        (kind, layer, number): site
        for kind in kinds
        for layer in range(loaded.anatomy.shapes.layers)
        for number, site in enumerate(loaded.anatomy.sites(kind, layer))
    }
    rows: dict[tuple[UnitKind, int, int], list[Array]] = {key: [] for key in sites}
    batcher = AdaptiveBatcher(loaded, 1, backward=False)

    def record(example: Any, _: int) -> None:
        with torch.inference_mode(), ExitStack() as stack:
            for key, site in sites.items():
                stack.callback(hook(loaded.model, site, partial(_keep, site, rows[key], read)).remove)
            run(example)

    for example in examples:
        batcher.run(partial(record, example), 1)
        on_example()
    return Features(_joined(sites, rows))


Run = Callable[[Any], Any]
Read = Callable[[Tensor], Tensor]


def _passes(task: Task[Any], loaded: LoadedModel) -> tuple[Run, Read]:
    """Return how to run an example, and how to read positions, (positions, channels) -> (channels,)."""
    if task.info.kind in CLASSIFICATION:
        return (lambda example: task.losses(loaded, [example])), (lambda z: z.mean(0))
    continuations = getattr(task, "continuations", None)
    if task.info.kind != "multiple-choice" or continuations is None or loaded.anatomy.auto_class != CAUSAL:
        raise ModelShapleyError(
            f"A probe needs a class that is known before the model answers; {task.info.id!r} is of the kind "
            f"{task.info.kind!r}. Choose a classification task, or multiple choice for a causal language model."
        )

    def run(example: Any) -> None:
        first = continuations(loaded, example)[0]
        loaded.model(input_ids=torch.tensor([list(first.tokens[: first.start])], device=loaded.device))

    return run, lambda z: z[-1]


def _keep(site: Site, rows: list[Array], read: Read, z: Tensor, _: Tensor | None) -> Tensor:
    """Store a copy of an activation as (units, channels), and pass it on as it is."""
    vector = read(z.reshape(-1, z.shape[-1]).float())
    if site.spans:
        vector = torch.cat([vector[begin:end] for begin, end in site.spans])
    rows.append(vector.reshape(site.count, -1).cpu().numpy().copy())
    return z


def _joined(
    sites: dict[tuple[UnitKind, int, int], Site], rows: dict[tuple[UnitKind, int, int], list[Array]]
) -> dict[tuple[UnitKind, int, int], Array]:
    """Stack the examples. Sites of the same units (attention and MLP of a layer) stand side by side."""
    joined: dict[tuple[UnitKind, int, int], Array] = {}
    for (kind, layer, number), site in sites.items():
        array, key = np.stack(rows[kind, layer, number]), (kind, layer, site.first)
        joined[key] = np.concatenate([joined[key], array], axis=2) if key in joined else array
    return joined
