"""Fine-tune chosen units of a model beside its controls, measure all on the same test examples, and save the result."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from modelshapley.applications import proof
from modelshapley.applications.finetuning.submatrix import named, training, write_all
from modelshapley.applications.finetuning.trainer import Trainer
from modelshapley.applications.folder import CARD, INFO, new_folder, save_model
from modelshapley.applications.pruning import versions
from modelshapley.contracts.finetuning import FinetuneArm, FinetunedInfo, FinetuneSettings
from modelshapley.errors import ModelShapleyError
from modelshapley.evaluation.accuracy import Evaluation, evaluate
from modelshapley.evaluation.intervals import mean_half_width, paired_difference
from modelshapley.evaluation.trials import compare
from modelshapley.formatting import percent, points, points_interval, score
from modelshapley.maps.importance import ImportanceMap
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split, Task
from modelshapley.units import Deactivation, Unit, UnitKind

FULL_RATE = 1 / 3
"""Learning rate of full fine-tuning, as a share of that of the units: more parameters move at once."""
GRADIENT_EXAMPLES = 32
OnStep = Callable[[str, int, int], None]


@dataclass(frozen=True)
class _Bench:
    """The model, its data, and the parent's measurements on the test examples."""

    loaded: LoadedModel
    task: Task[Any]
    settings: FinetuneSettings
    seed: int
    probe: Sequence[Any]
    test: Sequence[Any]
    parent: Evaluation
    checkpoints: Path | None
    on_step: OnStep


@dataclass(frozen=True)
class _Outcome:
    name: str
    trained: int
    steps: int
    measured: Evaluation


def finetune(
    loaded: LoadedModel,
    task: Task[Any],
    units: Deactivation,
    folder: Path,
    *,
    settings: FinetuneSettings | None = None,
    controls: Sequence[str] = ("random", "full"),
    importance_map: ImportanceMap | None = None,
    limit: int | None = None,
    seed: int = 0,
    checkpoints: Path | None = None,
    on_step: OnStep = lambda arm, done, total: None,
) -> FinetunedInfo:
    """Train only the neurons and heads of `units` on the task's probe examples, and save the whole model to `folder`.

    controls: also trained on the same examples in the same order, and measured, but not saved: `random` trains as many
    random units of each kind; `full` trains all parameters. limit: at most so many probe examples. checkpoints: a
    folder for checkpoints, from which an interrupted call goes on bit for bit. on_step: called with (arm, steps done,
    of).

    The model is as it was afterwards. The folder appears whole or not at all, and only if a fresh process that loads it
    gives the logits of the trained model. It is saved in float32, since rounding could undo small changes. Raises
    ModelShapleyError, TaskMismatch, UnsupportedModel for kinds of unit that cannot train, NotFinite for a gradient that
    is no number.
    """
    task.check(loaded)
    settings = settings or FinetuneSettings()
    _refuse_untrainable(loaded, units)
    test = task.select(loaded, Split.TEST, seed)
    probe = task.select(loaded, Split.PROBE, seed, limit)
    parent = evaluate(loaded, task, Deactivation(), test)
    bench = _Bench(loaded, task, settings, seed, probe, test, parent, checkpoints, on_step)
    share = gradient_share(loaded, task, units, probe[:GRADIENT_EXAMPLES])
    with new_folder(folder) as temporary:
        outcomes = [_train_units(bench, "targeted", units, temporary)]
        if "random" in controls:
            outcomes.append(_train_units(bench, "random", random_units(loaded, units, seed)))
        if "full" in controls:
            outcomes.append(_train_all(bench))
        info = FinetunedInfo(
            parent=loaded.id,
            parent_revision=loaded.revision,
            family=loaded.anatomy.model_type,
            task=task.info.id,
            task_fingerprint=task.fingerprint(seed),
            seed=seed,
            method=None if importance_map is None else importance_map.method,
            map=None if importance_map is None else dict(importance_map.provenance),
            settings=settings,
            trained_units={kind: count for kind, count in units.counts().items() if count},
            gradient_share=share,
            parent_loss=parent.loss,
            arms=[_arm(outcome, outcomes[0], parent) for outcome in outcomes],
            versions=versions(),
            created=datetime.now(UTC),
        )
        (temporary / INFO).write_text(json.dumps(info.model_dump(mode="json"), indent=1) + "\n", encoding="utf-8")
        (temporary / CARD).write_text(card(info), encoding="utf-8")
    return info


def _refuse_untrainable(loaded: LoadedModel, units: Deactivation) -> None:
    """Raise ModelShapleyError without units, or for weights that are too coarse for small steps."""
    if not len(units):
        raise ModelShapleyError("There are no units to train; choose some, or a larger share.")
    if loaded.dtype != "float32":
        raise ModelShapleyError(f"{loaded.id!r} is loaded in {loaded.dtype}; load it in float32 to train it.")


def random_units(loaded: LoadedModel, units: Deactivation, seed: int) -> Deactivation:
    """Return as many units of each kind, drawn from the whole model."""
    rng, shapes = np.random.default_rng(seed), loaded.anatomy.shapes
    drawn: dict[UnitKind, list[Unit]] = {}
    for kind, chosen in units.units:
        places = np.argwhere(shapes.is_unit(kind))
        drawn[kind] = [tuple(row) for row in rng.permutation(places)[: len(chosen)].tolist()]
    return Deactivation.of(drawn)


