"""Shapley values of SmolLM2's 270 heads on world capitals, by antithetic permutations: hours of forward passes.

    python -m benchmarks.truth.smollm2_heads --minutes 60 [--threads 1]

Goes on where it was stopped; every finished pair of permutations is kept at once. The game: minus the mean loss on
the first 16 probe questions of seed 0. Truncated: see TRUNCATION and modelshapley/permutations.py.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor

from benchmarks.common import DATA
from modelshapley.catalog import SMOLLM2, Catalog
from modelshapley.demo import prepare_smollm2
from modelshapley.game import Game
from modelshapley.models import LoadedModel
from modelshapley.models import load as load_model
from modelshapley.permutations import Estimate, antithetic_pair, spread_order
from modelshapley.tasks.base import Split
from modelshapley.tasks.prefix_tree import log_likelihoods
from modelshapley.tasks.world_capitals import Question, WorldCapitals, sequel
from modelshapley.units import UnitKind

KEPT = Path(__file__).with_suffix(".safetensors")
SUMMARY = Path(__file__).with_suffix(".json")
EXAMPLES = 16
TRUNCATION = 0.1


class Together(WorldCapitals):
    """The task with the losses of all questions from one row, whose common beginnings are computed once.

    Equal, and twice as fast; only where all questions meet the same gates, as they do here.
    """

    def losses(self, loaded: LoadedModel, examples: Sequence[Question]) -> Tensor:
        return -log_likelihoods(loaded, [[sequel(loaded, q.prompt, q.choices[q.answer]) for q in examples]])


def kept() -> Estimate:
    """The pairs so far."""
    rows = load_file(KEPT)["pairs"] if KEPT.exists() else np.zeros((0, 270), np.float32)
    return Estimate(rows.astype(np.float64))


def game() -> Game:
    catalog = Catalog(DATA)
    prepare_smollm2(catalog.smollm2_folder)
    task = Together()
    examples = task.examples(Split.PROBE)[:EXAMPLES]
    return Game(load_model(catalog.folder(SMOLLM2)), task, UnitKind.HEAD, examples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    heads = game()
    empty = heads.value(np.zeros(heads.players, bool))
    everything = heads.value(np.ones(heads.players, bool))
    ends = time.monotonic() + 60 * options.minutes
    pairs = kept().pairs
    while time.monotonic() < ends:
        row = antithetic_pair(heads.walk, spread_order(heads.players, len(pairs)), empty, TRUNCATION)
        pairs = np.vstack([pairs, row])
        save_file({"pairs": pairs.astype(np.float32)}, KEPT)
        estimate = Estimate(pairs)
        summary = {
            "command": "python -m benchmarks.truth.smollm2_heads",
            "date": datetime.now(UTC).date().isoformat(),
            "model": SMOLLM2,
            "revision": heads.loaded.revision,
            "task_fingerprint": heads.task.fingerprint(0),
            "examples": EXAMPLES,
            "truncation": TRUNCATION,
            "permutations": 2 * len(pairs),
            "u_all": everything,
            "u_none": empty,
            "split_half": round(estimate.split_half(), 4),
            "reliability": round(estimate.reliability(), 4),
        }
        SUMMARY.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        print(f"{len(pairs)} pairs, split-half {summary['split_half']}", flush=True)


if __name__ == "__main__":
    main()
