"""Single examples: which ones a deactivation flips, and on which ones a unit does most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import isqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modelshapley.contracts import Status
from modelshapley.contracts.examples import ClassChange, Flip, TrialDetails, UnitExample
from modelshapley.evaluation.activations import Activations
from modelshapley.evaluation.intervals import Outcomes
from modelshapley.evaluation.trials import compare
from modelshapley.interventions.gates import hook, treated
from modelshapley.models.loading import LoadedModel
from modelshapley.models.memory import AdaptiveBatcher
from modelshapley.signals.observe import signals_of
from modelshapley.signals.readers import Channels, wide
from modelshapley.signals.taps import tap
from modelshapley.tasks.base import Split, Task
from modelshapley.units import Deactivation, Unit, UnitKind

FLIPS = 12
EXAMPLES = 64
"""Probe examples that a unit is looked at on, and of these the SHOWN strongest are told."""
SHOWN = 6


def details(
    loaded: LoadedModel,
    task: Task[Any],
    deactivation: Deactivation,
    now: Outcomes,
    intact: Outcomes,
    seed: int = 0,
    activations: Activations | None = None,
    trial: str = "",
) -> TrialDetails:
    """What is behind the accuracy on the first len(now) test examples.

    now, intact: how right each answer is under the deactivation and without. Only the examples that are shown are
    answered again. Raises BadData, OutOfMemory.
    """
    examples = task.select(loaded, Split.TEST, seed)[: len(now)]
    before = intact[: len(now)]
    change = now.astype(np.float64) - before.astype(np.float64)
    lost, gained = np.flatnonzero(change < 0), np.flatnonzero(change > 0)
    places = [*lost[: FLIPS - min(len(gained), FLIPS // 3)], *gained][:FLIPS]
    shown = [examples[place] for place in places]
    said_before = answers_in_words(loaded, task, shown, Deactivation())
    said_after = answers_in_words(loaded, task, shown, deactivation, activations)
    flips = [
        Flip(
            example=task.display(loaded, examples[place]),
            before=float(before[place]),
            after=float(now[place]),
            said_before=old,
            said_after=new,
        )
        for place, old, new in zip(places, said_before, said_after, strict=True)
    ]
    return TrialDetails(
        trial=trial,
        status=Status.DONE,
        n=len(now),
        classes=by_class([task.class_of(example) for example in examples], now, before),
        lost=len(lost),
        gained=len(gained),
        flips=flips,
    )


def by_class(labels: Sequence[str | None], now: Outcomes, intact: Outcomes) -> list[ClassChange]:
    """The accuracy of each class before and after; what lost most comes first."""
    found = []
    for label in sorted({label for label in labels if label is not None}):
        here = np.array([other == label for other in labels])
        found.append(ClassChange(label=label, **compare(now[here], intact[here]).model_dump()))
    return sorted(found, key=lambda change: change.difference)


def answers_in_words(
    loaded: LoadedModel,
    task: Task[Any],
    examples: Sequence[Any],
    deactivation: Deactivation,
    activations: Activations | None = None,
) -> list[str | None]:
    """What the model answers, in words, with some units treated; None for tasks whose answers are no words."""
    found: list[str | None] = []
    batcher = AdaptiveBatcher(loaded, max(1, min(len(examples), task.test_chunk)), backward=False)

    def say(start: int, size: int) -> list[str | None]:
        with torch.inference_mode(), treated(loaded.model, loaded.anatomy, deactivation, activations):
            return list(task.predicted_text(loaded, examples[start : start + size]))

    while len(found) < len(examples):
        _, said = batcher.run(partial(say, len(found)), len(examples) - len(found))
        found += said
    return found


def unit_examples(
    loaded: LoadedModel,
    task: Task[Any],
    kind: UnitKind,
    unit: Unit,
    seed: int = 0,
    limit: int = EXAMPLES,
    pause: Callable[[], None] = lambda: None,
) -> tuple[int, list[UnitExample]]:
    """(how many were looked at, the SHOWN on which the unit did most) of the first `limit` probe examples.

    pause: called between two passes, where nothing hooks the model. Raises UnitOutOfRange, NotFinite, OutOfMemory.
    """
    Deactivation.of({kind: [unit]}).check(loaded.anatomy.shapes)
    examples = task.select(loaded, Split.PROBE, seed, min(limit, EXAMPLES))
    batcher, gates = AdaptiveBatcher(loaded, task.probe_batch), list[Tensor]()

    def scan(start: int, size: int) -> Tensor:
        batch = examples[start : start + size]
        found = signals_of(loaded.model, loaded.anatomy, lambda: task.losses(loaded, batch), [kind], parts=("gate",))
        return found[kind].gate[:, unit[0], unit[1] if len(unit) > 1 else 0]

    done = 0
    while done < len(examples):
        count, gate = batcher.run(partial(scan, done), len(examples) - done)
        gates.append(gate.detach().cpu())
        done += count
        pause()
    helped = -torch.cat(gates)
    strongest = helped.abs().argsort(descending=True, stable=True)[:SHOWN].tolist()
    told = []
    for place in strongest:
        told.append(_one(loaded, task, examples[place], kind, unit, float(helped[place])))
        pause()
    return len(examples), told


def _one(loaded: LoadedModel, task: Task[Any], example: Any, kind: UnitKind, unit: Unit, helped: float) -> UnitExample:
    shown = task.display(loaded, example)
    places = places_of(loaded, task, example, kind, unit)
    if shown.tokens and len(places) not in (len(shown.tokens), len(shown.tokens) - 1):
        places = []  # of a model of two sides, say, whose positions are not those of the tokens shown
    side = isqrt(len(places))
    patches = side**2 if side**2 == len(places) else isqrt(len(places) - 1) ** 2 if len(places) > 1 else 0
    # A picture's patches come last, behind what a model puts before them (one token for the class, as a rule).
    whole = shown.image is not None and patches > 1 and len(places) - patches in (0, 1)
    grid = (isqrt(patches), isqrt(patches)) if whole else None
    return UnitExample(example=shown, help=helped, places=places, grid=grid)


def places_of(loaded: LoadedModel, task: Task[Any], example: Any, kind: UnitKind, unit: Unit) -> list[float]:
    """Minus dLoss/dgate of a unit on one example by position, nats.

    Empty where its activations have no positions in a common order (windows of Swin). One forward and one
    activation-only backward pass, with the weights frozen.
    """
    number, index = unit[0], unit[1] if len(unit) > 1 else 0
    parts: list[Tensor] = []
    windows: list[int] = []
    handles = []
    for site in loaded.anatomy.sites(kind, number):
        if kind is not UnitKind.LAYER and not site.first <= index < site.first + site.count:
            continue

        def sink(z: Tensor, dz: Tensor, experts: Tensor | None, site: Any = site) -> None:
            products = wide(z) * wide(dz)
            if z.dim() > 2 and len(z) > 1:
                windows.append(len(z))
            if experts is not None:
                chosen = experts.reshape(products.shape) == index
                parts.append((products * chosen).reshape(-1, products.shape[-1]).sum(-1))
                return
            rows = products.reshape(-1, products.shape[-1])
            parts.append(Channels(site, len(rows)).units(rows.float(), "sum")[:, index - site.first])

        handles.append(hook(loaded.model, site, tap(site, None, sink)))
    try:
        first = loaded.model.get_submodule(loaded.anatomy.layers[number].block)
        handles.append(first.register_forward_pre_hook(_begin_graph, with_kwargs=True))
        losses = task.losses(loaded, [example])
        losses.sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    finally:
        for handle in handles:
            handle.remove()
    if windows or not parts or len({len(part) for part in parts}) > 1:
        return []
    found: list[float] = (-torch.stack(parts).sum(0)).cpu().tolist()
    return found


def _begin_graph(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The graph starts at the block of the unit: nothing before it is needed."""
    states = args[0] if args else kwargs["hidden_states"]
    if not states.requires_grad:
        states = states.detach().requires_grad_(True)
    return ((states, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": states})