def gradient_share(loaded: LoadedModel, task: Task[Any], units: Deactivation, examples: Sequence[Any]) -> float:
    """Return the share, 0 to 1, of the squared gradient of all neurons' weights (or heads') that lies on these units.

    Of the mean loss of the examples, before training. Of those kinds of unit that `units` has.
    """
    shapes = loaded.anatomy.shapes
    everything = Deactivation.of({kind: np.argwhere(shapes.is_unit(kind)).tolist() for kind, _ in units.units})
    chosen, whole = (_squared_gradient(loaded, task, part, examples) for part in (units, everything))
    return chosen / whole if whole else 0.0


def _squared_gradient(loaded: LoadedModel, task: Task[Any], units: Deactivation, examples: Sequence[Any]) -> float:
    with training(loaded.model, loaded.anatomy, units) as parts:
        for start in range(0, len(examples), task.probe_batch):
            losses = task.losses(loaded, examples[start : start + task.probe_batch])
            (losses.sum() / len(examples)).backward()
        gradients = [parameter.grad for parameter in named(parts).values()]
        return sum(float(gradient.double().square().sum()) for gradient in gradients if gradient is not None)


def _train_units(bench: _Bench, name: str, units: Deactivation, folder: Path | None = None) -> _Outcome:
    """Train units and measure the result; save it to a folder if one is given."""
    loaded = bench.loaded
    with training(loaded.model, loaded.anatomy, units) as parts, _restored({p.part.path: p.module for p in parts}):
        outcome = _run(bench, name, named(parts), units.key(), bench.settings, partial(write_all, parts))
        if folder is not None:
            logits = proof.logits_of(loaded.model, loaded)
            save_model(folder, loaded.model, loaded)
            proof.require_equal(proof.reloaded_logits(folder, loaded), logits, "The saved model")
    return outcome


def _train_all(bench: _Bench) -> _Outcome:
    model = bench.loaded.model
    settings = bench.settings.model_copy(update={"rate": bench.settings.rate * FULL_RATE})
    with _restored({"": model}):
        model.requires_grad_(True)
        try:
            return _run(bench, "full", dict(model.named_parameters()), "everything", settings, lambda: None)
        finally:
            model.requires_grad_(False)
            model.zero_grad(set_to_none=True)


def _run(
    bench: _Bench,
    name: str,
    parameters: Mapping[str, nn.Parameter],
    key: str,
    settings: FinetuneSettings,
    written: Callable[[], None],
) -> _Outcome:
    loaded, task = bench.loaded, bench.task
    trainer = Trainer(loaded, task, bench.probe, parameters, settings, bench.seed, key, written)
    file = None if bench.checkpoints is None else bench.checkpoints / f"{name}.safetensors"
    steps = trainer.run(file, on_step=lambda done, total: bench.on_step(name, done, total))
    measured = evaluate(loaded, task, Deactivation(), bench.test)
    return _Outcome(name, sum(parameter.numel() for parameter in parameters.values()), steps, measured)


@contextmanager
def _restored(modules: Mapping[str, nn.Module]) -> Iterator[None]:
    """Restore the weights of modules afterwards."""
    original = {path: {k: v.detach().clone() for k, v in m.named_parameters()} for path, m in modules.items()}
    try:
        yield
    finally:
        with torch.no_grad():
            for path, module in modules.items():
                for name, parameter in module.named_parameters():
                    parameter.copy_(original[path][name])


def _arm(outcome: _Outcome, targeted: _Outcome, parent: Evaluation) -> FinetuneArm:
    """Compare an outcome with the parent, and with the targeted one."""
    values: dict[str, Any] = {}
    if outcome is not targeted:
        difference = outcome.measured.losses - targeted.measured.losses
        mean, half = float(difference.mean()), mean_half_width(difference)
        accuracy, interval = paired_difference(outcome.measured.outcomes, targeted.measured.outcomes)
        values = {
            "loss_minus_targeted": mean,
            "loss_interval": (mean - half, mean + half),
            "accuracy_minus_targeted": accuracy,
            "accuracy_interval": interval,
        }
    return FinetuneArm(
        name=outcome.name,
        trained=outcome.trained,
        steps=outcome.steps,
        loss=outcome.measured.loss,
        against_parent=compare(outcome.measured.outcomes, parent.outcomes),
        **values,
    )


def describe(arm: FinetuneArm) -> str:
    """Describe an arm in one line."""
    trial = arm.against_parent
    text = (
        f"{arm.name}: {arm.trained:,} parameters, loss {score(arm.loss)} nats, accuracy {percent(trial.accuracy)}, "
        f"{points(trial.difference)} ({points_interval(trial.difference_interval)}) against the parent"
    )
    if arm.loss_minus_targeted is None or arm.loss_interval is None:
        return text
    low, high = arm.loss_interval
    return f"{text}; loss minus targeted {score(arm.loss_minus_targeted)} ({score(low)} to {score(high)})"


def card(info: FinetunedInfo) -> str:
    """Return the model card, in Markdown."""
    units = ", ".join(f"{count:,} {kind.value}s" for kind, count in info.trained_units.items())
    lines = [
        *("---", "library_name: transformers", "tags: [fine-tuned, model-shapley]", "---", ""),
        f"# {info.parent}, {units} fine-tuned",
        "",
        f"Made from `{info.parent}` (revision `{info.parent_revision[:12]}`) by Model Shapley: only {units} "
        f"were trained, on the probe examples of {info.task}. Measured on its test examples (95 % intervals), "
        "controls beside it:",
        "",
        *(f"- {describe(arm)}" for arm in info.arms),
        "",
    ]
    return "\n".join(lines)
