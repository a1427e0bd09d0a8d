"""Single examples: which ones a deactivation flips, and which ones a unit affects most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modelshapley.contracts import Status
from modelshapley.contracts.task_files.examples import ClassChange, Flip, TrialDetails, UnitExample
from modelshapley.evaluation.activations import Activations
from modelshapley.evaluation.intervals import Outcomes
from modelshapley.evaluation.treating import treating
from modelshapley.evaluation.trials import compare
from modelshapley.interventions.gates import hook
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.memory import AdaptiveBatcher
from modelshapley.signals.observe import signals_of
from modelshapley.signals.readers import Channels, at_least_float32
from modelshapley.signals.taps import tap
from modelshapley.tasks.base import Split, Task
from modelshapley.units import Deactivation, Unit, UnitKind

MAX_FLIPS = 12
MAX_PROBE_EXAMPLES = 64
"""Probe examples on which a unit is measured; the MAX_UNIT_EXAMPLES with the strongest effect are returned."""
MAX_UNIT_EXAMPLES = 6


def trial_details(
    loaded: LoadedModel,
    task: Task[Any],
    deactivation: Deactivation,
    outcomes: Outcomes,
    intact: Outcomes,
    seed: int = 0,
    activations: Activations | None = None,
    trial: str = "",
) -> TrialDetails:
    """Return the details behind a trial's accuracy: changes by class and flipped examples.

    outcomes, intact: how right each answer is with the deactivation, on the first test examples, and without. Only
    the displayed examples are answered again. Raises BadData, OutOfMemory.
    """
    examples = task.select(loaded, Split.TEST, seed)[: len(outcomes)]
    before = intact[: len(outcomes)]
    change = outcomes.astype(np.float64) - before.astype(np.float64)
    lost, gained = np.flatnonzero(change < 0), np.flatnonzero(change > 0)
    positions = [*lost[: MAX_FLIPS - min(len(gained), MAX_FLIPS // 3)], *gained][:MAX_FLIPS]
    flipped = [examples[position] for position in positions]
    texts_before = predicted_texts(loaded, task, flipped, Deactivation())
    texts_after = predicted_texts(loaded, task, flipped, deactivation, activations)
    flips = [
        Flip(
            example=task.display(loaded, examples[position]),
            before=float(before[position]),
            after=float(outcomes[position]),
            said_before=text_before,
            said_after=text_after,
        )
        for position, text_before, text_after in zip(positions, texts_before, texts_after, strict=True)
    ]
    return TrialDetails(
        trial=trial,
        status=Status.DONE,
        n=len(outcomes),
        classes=compare_by_class([task.class_of(example) for example in examples], outcomes, before),
        lost=len(lost),
        gained=len(gained),
        flips=flips,
    )


def compare_by_class(labels: Sequence[str | None], outcomes: Outcomes, intact: Outcomes) -> list[ClassChange]:
    """Compare the accuracy of each class before and after; the class that lost most comes first."""
    changes = []
    for label in sorted({label for label in labels if label is not None}):
        members = np.array([other == label for other in labels])
        changes.append(ClassChange(label=label, **compare(outcomes[members], intact[members]).model_dump()))
    return sorted(changes, key=lambda change: change.difference)


def predicted_texts(
    loaded: LoadedModel,
    task: Task[Any],
    examples: Sequence[Any],
    deactivation: Deactivation,
    activations: Activations | None = None,
) -> list[str | None]:
    """Return the model's answers as text, with some units treated; None for tasks whose answers are not text."""
    sizes = [task.size(loaded, example) for example in examples]
    batch_size = loaded.batch_size(max(1, min(len(examples), task.test_chunk)), sizes)
    batcher = AdaptiveBatcher(loaded, batch_size, backward=False)

    def predict(start: int, size: int) -> list[str | None]:
        chosen = examples[start : start + size]
        with treating(loaded, task, deactivation, activations) as treat:
            return list(treat(task.predicted_text)(loaded, chosen))

    return [text for _, _, texts in batcher.chunks(predict, len(examples)) for text in texts]


