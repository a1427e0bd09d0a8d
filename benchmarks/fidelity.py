"""Fidelity of each method: agreement with sampled Shapley values, and accuracy with units switched off.

    python -m benchmarks.fidelity --json [--models digits-vit smollm2] [--splits 3] [--parts heads curves]

Both demo models, heads and neurons, and SmolLM2's layers. For every method: `passes` and `seconds` (heads and
neurons of one split); `rho`, the Spearman correlation with permutation Shapley values of the same probe
examples, `corrected` for the truth's reliability; `least` and `most`, accuracy with these fractions off (mean
over the splits; `most`: of the first), and the areas under them; `worse_than_default`: p of an exact McNemar
test, one-sided, that the default keeps accuracy better over all splits and fractions of `least`, with
`difference` in accuracy (positive: the default keeps more). The truth of SmolLM2's 270 heads is the kept one
(benchmarks/truth), and so is that of its 30 layers, whose utility is accuracy; others are sampled until reliable.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import binomtest

from benchmarks.support.common import DATA, report
from benchmarks.truth import smollm2_heads, smollm2_layers
from modelshapley import load_task
from modelshapley.evaluation.faithfulness import FRACTIONS, area
from modelshapley.evaluation.intervals import Bools
from modelshapley.evaluation.sampling import stepped_up
from modelshapley.evaluation.trials import all_answers
from modelshapley.maps.compare import rank_correlation
from modelshapley.maps.importance import ImportanceMap
from modelshapley.methods import harm_of, load_method, with_harm
from modelshapley.models.catalog import DIGITS_VIT, SMOLLM2, Catalog
from modelshapley.models.demo import prepare_smollm2
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.loading import load
from modelshapley.scoring.job import Scoring, accumulate
from modelshapley.tasks.base import Task
from modelshapley.units import Deactivation, UnitKind, extreme_units

DEFAULT = "two-sided"
ONE_PASS = (
    DEFAULT,
    "mean-abs",
    "fisher-diagonal",
    "model-shapley",
    "model-shapley-paper",
    "gradient-trace",
    "gradient",
    "wanda",
    "activation",
    "magnitude",
    "random",
)
SEVERAL_PASSES = ("path-shapley", "path-shapley,points=16", "coalition-shapley", "coalition-shapley,passes=16")
READINGS = ("path-shapley,harm=0.5", "coalition-shapley,harm=0.5")
CURVED = (*ONE_PASS, "path-shapley", "coalition-shapley", *READINGS)
OF_LAYERS = ("ablation-regression",)
PARTS = ["heads", "layers", "curves"]
MOST = (0.01, 0.05)
MIN_RELIABILITY = 0.9
MODELS = ["digits-vit", "smollm2"]
HEAD, NEURON, LAYER = UnitKind.HEAD, UnitKind.NEURON, UnitKind.LAYER


@dataclass
class Subject:
    """A model on its task, with its results."""

    name: str
    loaded: LoadedModel
    task: Task[Any]
    results: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)

    def note(self, kind: UnitKind, method: str, **values: Any) -> None:
        self.results.setdefault(kind.value, {}).setdefault(method, {}).update(values)

    def score_maps(self, methods: Sequence[str], kinds: Sequence[UnitKind], seed: int, limit: int = 256) -> Maps:
        """All maps of these methods; those of one pass share it."""
        job = Scoring(self.loaded, self.task, [load_method(m) for m in methods], kinds, limit, seed)
        return job.maps(accumulate(job))

    def agree(self, kind: UnitKind, methods: Sequence[str], limit: int, truth: Truth) -> None:
        """Agreement with a truth of the first `limit` probe examples of seed 0."""
        for method in methods:
            importance_map = self.score_maps([method], [kind], 0, limit)[method]
            rho = rank_correlation(importance_map.scores[kind], truth.values)
            rounded = None if rho is None else round(rho, 3)
            corrected = None if rho is None else round(rho / np.sqrt(truth.reliability), 3)
            self.note(kind, method, passes=passes(method), rho=rounded, corrected=corrected)
            log(f"{self.name} {kind.value} {method}: rho {rounded}")
        self.note(kind, "truth", reliability=round(truth.reliability, 3), sample_truth=truth.sampled)

    def sample_truth(self, kind: UnitKind, limit: int, pairs: int, most: int) -> Truth:
        """Sample permutation Shapley values, doubling `pairs` until two halves of the examples agree."""
        while True:
            spec = f"permutation-shapley,pairs={pairs}" if pairs > 1 else "permutation-shapley"
            job = Scoring(self.loaded, self.task, [load_method(spec)], [kind], limit, 0)
            sums = accumulate(job)
            first, second = (half.scores[kind] for half in job.half_maps(sums)[spec])
            half = rank_correlation(first, second) or 0.0
            values = job.maps(sums)[spec].scores[kind]
            truth = Truth(values, stepped_up(half), f"{2 * pairs} permutations of each of {sums.done} examples")
            log(f"{self.name} {kind.value} truth: {truth.sampled}, reliability {truth.reliability:.3f}")
            if truth.reliability >= MIN_RELIABILITY or pairs >= most:
                return truth
            pairs *= 2

    def curves(self, seeds: Sequence[int], fractions: Sequence[float], kinds: Sequence[UnitKind]) -> None:
        """Measure accuracy with the least and the most important units off, with paired tests against the default."""
        answers_of: dict[tuple[UnitKind, str], list[Bools]] = {}
        tables: dict[tuple[UnitKind, str, str], list[list[float]]] = {}
        for seed in seeds:
            intact = all_answers(self.loaded, self.task, Deactivation(), seed)
            log(f"{self.name} split {seed}: intact {intact.mean():.3f}")
            for method, importance_map in self._maps(kinds, seed).items():
                for kind in kinds:
                    for which in ("least", "most") if seed == seeds[0] else ("least",):
                        plotted = fractions if which == "least" else MOST
                        outcomes = [self._without(importance_map, kind, which, fraction, seed) for fraction in plotted]
                        if which == "least":
                            answers_of.setdefault((kind, method), []).extend(outcomes)
                        row = [intact.mean(), *(answers.mean() for answers in outcomes)]
                        tables.setdefault((kind, method, which), []).append(row)
                    least = [round(float(a.mean()), 3) for a in answers_of[kind, method][-len(fractions) :]]
                    log(f"{self.name} split {seed} {kind.value} {method}: {least}")
        for (kind, method, which), rows in tables.items():
            plotted = list(fractions if which == "least" else MOST)
            start, *means = np.mean(rows, axis=0).tolist()
            by_fraction = {str(f): round(m, 3) for f, m in zip(plotted, means, strict=True)}
            self.note(kind, method, **{which: by_fraction, f"{which}_area": round(area(start, plotted, means), 3)})
        for (kind, method), answers in answers_of.items():
            if method != DEFAULT:
                self.note(kind, method, **against_default(answers_of[kind, DEFAULT], answers))

    def _maps(self, kinds: Sequence[UnitKind], seed: int) -> Maps:
        maps = self.score_maps(ONE_PASS, kinds, seed)
        for method in (DEFAULT, "path-shapley", "coalition-shapley"):
            started = time.perf_counter()
            maps |= self.score_maps([method], kinds, seed)
            for kind in kinds:
                self.note(kind, method, seconds=round(time.perf_counter() - started, 2))
        for reading in READINGS:
            harm = harm_of(reading)
            assert harm is not None
            base = next(m for m in maps if m.partition(",")[0] == reading.partition(",")[0])
            assert with_harm(base, harm) == reading
            maps[reading] = maps[base].with_harm(float(harm))
        return {method: maps[method] for method in CURVED}

    def _without(self, importance_map: ImportanceMap, kind: UnitKind, which: str, fraction: float, seed: int) -> Bools:
        return all_answers(
            self.loaded, self.task, extreme_units(importance_map.scores[kind], kind, which, fraction), seed
        )


Maps = dict[str, ImportanceMap]


@dataclass(frozen=True)
class Truth:
    """Sampled Shapley values of a kind's shape, their reliability, and how they were sampled."""

    values: np.ndarray
    reliability: float
    sampled: str


