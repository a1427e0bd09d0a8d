"""Shapley values of SmolLM2's 30 layers on world capitals, by stratified sampling of coalitions.

    python -m benchmarks.truth.smollm2_layers --utility accuracy --minutes 60 [--threads 1]

Goes on where it was stopped; every finished round is kept at once. The game: see benchmarks.truth.keeping. Walks
along permutations do not do here: with many layers off one more leaving moves the loss by tens of nats. shapiq's
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

from benchmarks.truth import keeping
from benchmarks.truth.smollm2_heads import Together
from modelshapley.evaluation.game import Utility
from modelshapley.evaluation.sampling import Estimate
from modelshapley.units import UnitKind

EXAMPLES = keeping.EXAMPLES
PASSES = 600


def file_of(utility: Utility) -> Path:
    return Path(__file__).with_name(f"smollm2_layers_{utility}.safetensors")


def kept(utility: Utility) -> Estimate:
    """The rounds so far."""
    return keeping.kept(file_of(utility), 30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utility", choices=get_args(Utility), default="accuracy")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    layers = keeping.game(UnitKind.LAYER, Together(), options.utility)
    measured = keeping.Measured(layers)
    empty, everything = (float(measured(np.full(layers.players, on))[0]) for on in (False, True))
    command = f"benchmarks.truth.smollm2_layers --utility {options.utility}"
    ends = time.monotonic() + 60 * options.minutes
    rounds = kept(options.utility).pairs
    while time.monotonic() < ends:
        sampler = SVARMIQ(layers.players, max_order=1, index="SV", random_state=len(rounds))
        found = sampler.approximate(PASSES, measured)
        rounds = np.vstack([rounds, [found[(player,)] for player in range(layers.players)]])
        about = {"coalitions": PASSES * len(rounds), "u_all": everything, "u_none": empty}
        summary = keeping.keep(file_of(options.utility), command, layers, Estimate(rounds), **about)
        print(f"{len(rounds)} rounds, split-half {summary['split_half']}", flush=True)


if __name__ == "__main__":
    main()
