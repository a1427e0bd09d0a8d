"""Fine-tune chosen units of a model beside its controls, measure all on the same test examples, and save the result."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from modelshapley.applications import proof
from modelshapley.applications.finetuning import lora
from modelshapley.applications.finetuning.adapter import require_expressible, save_adapter
from modelshapley.applications.finetuning.arms import Bench, OnStep, train_all, train_lora, train_units
from modelshapley.applications.finetuning.parallel import processes_of
from modelshapley.applications.finetuning.reporting import Outcome, card, compared
from modelshapley.applications.finetuning.submatrix import SubMatrix, Trained, named, training
from modelshapley.applications.folder import made_from, new_folder, save_model, write_record
from modelshapley.applications.random_units import random_units
from modelshapley.contracts.applications.finetuning import FinetunedInfo, FinetuneSettings
from modelshapley.errors import ModelShapleyError
from modelshapley.evaluation.accuracy import Evaluation
from modelshapley.maps.importance import ImportanceMap
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split, Task
from modelshapley.units import Deactivation, UnitKind

GRADIENT_EXAMPLES = 32
CONTROLS = ("random", "lora", "full")
DTYPES = ("float32", "bfloat16")


def finetune(
    loaded: LoadedModel,
    task: Task[Any],
    units: Deactivation,
    folder: Path,
    *,
    settings: FinetuneSettings | None = None,
    controls: Sequence[str] | None = None,
    adapter: bool = False,
    importance_map: ImportanceMap | None = None,
    limit: int | None = None,
    seed: int = 0,
    checkpoints: Path | None = None,
    job: str | None = None,
    on_step: OnStep = lambda arm, done, total: None,
    pause: Callable[[], None] = lambda: None,
) -> FinetunedInfo:
    """Train only these units on the task's probe examples; save the whole model to `folder`.

    controls: also trained on the same examples in the same order, and measured, but not saved: `random` trains as many
    random units of each kind; `lora` (needs peft) about as many parameters as LoRA factors of the same linear maps;
    `full` all parameters. None: all that are possible (:func:`impossible_controls`), `lora` where peft is installed.
    adapter: save a LoRA adapter in peft's format instead, which holds the same change; needs peft, and a family without
    biases there. limit: at most so many probe examples. checkpoints: a folder for checkpoints, from which an
    interrupted call goes on bit for bit. job: id of the server's derived model, for the record. on_step: called with
    (arm, steps done, of); pause: between passes of measurements. Both may raise to stop.

    The model is as it was afterwards. The folder appears whole or not at all, and only if a fresh process that loads it
    gives the logits of the trained model. It is saved in the dtype of the loaded model. In bfloat16 the trained parts
    have float32 copies that the optimiser moves, and passes run with these rounded. Where accelerate's launcher or
    torchrun has started several processes, each trains on its part of every batch, and the first saves. Raises
    ModelShapleyError, TaskMismatch, UnsupportedModel for kinds of unit that cannot train, NotFinite for a gradient that
    is no number.
    """
    task.check(loaded)
    settings = settings or FinetuneSettings()
    _refuse_untrainable(loaded, units, adapter)
    controls = planned_controls(controls, impossible_controls(loaded, units))
    processes = processes_of(loaded.device)
    test = task.select(loaded, Split.TEST, seed)
    probe = task.select(loaded, Split.PROBE, seed, limit)
    bench = Bench(loaded, task, settings, seed, probe, test, checkpoints, on_step, pause, processes=processes)
    parent = bench.measure()
    share = gradient_share(loaded, task, units, probe[:GRADIENT_EXAMPLES])
    with _own_folder(folder, processes.rank) as temporary:
        outcomes = [_targeted(bench, units, temporary, adapter)]
        if "random" in controls:
            outcomes.append(train_units(bench, "random", random_units(loaded, units, seed)))
        if "lora" in controls:
            outcomes.append(train_lora(bench, units, outcomes[0].trained))
        if "full" in controls:
            outcomes.append(train_all(bench))
        info = _info(bench, units, outcomes, parent, importance_map, {"gradient_share": share, "adapter": adapter}, job)
        write_record(temporary, info, card(info))
    processes.wait()
    return info


@contextmanager
def _own_folder(folder: Path, rank: int) -> Iterator[Path]:
    """Yield the new folder to the first process, a temporary one to others."""
    if rank == 0:
        with new_folder(folder) as temporary:
            yield temporary
        return
    with tempfile.TemporaryDirectory(prefix="modelshapley-") as temporary_name:
        yield Path(temporary_name)


def _info(
    bench: Bench,
    units: Deactivation,
    outcomes: Sequence[Outcome],
    parent: Evaluation,
    importance_map: ImportanceMap | None,
    found: Mapping[str, Any],
    job: str | None,
) -> FinetunedInfo:
    """Describe what was trained on, and what came of it. found: further fields of the record."""
    return FinetunedInfo(
        **made_from(bench.loaded, bench.task, bench.seed, job=job),
        method=None if importance_map is None else importance_map.method,
        map=None if importance_map is None else dict(importance_map.provenance),
        settings=bench.settings,
        trained_units={kind: count for kind, count in units.counts().items() if count},
        parent_loss=parent.loss,
        arms=[compared(outcome, outcomes[0], parent) for outcome in outcomes],
        **found,
    )


def impossible_controls(loaded: LoadedModel, units: Deactivation) -> dict[str, str]:
    """Return {control: why it cannot train} for a model and units."""
    impossible = {}
    if units.of_kind(UnitKind.EXPERT):
        impossible["lora"] = "LoRA factors need linear maps, and experts are stacked weights"
    if loaded.dtype != "float32":
        impossible["full"] = f"small steps of all parameters would be rounded away in {loaded.dtype}"
    return impossible


def planned_controls(names: Sequence[str] | None, impossible: Mapping[str, str] | None = None) -> Sequence[str]:
    """Return the controls to train; None: all that are possible, `lora` where peft is installed.

    Raises ModelShapleyError for names that are none or not possible, and for lora without peft.
    """
    impossible = impossible or {}
    if names is None:
        possible = [name for name in CONTROLS if name not in impossible]
        return [name for name in possible if name != "lora" or lora.available()]
    unknown = sorted(set(names) - set(CONTROLS))
    if unknown:
        raise ModelShapleyError(f"There is no control {unknown[0]!r}; choose from {', '.join(CONTROLS)}.")
    for name in names:
        if name in impossible:
            raise ModelShapleyError(f"The control {name!r} cannot train here: {impossible[name]}. Leave it out.")
    if "lora" in names:
        lora.require()
    return names


def _refuse_untrainable(loaded: LoadedModel, units: Deactivation, adapter: bool) -> None:
    """Raise ModelShapleyError without units, for weights that are too coarse for small steps, or for no adapter."""
    if not len(units):
        raise ModelShapleyError("There are no units to train; choose some, or a larger share.")
    if loaded.dtype not in DTYPES:
        raise ModelShapleyError(
            f"{loaded.id!r} is loaded in {loaded.dtype}, whose range is too small for gradients; load it in float32 or "
            "bfloat16 to train it."
        )
    if adapter:
        lora.require()
        if loaded.dtype != "float32":
            raise ModelShapleyError("An adapter holds changes in float32; load the model in float32 to save one.")
        with training(loaded.model, loaded.anatomy, units) as parts:
            require_expressible(parts)


def gradient_share(loaded: LoadedModel, task: Task[Any], units: Deactivation, examples: Sequence[Any]) -> float:
    """Return the share, 0 to 1, of the squared gradient of all weights of these kinds of unit that lies on these units.

    Of the mean loss of the examples, before training.
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


