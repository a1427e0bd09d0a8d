"""Ways to train on the same examples: chosen units, LoRA factors, all parameters; the model is restored after each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modelshapley.applications.finetuning import lora
from modelshapley.applications.finetuning.parallel import Processes
from modelshapley.applications.finetuning.parts import parts_of
from modelshapley.applications.finetuning.reporting import Outcome
from modelshapley.applications.finetuning.submatrix import Trained, named, training, write_all
from modelshapley.applications.finetuning.trainer import Trainer
from modelshapley.contracts.applications.finetuning import FinetuneSettings
from modelshapley.evaluation.accuracy import Evaluation, evaluate
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Task
from modelshapley.units import Deactivation

FULL_RATE = 1 / 3
"""Learning rate of full fine-tuning, as a share of that of the units: more parameters move at once."""
Save = Callable[[Sequence[Trained], Mapping[str, Tensor]], None]
OnStep = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Bench:
    """The model, its data, and how it trains. answers: number of test examples with outcomes; None: all."""

    loaded: LoadedModel
    task: Task[Any]
    settings: FinetuneSettings
    seed: int
    probe: Sequence[Any]
    test: Sequence[Any]
    checkpoints: Path | None
    on_step: OnStep
    pause: Callable[[], None]
    answers: int | None = None
    processes: Processes = field(default_factory=Processes)

    def measure(self) -> Evaluation:
        """Measure the model as it is now on the test examples."""
        return evaluate(
            self.loaded, self.task, Deactivation(), self.test, self.answers, on_progress=lambda done: self.pause()
        )


def train_units(bench: Bench, name: str, units: Deactivation, save: Save = lambda parts, before: None) -> Outcome:
    """Train units and measure the result; then `save` is called with the parts and the weights before training."""
    loaded = bench.loaded
    with (
        training(loaded.model, loaded.anatomy, units) as parts,
        _restored({p.part.path: p.module for p in parts}) as original,
    ):
        outcome = _run(bench, name, named(parts), units.key(), bench.settings, partial(write_all, parts))
        save(parts, {path: weights["weight"] for path, weights in original.items() if "weight" in weights})
    return outcome


def train_lora(bench: Bench, units: Deactivation, parameters: int) -> Outcome:
    """Train LoRA factors of the linear maps that hold the units, nearly as many parameters."""
    loaded = bench.loaded
    settings = bench.settings.model_copy(update={"rate": bench.settings.rate * lora.RATE})
    parts = parts_of(loaded.anatomy, units)
    with lora.lora(loaded.model, parts, parameters, bench.seed) as factors:
        return _run(bench, "lora", factors, units.key(), settings, lambda: None)


def train_all(bench: Bench) -> Outcome:
    """Train all parameters, at a lower rate."""
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
    bench: Bench,
    name: str,
    parameters: Mapping[str, nn.Parameter],
    key: str,
    settings: FinetuneSettings,
    written: Callable[[], None],
) -> Outcome:
    bench.processes.require_same("units", key)
    trainer = Trainer(
        bench.loaded, bench.task, bench.probe, parameters, settings, bench.seed, key, written, bench.processes
    )
    bench.processes.wait()  # none may find a checkpoint that another has just written
    file = None if bench.checkpoints is None else bench.checkpoints / f"{name}.safetensors"
    steps = trainer.run(file, on_step=lambda done, total: bench.on_step(name, done, total))
    return Outcome(name, sum(parameter.numel() for parameter in parameters.values()), steps, bench.measure())


@contextmanager
def _restored(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, dict[str, Tensor]]]:
    """Restore the weights of modules afterwards; yields them as they were, by path and name."""
    original = {path: {k: v.detach().clone() for k, v in m.named_parameters()} for path, m in modules.items()}
    try:
        yield original
    finally:
        with torch.no_grad():
            for path, module in modules.items():
                for name, parameter in module.named_parameters():
                    parameter.copy_(original[path][name])
