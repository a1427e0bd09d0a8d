"""Work that shapiq's permutation sampler needs for the same agreement, on the game of SmolLM2's heads.

    python -m benchmarks.peers --json [--permutations 24]

Work is counted in forward passes over the 16 probe examples of the game, a backward pass counting two. `ours`:
agreement (Spearman) of each method with the kept truth (benchmarks/truth), and its work; `best` is the one that
agrees most. `peer`: the sampler's agreement as its permutations grow; every coalition is one forward pass.
`ratio` = the peer's work when it first agrees as well as our best / our best's work; null where it did not within
`--permutations`, and then `ratio_at_least` is what it had spent by then.
"""

from __future__ import annotations

import argparse
import logging
from typing import Any

import numpy as np
from shapiq.approximator import PermutationSamplingSV

from benchmarks.fidelity import DEFAULT, SEVERAL_PASSES, load_heads_truth, log, passes
from benchmarks.support.common import report
from benchmarks.truth import smollm2_heads
from benchmarks.truth.estimates import CachedGame
from modelshapley import load_task
from modelshapley.evaluation.game import Game
from modelshapley.maps.compare import rank_correlation
from modelshapley.methods import load_method
from modelshapley.scoring.job import Scoring, score
from modelshapley.units import UnitKind

METHODS = (DEFAULT, "mean-abs", "path-shapley,points=2", *SEVERAL_PASSES)


def ours(game: Game, truth: np.ndarray) -> dict[str, dict[str, float]]:
    """Return {method: its agreement and its work}."""
    results = {}
    for spec in METHODS:
        job = Scoring(
            game.loaded, load_task("world-capitals"), [load_method(spec)], [UnitKind.HEAD], smollm2_heads.EXAMPLES
        )
        rho = rank_correlation(next(iter(score(job).values())).scores[UnitKind.HEAD], truth)
        results[spec] = {"rho": round(rho or 0.0, 4), "work": 3 * passes(spec)}
        log(f"{spec}: {results[spec]}")
    return results


class Peer:
    """shapiq's sampler, stopped after more and more permutations."""

    def __init__(self, game: Game, seed: int) -> None:
        self._game, self._seed = game, seed
        self._measured = CachedGame(game)

    def sample_values(self, permutations: int) -> tuple[np.ndarray, int]:
        """Return Shapley values after so many permutations, and the number of forward passes."""
        sampler = PermutationSamplingSV(self._game.players, random_state=self._seed)
        budget = 2 + permutations * (self._game.players - 1)
        values = sampler.approximate(budget, self._measured, batch_size=1)
        return np.array([values[(player,)] for player in range(self._game.players)]), budget


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="accepted for uniformity; the output is always JSON")
    parser.add_argument("--permutations", type=int, default=24)
    options = parser.parse_args()
    logging.getLogger("shapiq").setLevel(logging.ERROR)
    game, truth = smollm2_heads.game(), load_heads_truth()
    methods = ours(game, truth.values)
    best = max(methods, key=lambda spec: methods[spec]["rho"])
    peer, curve, results = Peer(game, 0), [], {}
    for permutations in range(1, options.permutations + 1):
        values, work = peer.sample_values(permutations)
        rho = rank_correlation(values, truth.values) or 0.0
        curve.append({"permutations": permutations, "rho": round(rho, 4), "work": work})
        log(f"shapiq: {curve[-1]}")
        if rho >= methods[best]["rho"]:
            results["ratio"] = round(work / methods[best]["work"], 1)
            break
    reached: dict[str, Any] = results or {
        "ratio": None,
        "ratio_at_least": round(curve[-1]["work"] / methods[best]["work"], 1),
    }
    report(
        {"truth": {"reliability": round(truth.reliability, 3), "sampled": truth.sampled}}
        | {"ours": methods, "best": best, "peer": curve, **reached}
    )


if __name__ == "__main__":
    main()