def _targeted(bench: Bench, units: Deactivation, folder: Path, adapter: bool) -> Outcome:
    """Train the chosen units, and save the model or an adapter, which a fresh process must load with equal logits."""
    loaded = bench.loaded
    logits: list[Tensor] = []

    def save(parts: Sequence[Trained], before: Mapping[str, Tensor]) -> None:
        if bench.processes.rank:
            return
        logits.append(proof.logits_of(loaded.model, loaded))
        if adapter:
            matrices = [part for part in parts if isinstance(part, SubMatrix)]
            save_adapter(folder, matrices, before, loaded.id.removeprefix("hub:"))
        else:
            save_model(folder, loaded.model, loaded)

    outcome = train_units(bench, "targeted", units, save)
    if bench.processes.rank:
        return outcome
    if not adapter:
        reloaded = proof.reloaded_logits(folder, loaded, dtype=loaded.dtype)
        proof.require_equal(reloaded, logits[0], "The saved model", "the trained model")
        return outcome
    with tempfile.TemporaryDirectory(prefix="modelshapley-parent-", dir=folder.parent) as parent:
        save_model(Path(parent), loaded.model, loaded)
        proof.require_equal(proof.reloaded_logits(Path(parent), loaded, folder), logits[0], "The saved adapter")
    return outcome
