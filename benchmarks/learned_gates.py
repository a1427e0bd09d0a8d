"""Whether gates learned in a few dozen steps from our ranking keep more accuracy than the ranking, with units off.

    python -m benchmarks.learned_gates --json [--models digits-vit smollm2] [--kinds head neuron] [--splits 0 1 2]

Gates start at the rank in `two-sided`, evenly from -1 to 1. Each step switches off the lowest 20, 40 or 60 % of them,
in turns, for a batch of probe examples, and moves every gate along the derivative of the mean loss as if its unit had
been multiplied by it (straight-through), with Adam. For each model and kind, with these fractions of the lowest units
off: accuracy on test examples, `before` and `after`, mean over the splits; `difference` in accuracy over all splits
and fractions (positive: more is kept before), with p of exact one-sided McNemar tests that it is `worse`, or `better`,
after; `passes`: work of learning in passes over the probe set, beside the one pass of the ranking; `seconds` of
learning, mean over the splits.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.fidelity import DEFAULT, MODELS, Subject, against_default, log
from benchmarks.support.common import DATA, report
from modelshapley import load_task
from modelshapley.architectures.anatomy import Site
from modelshapley.evaluation.intervals import Bools
from modelshapley.evaluation.trials import all_answers
from modelshapley.interventions.gates import Change, changed, factors_of
from modelshapley.models.catalog import DIGITS_VIT, SMOLLM2, Catalog
from modelshapley.models.demo import prepare_smollm2
from modelshapley.models.loading import load
from modelshapley.tasks.base import Split
from modelshapley.units import UnitKind, extreme_units

FRACTIONS = (0.2, 0.4, 0.6)
RATE, BETAS = 0.02, (0.9, 0.98)
SETTINGS = {"digits-vit": (DIGITS_VIT, "digits", 256, 32), "smollm2": (SMOLLM2, "world-capitals", 64, 16)}
"""Model, task, probe examples, and examples of a step."""
Scores = npt.NDArray[np.floating]


@dataclass
class Measured:
    """Answers to test examples with units off, by split and fraction, with the ranking before and after learning."""

    before: list[Bools] = field(default_factory=list)
    after: list[Bools] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


class Learning:
    """Gates of one kind of unit, learned on the probe examples of one split."""

    def __init__(self, subject: Subject, kind: UnitKind, seed: int) -> None:
        _, _, limit, self.size = SETTINGS[subject.name]
        self.loaded, self.task, self.kind, self.seed = subject.loaded, subject.task, kind, seed
        self.examples = self.task.select(self.loaded, Split.PROBE, seed, limit)
        self.table = self.loaded.anatomy.shapes.table(kind)

    def learn(self, scores: Scores, steps: int) -> Scores:
        """Return gates of the scores' shape, which order the units anew."""
        start = np.empty(scores.size)
        start[np.argsort(scores.ravel())] = np.linspace(-1, 1, scores.size)
        gates = torch.tensor(start.reshape(self.table), dtype=torch.float32, requires_grad=True)
        optimizer = torch.optim.Adam([gates], lr=RATE, betas=BETAS)
        for step, batch in zip(range(steps), self.batches(), strict=False):
            optimizer.zero_grad()
            self.loss(mask(gates, FRACTIONS[step % len(FRACTIONS)]), batch).backward()
            optimizer.step()
        return gates.detach().numpy().reshape(scores.shape)

    def batches(self) -> Iterator[list[Any]]:
        """Yield batches of the probe examples without end, in a new order each time round."""
        rng = np.random.default_rng(self.seed)
        while True:
            order = rng.permutation(len(self.examples))
            for first in range(0, len(order) - self.size + 1, self.size):
                yield [self.examples[place] for place in order[first : first + self.size]]

    def loss(self, factors: Tensor, batch: list[Any]) -> Tensor:
        """Return the mean loss, nats, with each unit multiplied by its factor, (layers, units a layer)."""
        anatomy = self.loaded.anatomy
        sites = [(layer, site) for layer in range(len(factors)) for site in anatomy.sites(self.kind, layer)]
        changes = [
            (site, multiply(site, factors[layer, site.first : site.first + site.count])) for layer, site in sites
        ]
        with changed(self.loaded.model, changes):
            return self.task.losses(self.loaded, batch).mean()


def mask(gates: Tensor, fraction: float) -> Tensor:
    """Return 0 for the lowest gates and 1 for the others, with the derivative of the gates themselves."""
    off = torch.argsort(gates.detach().flatten())[: round(fraction * gates.numel())]
    on = torch.ones(gates.numel()).index_fill(0, off, 0).view_as(gates)
    return on + (gates - gates.detach())


def multiply(site: Site, factors: Tensor) -> Change:
    return lambda z, index: z * factors_of(site, factors[None], z, index)


def measure(subject: Subject, kind: UnitKind, seeds: list[int], steps: int) -> dict[str, Any]:
    """Learn and measure on each split."""
    outcomes = Measured()
    _, _, limit, size = SETTINGS[subject.name]

    def accuracies(scores: Scores, seed: int, into: list[Bools]) -> list[float]:
        chosen = [extreme_units(scores, kind, "least", fraction) for fraction in FRACTIONS]
        into += [all_answers(subject.loaded, subject.task, units, seed) for units in chosen]
        return [round(float(one.mean()), 3) for one in into[-len(FRACTIONS) :]]

    for seed in seeds:
        scores = subject.score_maps([DEFAULT], [kind], seed, limit)[DEFAULT].scores[kind]
        before = accuracies(scores, seed, outcomes.before)
        started = time.perf_counter()
        gates = Learning(subject, kind, seed).learn(scores, steps)
        outcomes.seconds.append(time.perf_counter() - started)
        after = accuracies(gates, seed, outcomes.after)
        log(f"{subject.name} {kind.value} split {seed}: {before} -> {after}, {outcomes.seconds[-1]:.0f} s")
    worse = against_default(outcomes.before, outcomes.after)
    better = against_default(outcomes.after, outcomes.before)
    return {
        "before": _by_fraction(outcomes.before),
        "after": _by_fraction(outcomes.after),
        "difference": worse["difference"],
        "worse": worse["worse_than_default"],
        "better": better["worse_than_default"],
        "passes": round(steps * size / limit, 1),
        "seconds": round(float(np.mean(outcomes.seconds)), 1),
    }


def _by_fraction(answers: list[Bools]) -> dict[str, float]:
    step = len(FRACTIONS)
    return {
        str(fraction): round(float(np.mean([one.mean() for one in answers[first::step]])), 3)
        for first, fraction in enumerate(FRACTIONS)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="accepted for uniformity; the output is always JSON")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--kinds", nargs="+", choices=["head", "neuron"], default=["head", "neuron"])
    parser.add_argument("--splits", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=36)
    options = parser.parse_args()
    catalog, results = Catalog(DATA), {}
    if "smollm2" in options.models:
        prepare_smollm2(catalog.smollm2_folder)
    for name in options.models:
        model, task, _, _ = SETTINGS[name]
        subject = Subject(name, load(catalog.folder(model)), load_task(task))
        results[name] = {
            kind: measure(subject, UnitKind(kind), options.splits, options.steps) for kind in options.kinds
        }
    report(results)


if __name__ == "__main__":
    main()
