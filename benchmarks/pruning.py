"""Smaller models: what `recommend` finds beside single methods, at equal numbers of parameters, in one run.

    python -m benchmarks.pruning --json [--model digits-vit] [--seeds 3] [--shares 0.1 0.2 0.3 0.4] [--partial FILE]

For each model, seed (which splits probe and test examples anew) and share of the parameters to remove, on all test
examples: accuracy of `ours` (applications.recommend) and of its peers, none of which has seen those examples:
`two-sided` (neurons, heads and layers by score a parameter), `magnitude`, `wanda`, `taylor` (mean |dLoss/dgate|, the
first-order score), each with neurons alone, else heads, else layers, whichever can reach the size first, `shortgpt`
(layers by block influence) and `random` (as magnitude, in random order). A peer that cannot reach the size is left out.
One pass scores for all sizes of a seed. --partial keeps what is measured in a file, and continues from it.

`ours_minus_best_peer`: accuracy of ours minus that of the peer that is best on the test examples, in hindsight, paired
over the examples of all seeds, with its 95 % interval, which takes the seeds of an example as one. `perplexity`: of a
token of solved problems of GSM8K (tests/data), which nothing was chosen by, with seed 0; language models only.
`reload_max_logit_difference` and `bytes_prediction_error`: of saving ours with seed 0. `forward_ratio_25`: CPU-seconds
of a forward pass without 25 % of the neurons of each layer, against the parent, medians of interleaved passes. ours is
measured as it is saved, in masked form.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.support.common import DATA, report
from benchmarks.support.pruned import Measured, compare
from benchmarks.support.solved import solved_problems
from modelshapley import load_model, load_task
from modelshapley.applications.baselines.block_influence import block_influence
from modelshapley.applications.plans import plan_pruning
from modelshapley.applications.proof import without_units
from modelshapley.applications.pruning import predict, prune, whole_size
from modelshapley.applications.recommending.candidates import Budget, Chooser, by_value
from modelshapley.applications.recommending.recommend import recommend, score_choosers
from modelshapley.applications.selection import least_important
from modelshapley.applications.surgery import smaller_model
from modelshapley.evaluation.accuracy import evaluate
from modelshapley.evaluation.trials import all_answers
from modelshapley.maps.importance import ImportanceMap
from modelshapley.methods import load_method
from modelshapley.models.catalog import DIGITS_VIT, SMOLLM2
from modelshapley.models.loaded import LoadedModel
from modelshapley.scoring.job import Scoring, score
from modelshapley.tasks.base import Split, Task
from modelshapley.units import DEFAULT_KINDS, Deactivation, UnitKind

TASKS = {DIGITS_VIT: "digits", SMOLLM2: "world-capitals"}
PEERS = {"magnitude": "magnitude", "wanda": "wanda", "taylor": "mean-abs", "random": "random"}
SIMPLE = (UnitKind.NEURON, UnitKind.HEAD, UnitKind.LAYER)
LIMIT, TOKENS, PASSES, TEXTS = 256, 64, 15, 12


class Bench:
    """One model, task and seed. Each set of units is measured once, whichever methods choose it at whichever size."""

    def __init__(self, loaded: LoadedModel, task: Task[Any], seed: int) -> None:
        self.loaded, self.task, self.seed = loaded, task, seed
        self.examples = [self._name(example) for example in task.select(loaded, Split.TEST, seed)]
        self.whole = whole_size(loaded)
        self.choosers = score_choosers(loaded, task, limit=LIMIT, seed=seed)
        self.peers = self._peers()
        self.text = solved_problems(TEXTS) if loaded.anatomy.modality == "text" and seed == 0 else None
        self._known: dict[str, tuple[list[float], float | None]] = {}

    def _name(self, example: Any) -> str:
        shown = self.task.display(None, example)
        return hashlib.sha256(f"{shown.text} {shown.image}".encode()).hexdigest()[:12]

    def _peers(self) -> dict[str, Chooser]:
        loaded, task, seed = self.loaded, self.task, self.seed
        kinds = [kind for kind in DEFAULT_KINDS if kind in loaded.anatomy.shapes.kinds]
        methods = [load_method(method) for method in ("two-sided", *PEERS.values())]
        maps = score(Scoring(loaded, task, methods, kinds, LIMIT, seed))
        choosers = {"two-sided": Chooser(maps["two-sided"])}
        choosers |= {name: Chooser(maps[method]) for name, method in PEERS.items()}
        return choosers | {"shortgpt": Chooser(block_influence(loaded, task, LIMIT, seed))}

    def size(self, share: float) -> tuple[Measured, Deactivation]:
        """Measure ours and all peers at a size; return also the units of ours."""
        budget = Budget(self.loaded, self.whole, int((1 - share) * self.whole.parameters))
        found = recommend(self.loaded, self.task, share=share, choosers=self.choosers, limit=LIMIT, seed=self.seed)
        chosen = {"intact": Deactivation(), "ours": found.best}
        for name, chooser in self.peers.items():
            units = units_of(budget, name, chooser)
            if units is not None:
                chosen[name] = units
        results = {name: self.measure(units) for name, units in chosen.items()}
        outcomes = {name: outcome for name, (outcome, _) in results.items()}
        perplexity = {name: value for name, (_, value) in results.items() if value is not None}
        name = found.report.candidates[found.report.best].name
        return Measured(self.seed, share, self.examples, outcomes, perplexity, name), found.best

    def measure(self, units: Deactivation) -> tuple[list[float], float | None]:
        """Return the outcomes of all test examples, and the perplexity where there is a text."""
        if units.key() not in self._known:
            with without_units(self.loaded, plan_pruning(self.loaded, units), units):
                outcomes = all_answers(self.loaded, self.task, Deactivation(), self.seed)
                text = self.text
                read = text and evaluate(self.loaded, text, Deactivation(), text.select(self.loaded, Split.TEST), 0)
            self._known[units.key()] = [float(one) for one in outcomes], read.perplexity if read else None
        return self._known[units.key()]


def units_of(budget: Budget, name: str, chooser: Chooser) -> Deactivation | None:
    """Units of a peer at the wanted size; None where it cannot reach it."""
    if name == "two-sided":
        shares = by_value(budget, chooser)
    else:
        kinds = [kind for kind in SIMPLE if kind in chooser.map_of(kind).scores and budget.possible(kind)]
        ways = (budget.divided({kind: 1.0}) for kind in kinds)
        shares = next((way for way in ways if way is not None), None)
    return None if shares is None else chooser.choose(budget.loaded, shares)


def saved(loaded: LoadedModel, task: Task[Any], units: Deactivation, intact: Sequence[float]) -> dict[str, Any]:
    """Return the largest logit difference after reloading, and the error of the predicted bytes, of a saved model."""
    predicted = predict(loaded, units).size.bytes
    with tempfile.TemporaryDirectory() as folder:
        info = prune(loaded, task, units, Path(folder) / "smaller", intact=np.array(intact) > 0)
        size = (Path(folder) / "smaller" / "model.safetensors").stat().st_size
    return {"reload": info.reload_max_logit_difference, "bytes_error": abs(size - predicted)}


def forward_ratio(loaded: LoadedModel) -> float:
    """CPU-seconds of a pass without 25 % of the neurons of each layer, against the parent."""
    shapes = loaded.anatomy.shapes
    flat = {UnitKind.NEURON: np.zeros(shapes.of(UnitKind.NEURON))}
    units = least_important(ImportanceMap("none", "", False, flat, flat), loaded.anatomy, UnitKind.NEURON, 0.25)
    smaller = smaller_model(loaded, plan_pruning(loaded, units), torch.float32)
    tokens = torch.randint(0, 1000, (4, TOKENS))
    pixels = torch.randn(64, 1, 8, 8)
    inputs = tokens if loaded.anatomy.modality == "text" else pixels
    times: dict[int, list[float]] = {0: [], 1: []}
    with torch.inference_mode():
        for number in range(2 * PASSES + 2):
            model = (loaded.model, smaller)[number % 2]
            started = time.process_time()
            model(inputs)
            times[number % 2].append(time.process_time() - started)
    return statistics.median(times[1][1:]) / statistics.median(times[0][1:])


def measure_model(model: str, shares: Sequence[float], seeds: int, data: Path, partial: Path | None) -> dict[str, Any]:
    known = _read(partial, model)
    loaded, task = load_model(model, data=data), load_task(TASKS[model], data=data)
    if "forward_ratio_25" not in known:
        _keep(partial, model, known, "forward_ratio_25", round(forward_ratio(loaded), 3))
    for seed in range(seeds):
        bench = None
        for share in shares:
            if f"{seed} {share:g}" in known:
                continue
            bench = bench or Bench(loaded, task, seed)
            measured, units = bench.size(share)
            if seed == 0:
                measured.saved = saved(loaded, task, units, measured.outcomes["intact"])
            _keep(partial, model, known, f"{seed} {share:g}", measured.as_json())
    sizes = {share: [Measured(**known[f"{seed} {share:g}"]) for seed in range(seeds)] for share in shares}
    proofs = [one.saved for measured in sizes.values() for one in measured if one.saved is not None]
    return {
        "forward_ratio_25": known["forward_ratio_25"],
        "sizes": {f"{share:g}": compare(measured) for share, measured in sizes.items()},
        "reload_max_logit_difference": max(proof["reload"] for proof in proofs),
        "bytes_prediction_error": max(proof["bytes_error"] for proof in proofs),
    }


def _read(partial: Path | None, model: str) -> dict[str, Any]:
    """Return what an earlier call has measured of a model."""
    if partial is None or not partial.exists():
        return {}
    lines = [json.loads(line) for line in partial.read_text(encoding="utf-8").splitlines()]
    return {line["key"]: line["value"] for line in lines if line["model"] == model}


def _keep(partial: Path | None, model: str, known: dict[str, Any], key: str, value: Any) -> None:
    known[key] = value
    if partial is not None:
        with partial.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"model": model, "key": key, "value": value}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one line of JSON (the default)")
    parser.add_argument("--model", choices=["digits-vit", "smollm2-135m"], nargs="*")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--shares", type=float, nargs="*", default=[0.1, 0.2, 0.3, 0.4])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--partial", type=Path, help="file that keeps what is measured; the same call continues there")
    given = parser.parse_args()
    models = [f"demo:{name}" for name in given.model or ["digits-vit", "smollm2-135m"]]
    report({model: measure_model(model, given.shares, given.seeds, given.data, given.partial) for model in models})


if __name__ == "__main__":
    main()
