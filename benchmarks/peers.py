"""Agreement of shapiq's samplers with sampled Shapley values at our passes, and the passes until they agree as well.

    python -m benchmarks.peers --json [--games digits-vit smollm2] [--budgets 3 24 96 384] [--samplers OddSHAP ...]

Two games whose players are heads: the digits ViT's 16 on its probe images, and SmolLM2's 270 on 16 questions. Work is
counted in forward passes over the game's examples, a backward pass counting two; a sampler evaluates one coalition a
pass. `ours`: agreement (Spearman) of each method with the reference, and its work; `best` is the one that agrees most.
`samplers`: agreement at each budget, or why the sampler cannot start with it; one that has agreed as well as our best
method is not given more. `reached`: the work with which each first did so; null where it did not.

shapiq from 1.6 has OddSHAP, ProxySHAP and others, and needs Python 3.12. Samplers that the installed one lacks are left
out. Those that take weights of coalition sizes get equal ones, which are the default of OddSHAP and ProxySHAP, so that
they can share coalitions: one is evaluated once.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from importlib import import_module
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np

from benchmarks.fidelity import DEFAULT, HEAD, Subject, Truth, load_heads_truth, log, passes
from benchmarks.support.common import DATA, report
from benchmarks.truth import smollm2_heads
from benchmarks.truth.estimates import CachedGame
from modelshapley import load_task
from modelshapley.evaluation.game import Game
from modelshapley.maps.compare import rank_correlation
from modelshapley.models.catalog import DIGITS_VIT, Catalog
from modelshapley.models.loading import load
from modelshapley.tasks.base import Split

METHODS = (DEFAULT, "mean-abs", "path-shapley", "coalition-shapley")
IMAGES = 256
SAMPLERS: dict[str, dict[str, Any]] = {
    "OddSHAP": {},
    "ProxySHAP": {"index": "SV", "max_order": 1},
    "ProxySHAP adjusted": {"index": "SV", "max_order": 1, "adjustment": True},
    "RegressionMSR": {"index": "SV"},
    "LeverageSHAP": {},
    "KernelSHAP": {"pairing_trick": True},
    "PermutationSamplingSV": {},
    "SVARM": {},
}
WEIGHTED = ("OddSHAP", "ProxySHAP", "ProxySHAP adjusted", "RegressionMSR", "KernelSHAP")


class Sampler(Protocol):
    """An approximator of shapiq."""

    def approximate(self, budget: int, game: CachedGame) -> Any: ...


def vit_game() -> tuple[Game, Subject, Truth, int]:
    """Return the game of the ViT's heads, what our methods score, the reference and the number of examples."""
    loaded, task = load(Catalog(DATA).folder(DIGITS_VIT)), load_task("digits")
    subject = Subject("digits-vit", loaded, task)
    game = Game(loaded, task, HEAD, task.select(loaded, Split.PROBE, 0, IMAGES))
    return game, subject, subject.sample_truth(HEAD, IMAGES, 4, 16), IMAGES


def smollm2_game() -> tuple[Game, Subject, Truth, int]:
    """Return the same for SmolLM2, with the stored reference."""
    game = smollm2_heads.game()
    subject = Subject("smollm2", game.loaded, load_task("world-capitals"))
    return game, subject, load_heads_truth(), smollm2_heads.EXAMPLES


GAMES = {"digits-vit": vit_game, "smollm2": smollm2_game}


def ours(subject: Subject, truth: Truth, examples: int) -> dict[str, dict[str, float]]:
    """Return {method: its agreement and its work}."""
    subject.agree(HEAD, METHODS, examples, truth)
    rows = subject.results[HEAD.value]
    return {spec: {"rho": rows[spec]["rho"] or 0.0, "work": 3 * passes(spec)} for spec in METHODS}


def make_sampler(name: str, players: int) -> Sampler | None:
    """Make shapiq's sampler of this name with seed 0; None where the installed shapiq lacks it."""
    kind = getattr(import_module("shapiq.approximator"), name.partition(" ")[0], None)
    if kind is None:
        return None
    weights = {"sampling_weights": np.ones(players + 1)} if name in WEIGHTED else {}
    sampler: Sampler = kind(players, random_state=0, **SAMPLERS[name], **weights)
    return sampler


def agreement(name: str, budget: int, game: CachedGame, players: int, truth: Truth) -> float | str | None:
    """Return how well a sampler's values agree after so many passes, or why it has none; None if it is missing."""
    sampler = make_sampler(name, players)
    if sampler is None:
        return None
    try:
        values = sampler.approximate(budget, game)
    except (ValueError, ArithmeticError, LookupError) as error:
        return str(error).splitlines()[0] or type(error).__name__
    found = np.array([values[(player,)] for player in range(players)])
    rho = rank_correlation(found, truth.values.reshape(-1)) if np.isfinite(found).all() else None
    return round(rho, 3) if rho is not None else "all values are equal" if found.any() else "all values are zero"


def compare(name: str, samplers: list[str], budgets: list[int]) -> dict[str, Any]:
    """Compare the samplers with our methods on one game."""
    game, subject, truth, examples = GAMES[name]()
    methods = ours(subject, truth, examples)
    best = max(methods, key=lambda spec: methods[spec]["rho"])
    cached, curves, reached = CachedGame(game), dict[str, dict[int, float | str]](), dict[str, int | None]()
    for sampler in samplers:
        for budget in sorted(budgets):
            rho = agreement(sampler, budget, cached, game.players, truth)
            if rho is None:
                break
            log(f"{name} {sampler}, {budget} passes: {rho}")
            curves.setdefault(sampler, {})[budget] = rho
            reached[sampler] = budget if isinstance(rho, float) and rho >= methods[best]["rho"] else None
            if reached[sampler]:
                break
    about = {"reliability": round(truth.reliability, 3), "sampled": truth.sampled}
    return {"truth": about, "ours": methods, "best": best, "samplers": curves, "reached": reached}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="accepted for uniformity; the output is always JSON")
    parser.add_argument("--games", nargs="+", choices=list(GAMES), default=list(GAMES))
    parser.add_argument("--budgets", nargs="+", type=int, default=[3, 24, 96, 384])
    parser.add_argument("--samplers", nargs="+", choices=list(SAMPLERS), default=list(SAMPLERS))
    options = parser.parse_args()
    logging.getLogger("shapiq").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="shapiq")
    games = {name: compare(name, options.samplers, options.budgets) for name in options.games}
    report({"shapiq": version("shapiq"), "games": games})


if __name__ == "__main__":
    main()