def against_default(default: list[Bools], other: list[Bools]) -> dict[str, float]:
    """Run an exact McNemar test on the same examples, splits and fractions."""
    a, b = np.concatenate(default), np.concatenate(other)
    better, worse = int((a & ~b).sum()), int((~a & b).sum())
    p = binomtest(better, better + worse, alternative="greater").pvalue if better + worse else 1.0
    return {"difference": round((better - worse) / len(a), 4), "worse_than_default": float(f"{p:.2g}")}


def passes(method: str) -> int:
    loaded = load_method(method)
    return int(loaded.parameters.get("points", loaded.parameters.get("passes", loaded.info.passes)))


def load_heads_truth() -> Truth:
    stored = smollm2_heads.load_estimate()
    return Truth(stored.values.reshape(30, 9), stored.reliability(), f"{2 * len(stored.pairs)} permutations, kept")


def load_layers_truth() -> Truth:
    stored = smollm2_layers.load_estimate("accuracy")
    sample_truth = f"{smollm2_layers.PASSES * len(stored.pairs)} coalitions, kept"
    return Truth(stored.values, stored.reliability(), sample_truth)


def log(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="accepted for uniformity; the output is always JSON")
    parser.add_argument("--models", nargs="+", choices=["digits-vit", "smollm2"], default=["digits-vit", "smollm2"])
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=PARTS, help="agreement on heads, on layers; curves"
    )
    parser.add_argument("--all-fractions", action="store_true", help="the curves' eight fractions, not three")
    options = parser.parse_args()
    fractions = FRACTIONS if options.all_fractions else (0.2, 0.4, 0.6)
    catalog, results = Catalog(DATA), {}
    methods = (*ONE_PASS, *SEVERAL_PASSES)
    if "digits-vit" in options.models:
        vit = Subject("digits-vit", load(catalog.folder(DIGITS_VIT)), load_task("digits"))
        if "heads" in options.parts:
            vit.agree(HEAD, methods, 256, vit.sample_truth(HEAD, 256, 4, 16))
        if "curves" in options.parts:
            vit.curves(range(options.splits), fractions, (HEAD, NEURON))
        results[vit.name] = vit.results
    if "smollm2" in options.models:
        prepare_smollm2(catalog.smollm2_folder)
        llm = Subject("smollm2", load(catalog.folder(SMOLLM2)), load_task("world-capitals"))
        if "heads" in options.parts:
            llm.agree(HEAD, methods, smollm2_heads.EXAMPLES, load_heads_truth())
        if "layers" in options.parts:
            llm.agree(LAYER, (*methods, *OF_LAYERS), smollm2_layers.EXAMPLES, load_layers_truth())
        if "curves" in options.parts:
            llm.curves(range(options.splits), fractions, (HEAD, NEURON))
        results[llm.name] = llm.results
    report(results)


if __name__ == "__main__":
    main()