def unit_examples(
    loaded: LoadedModel,
    task: Task[Any],
    kind: UnitKind,
    unit: Unit,
    seed: int = 0,
    limit: int = MAX_PROBE_EXAMPLES,
    pause: Callable[[], None] = lambda: None,
) -> tuple[int, list[UnitExample]]:
    """Return (number of probe examples measured, at most `limit`; the MAX_UNIT_EXAMPLES that the unit affects most).

    pause: called between two passes, where nothing hooks the model. Raises UnitOutOfRange, NotFinite, OutOfMemory.
    """
    Deactivation.of({kind: [unit]}).check(loaded.anatomy.shapes)
    examples = task.select(loaded, Split.PROBE, seed, min(limit, MAX_PROBE_EXAMPLES))
    sizes = [task.size(loaded, example) for example in examples]
    batcher, gates = AdaptiveBatcher(loaded, loaded.batch_size(task.probe_batch, sizes)), list[Tensor]()

    def scan(start: int, size: int) -> Tensor:
        batch = examples[start : start + size]
        signals = signals_of(loaded.model, loaded.anatomy, lambda: task.losses(loaded, batch), [kind], parts=("gate",))
        return signals[kind].gate[:, unit[0], unit[1] if len(unit) > 1 else 0]

    for _, _, gate in batcher.chunks(scan, len(examples)):
        gates.append(gate.detach().cpu())
        pause()
    helps = -torch.cat(gates)
    strongest = helps.abs().argsort(descending=True, stable=True)[:MAX_UNIT_EXAMPLES].tolist()
    effects = []
    for position in strongest:
        effects.append(_unit_example(loaded, task, examples[position], kind, unit, float(helps[position])))
        pause()
    return len(examples), effects


def _unit_example(
    loaded: LoadedModel, task: Task[Any], example: Any, kind: UnitKind, unit: Unit, help_nats: float
) -> UnitExample:
    displayed = task.display(loaded, example)
    effects = position_effects(loaded, task, example, kind, unit)
    if displayed.tokens and len(effects) not in (len(displayed.tokens), len(displayed.tokens) - 1):
        effects = []  # an encoder-decoder model, say, whose positions are not those of the displayed tokens
    side = isqrt(len(effects))
    patches = side**2 if side**2 == len(effects) else isqrt(len(effects) - 1) ** 2 if len(effects) > 1 else 0
    # A picture's patches come last, after the tokens that a model puts before them (usually one for the class).
    whole = displayed.image is not None and patches > 1 and len(effects) - patches in (0, 1)
    grid = (isqrt(patches), isqrt(patches)) if whole else None
    return UnitExample(example=displayed, help=help_nats, places=effects, grid=grid)


def position_effects(loaded: LoadedModel, task: Task[Any], example: Any, kind: UnitKind, unit: Unit) -> list[float]:
    """Return minus dLoss/dgate of a unit on one example at each position, in nats.

    The list is empty where activations have no positions in a common order (windows of Swin). This takes one forward
    and one activation-only backward pass, with the weights frozen.
    """
    number, index = unit[0], unit[1] if len(unit) > 1 else 0
    parts: list[Tensor] = []
    windows: list[int] = []
    handles = []
    for site in loaded.anatomy.sites(kind, number):
        if kind is not UnitKind.LAYER and not site.first <= index < site.first + site.count:
            continue

        def sink(z: Tensor, dz: Tensor, experts: Tensor | None, site: Any = site) -> None:
            products = at_least_float32(z) * at_least_float32(dz)
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
        block = loaded.model.get_submodule(loaded.anatomy.layers[number].block)
        handles.append(block.register_forward_pre_hook(_begin_graph, with_kwargs=True))
        losses = task.losses(loaded, [example])
        losses.sum().backward()
    finally:
        for handle in handles:
            handle.remove()
    if windows or not parts or len({len(part) for part in parts}) > 1:
        return []
    effects: list[float] = (-torch.stack(parts).sum(0)).cpu().tolist()
    return effects


def _begin_graph(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Start the autograd graph at the block of the unit: nothing before it is needed."""
    states = args[0] if args else kwargs["hidden_states"]
    if not states.requires_grad:
        states = states.detach().requires_grad_(True)
    return ((states, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": states})
