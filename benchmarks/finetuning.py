"""Targeted fine-tuning: its cost beside full training, and whether the choice of units matters, in one run.

    python -m benchmarks.finetuning --json [--only cost vit gsm8k] [--rounds 3] [--seeds 5] [--data FOLDER]

`step_ratio`: CPU-seconds of a step (forward, backward, AdamW) that trains 10 % of the neurons of SmolLM2 as
sub-matrices (random ones: the cost is that of any), against one that trains everything, medians of alternating steps on
4 x 256 tokens; `masked_ratio`: the same against training the whole gate, up and down matrices, of which masks would
keep 10 %. `grad_and_optimizer_ratio`: bytes of gradients and AdamW's moments against those of that.
`gradient_max_difference`: between the gradients of the sub-matrices and the same places of whole gradients.

`vit`: the digits ViT on digits turned by 90 degrees, 10 % of the neurons by two-sided, as many random ones, and all
parameters, on the same examples and steps: accuracy on the test examples over all seeds (which choose the random
units and the order of examples), and targeted minus random with its paired 95 % interval.

`gsm8k`: SmolLM2 on solved problems of GSM8K as plain text (tests/data), 16 steps of 2 of 32 texts, 10 % of the neurons
by two-sided on the same texts, as many random ones, LoRA of as many parameters, and all parameters: mean loss of 32
other texts (nats a token, mean over texts), and targeted minus each of the others with its paired 95 % interval.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.support.common import DATA, report
from benchmarks.support.solved import solved_problems
from modelshapley import load_model, score
from modelshapley.applications.finetuning.arms import Bench, train_all, train_lora, train_units
from modelshapley.applications.finetuning.finetune import finetune
from modelshapley.applications.finetuning.parts import parts_of
from modelshapley.applications.finetuning.submatrix import SubMatrix, named, training, write_all
from modelshapley.applications.random_units import random_units
from modelshapley.contracts.applications.finetuning import FinetuneSettings
from modelshapley.evaluation.intervals import mean_half_width
from modelshapley.models.catalog import DIGITS_VIT, SMOLLM2
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split
from modelshapley.tasks.builtin.digits import Digit, Digits
from modelshapley.units import Deactivation, UnitKind

SHARE, TEXTS = 0.1, 32
SETTINGS = FinetuneSettings(steps=60, batch=16, rate=3e-3)
SHORT = FinetuneSettings(steps=16, batch=2, rate=3e-4)
PARTS = ("cost", "vit", "gsm8k")


class TurnedDigits(Digits):
    """The digits turned by 90 degrees, which the model has not learnt to read."""

    def examples(self, split: Split, seed: int = 0) -> Sequence[Digit]:
        return [Digit(d.pixels.rot90(1, (1, 2)).contiguous(), d.label) for d in super().examples(split, seed)]

    def content(self) -> Any:
        return {"turned": super().content()}


def step_s(model: nn.Module, tokens: Tensor, optimiser: torch.optim.Optimizer, after: Callable[[], None]) -> float:
    """CPU-seconds of one step."""
    started = time.process_time()
    logits = model(tokens).logits
    cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    after()
    return time.process_time() - started


def cost(loaded: LoadedModel, rounds: int) -> dict[str, Any]:
    """Step ratio, bytes and gradients of targeted against masked and full training on SmolLM2."""
    model, rng = loaded.model, np.random.default_rng(0)
    counts = loaded.anatomy.shapes.counts[UnitKind.NEURON]
    chosen = [(layer, int(i)) for layer, n in enumerate(counts) for i in rng.permutation(n)[: int(SHARE * n)]]
    units = Deactivation.of({UnitKind.NEURON: chosen})
    tokens = torch.randint(0, 40_000, (4, 256), generator=torch.Generator().manual_seed(0))
    original = {name: p.detach().clone() for name, p in model.named_parameters()}
    matrices = [model.get_submodule(part.path).get_parameter("weight") for part in parts_of(loaded.anatomy, units)]
    times: dict[str, list[float]] = {"targeted": [], "masked": [], "full": []}
    for _ in range(rounds):
        with training(model, loaded.anatomy, units) as parts:
            optimiser = torch.optim.AdamW(named(parts).values(), lr=1e-6)
            times["targeted"].append(step_s(model, tokens, optimiser, partial(write_all, parts)))
            trained = sum(p.numel() for p in named(parts).values())
        for name, parameters in (("masked", matrices), ("full", list(model.parameters()))):
            for parameter in parameters:
                parameter.requires_grad_(True)
            optimiser = torch.optim.AdamW(parameters, lr=1e-6)
            times[name].append(step_s(model, tokens, optimiser, lambda: None))
            model.requires_grad_(False)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(original[name])
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "step_ratio": round(medians["targeted"] / medians["full"], 3),
        "masked_ratio": round(medians["targeted"] / medians["masked"], 3),
        "grad_and_optimizer_ratio": round(trained / sum(m.numel() for m in matrices), 4),
        "gradient_max_difference": gradient_difference(loaded, units, tokens[:1, :64]),
    }


def gradient_difference(loaded: LoadedModel, units: Deactivation, tokens: Tensor) -> float:
    model = loaded.model

    def backward() -> None:
        logits = model(tokens).logits
        cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()

    with training(model, loaded.anatomy, units) as parts:
        backward()
        matrices = [part for part in parts if isinstance(part, SubMatrix)]
        ours = {part.part.path: part.weight.grad for part in matrices if part.weight.grad is not None}
    largest = 0.0
    parts_by_path = {part.path: part for part in parts_of(loaded.anatomy, units)}
    for path in parts_by_path:
        model.get_submodule(path).requires_grad_(True)
    backward()
    for path, part in parts_by_path.items():
        whole = model.get_submodule(path).get_parameter("weight").grad
        assert whole is not None
        index = torch.tensor(part.index)
        same = whole[index] if part.side == "rows" else whole[:, index]
        largest = max(largest, float((ours[path] - same).abs().max()))
    model.requires_grad_(False)
    model.zero_grad(set_to_none=True)
    return largest


def choice(loaded: LoadedModel, seeds: int) -> dict[str, Any]:
    """Accuracy of targeted, random and full on the turned digits."""
    task = TurnedDigits()
    differences, accuracies, share = [], [], 0.0
    for seed in range(seeds):
        importance_map = score(loaded, task, units=["neuron"], limit=256, seed=seed)
        units = importance_map.most("neuron", SHARE)
        with tempfile.TemporaryDirectory() as folder:
            info = finetune(loaded, task, units, Path(folder) / "tuned", settings=SETTINGS, seed=seed)
        targeted, random, full = info.arms
        accuracies.append([arm.against_parent.accuracy for arm in (targeted, random, full)])
        differences.append(targeted.against_parent.accuracy - random.against_parent.accuracy)
        share += info.gradient_share / seeds
    mean = np.mean(accuracies, 0)
    low, high = _interval(differences)
    return {
        "intact": round(info.arms[0].against_parent.intact, 4),
        "accuracy": {
            name: round(float(value), 4) for name, value in zip(("two-sided", "random", "full"), mean, strict=True)
        },
        "two_sided_minus_random": round(float(np.mean(differences)), 4),
        "interval": [round(low, 4), round(high, 4)],
        "gradient_share": round(share, 3),
    }


def solved(loaded: LoadedModel) -> dict[str, Any]:
    """Loss on solved problems that were not trained on: targeted beside its controls."""
    task = solved_problems(TEXTS)
    probe, test = (task.select(loaded, split) for split in (Split.PROBE, Split.TEST))
    units = score(loaded, task, units=["neuron"], limit=TEXTS).most("neuron", SHARE)
    bench = Bench(loaded, task, SHORT, 0, probe, test, None, lambda arm, done, total: None, lambda: None, answers=0)
    losses = {"intact": bench.measure().losses}
    targeted = train_units(bench, "two-sided", units)
    arms = [
        targeted,
        train_units(bench, "random", random_units(loaded, units, 0)),
        train_lora(bench, units, targeted.trained),
        train_all(bench),
    ]
    losses |= {arm.name: arm.measured.losses for arm in arms}
    differences = {name: losses["two-sided"] - values for name, values in losses.items() if name != "two-sided"}
    return {
        "texts": len(test),
        "trained": {arm.name: arm.trained for arm in arms},
        "loss": {name: round(float(values.mean()), 4) for name, values in losses.items()},
        "two_sided_minus": {
            name: [round(float(d.mean()), 4), *(round(end, 4) for end in _interval(d))]
            for name, d in differences.items()
        },
    }


def _interval(values: npt.NDArray[np.float64] | Sequence[float]) -> tuple[float, float]:
    """95 % interval of the mean, Student's."""
    mean, half = float(np.mean(values)), mean_half_width(np.array(values))
    return mean - half, mean + half


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one line of JSON (the default)")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--rounds", type=int, default=3, help="steps of each kind whose time is measured")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=DATA)
    given = parser.parse_args()
    results: dict[str, Any] = {}
    if "cost" in given.only:
        results |= cost(load_model(SMOLLM2, data=given.data), given.rounds)
    if "vit" in given.only:
        results["vit"] = choice(load_model(DIGITS_VIT, data=given.data), given.seeds)
    if "gsm8k" in given.only:
        results["gsm8k"] = solved(load_model(SMOLLM2, data=given.data))
    report(results)


if __name__ == "__main__":
    main()
