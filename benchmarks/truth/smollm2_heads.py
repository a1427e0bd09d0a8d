"""Shapley values of SmolLM2's 270 heads on world capitals, by antithetic permutations: hours of forward passes.

    python -m benchmarks.truth.smollm2_heads --minutes 60 [--threads 1]

Goes on where it was stopped; every finished pair of permutations is kept at once. The game: see
benchmarks.truth.keeping. Truncated: see TRUNCATION and modelshapley/evaluation/sampling.py.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.truth import keeping
from modelshapley.evaluation.game import Game
from modelshapley.evaluation.sampling import Estimate, antithetic_pair, spread_order
from modelshapley.models.loading import LoadedModel
from modelshapley.tasks.builtin.world_capitals import Question, WorldCapitals, tokenize_continuation
from modelshapley.tasks.language.prefix_tree import log_likelihoods
from modelshapley.units import UnitKind

KEPT = Path(__file__).with_suffix(".safetensors")
COMMAND = "benchmarks.truth.smollm2_heads"
EXAMPLES = keeping.EXAMPLES
TRUNCATION = 0.1


class Together(WorldCapitals):
    """The task with the losses of all questions from one row, whose common beginnings are computed once.

    Equal, and twice as fast; only where all questions meet the same gates, as they do here.
    """

    def losses(self, loaded: LoadedModel, examples: Sequence[Question]) -> Tensor:
        return -log_likelihoods(
            loaded, [[tokenize_continuation(loaded, q.prompt, q.choices[q.answer]) for q in examples]]
        )


def kept() -> Estimate:
    """The pairs so far."""
    return keeping.kept(KEPT, 270)


def game() -> Game:
    return keeping.game(UnitKind.HEAD, Together())


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
        about = {"truncation": TRUNCATION, "permutations": 2 * len(pairs), "u_all": everything, "u_none": empty}
        summary = keeping.keep(KEPT, COMMAND, heads, Estimate(pairs), **about)
        print(f"{len(pairs)} pairs, split-half {summary['split_half']}", flush=True)


if __name__ == "__main__":
    main()
