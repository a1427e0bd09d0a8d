"""Shapley values of SmolLM2's 30 layers on world capitals, by stratified sampling of coalitions.

    python -m benchmarks.truth.smollm2_layers --utility accuracy --minutes 60 [--threads 1]

It continues where it was stopped; every finished round is saved at once. The game: see benchmarks.truth.estimates.
Walks along permutations do not do here: with many layers off one more leaving moves the loss by tens of nats. shapiq's
SVARMIQ measures the smallest and largest coalitions all, and lets each other one tell of every layer, in it or not
(Kolpaczki et al. 2024). A round is one unbiased estimate, of PASSES coalitions.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from shapiq.approximator import SVARMIQ

from benchmarks.truth import estimates
from benchmarks.truth.smollm2_heads import SharedPrefixCapitals
from modelshapley.evaluation.game import Utility
from modelshapley.evaluation.sampling import Estimate
from modelshapley.units import UnitKind

EXAMPLES = estimates.EXAMPLES
PASSES = 600


def file_of(utility: Utility) -> Path:
    return Path(__file__).with_name(f"smollm2_layers_{utility}.safetensors")


def load_estimate(utility: Utility) -> Estimate:
    """Load the rounds sampled so far."""
    return estimates.load_estimate(file_of(utility), 30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utility", choices=get_args(Utility), default="accuracy")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    layers = estimates.game(UnitKind.LAYER, SharedPrefixCapitals(), options.utility)
    cached_game = estimates.CachedGame(layers)
    empty, full = (float(cached_game(np.full(layers.players, on))[0]) for on in (False, True))
    command = f"benchmarks.truth.smollm2_layers --utility {options.utility}"
    deadline = time.monotonic() + 60 * options.minutes
    rounds = load_estimate(options.utility).pairs
    while time.monotonic() < deadline:
        sampler = SVARMIQ(layers.players, max_order=1, index="SV", random_state=len(rounds))
        values = sampler.approximate(PASSES, cached_game)
        rounds = np.vstack([rounds, [values[(player,)] for player in range(layers.players)]])
        about = {"coalitions": PASSES * len(rounds), "u_all": full, "u_none": empty}
        summary = estimates.save_estimate(file_of(options.utility), command, layers, Estimate(rounds), **about)
        print(f"{len(rounds)} rounds, split-half {summary['split_half']}", flush=True)


if __name__ == "__main__":
    main()
