"""Shapley values of SmolLM2's 270 heads on world capitals, by antithetic permutations: hours of forward passes.

    python -m benchmarks.truth.smollm2_heads --minutes 60 [--threads 1]

It continues where it was stopped; every finished pair of permutations is saved at once. The game: see
benchmarks.truth.estimates. Truncated: see TRUNCATION and modelshapley/evaluation/sampling.py.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.truth import estimates
from modelshapley.evaluation.game import Game
from modelshapley.evaluation.sampling import Estimate, antithetic_pair, spread_order
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.passes.prefix_tree import log_likelihoods
from modelshapley.tasks.builtin.world_capitals import Question, WorldCapitals, tokenize_continuation
from modelshapley.units import UnitKind

ESTIMATE_FILE = Path(__file__).with_suffix(".safetensors")
COMMAND = "benchmarks.truth.smollm2_heads"
EXAMPLES = estimates.EXAMPLES
TRUNCATION = 0.1


class SharedPrefixCapitals(WorldCapitals):
    """The task with the losses of all questions from one row, whose common prefixes are computed once.

    The result is equal and twice as fast; it needs the same gates for all questions, as in this game.
    """

    def losses(self, loaded: LoadedModel, examples: Sequence[Question]) -> Tensor:
        return -log_likelihoods(
            loaded, [[tokenize_continuation(loaded, q.prompt, q.choices[q.answer]) for q in examples]]
        )


def load_estimate() -> Estimate:
    """Load the pairs sampled so far."""
    return estimates.load_estimate(ESTIMATE_FILE, 270)


def game() -> Game:
    return estimates.game(UnitKind.HEAD, SharedPrefixCapitals())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    heads = game()
    empty = heads.value(np.zeros(heads.players, bool))
    full = heads.value(np.ones(heads.players, bool))
    deadline = time.monotonic() + 60 * options.minutes
    pairs = load_estimate().pairs
    while time.monotonic() < deadline:
        pair = antithetic_pair(heads.walk, spread_order(heads.players, len(pairs)), empty, TRUNCATION)
        pairs = np.vstack([pairs, pair])
        about = {"truncation": TRUNCATION, "permutations": 2 * len(pairs), "u_all": full, "u_none": empty}
        summary = estimates.save_estimate(ESTIMATE_FILE, COMMAND, heads, Estimate(pairs), **about)
        print(f"{len(pairs)} pairs, split-half {summary['split_half']}", flush=True)


if __name__ == "__main__":
    main()
