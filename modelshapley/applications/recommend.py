"""Which units to remove, by which importance, for one model, task and size: measured, not assumed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from modelshapley.applications.block_influence import BLOCK_INFLUENCE, block_influence
from modelshapley.applications.candidates import Budget, Chooser, Proposal, proposals
from modelshapley.applications.proof import without_units
from modelshapley.applications.pruning import whole_size
from modelshapley.applications.sizes import WeightsSize
from modelshapley.contracts.applications.recommendations import Candidate, Recommendation, Rivalry
from modelshapley.errors import ModelShapleyError
from modelshapley.evaluation.accuracy import Evaluation, evaluate
from modelshapley.evaluation.intervals import mean_half_width, paired_difference
from modelshapley.evaluation.trials import compare
from modelshapley.formatting import points, points_interval, score
from modelshapley.maps.importance import ImportanceMap
from modelshapley.methods import load_method
from modelshapley.models.loaded import LoadedModel
from modelshapley.scoring.job import Scoring
from modelshapley.scoring.job import score as run_scoring
from modelshapley.tasks.base import Split, Task
from modelshapley.units import DEFAULT_KINDS, Deactivation

METHODS = ("two-sided", "mean-abs", "wanda", "magnitude")
"""Methods that are compared by default; layers are also chosen by block influence."""
MIN_EXAMPLES = 16
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Recommended:
    """A recommendation with the units of each candidate and the map that chose them, in the order of its candidates."""

    report: Recommendation
    units: Sequence[Deactivation]
    maps: Sequence[ImportanceMap]

    @property
    def best(self) -> Deactivation:
        return self.units[self.report.best]

    @property
    def best_map(self) -> ImportanceMap:
        return self.maps[self.report.best]


def recommend(
    loaded: LoadedModel,
    task: Task[Any],
    *,
    share: float | None = None,
    size: int | None = None,
    methods: Sequence[str] = METHODS,
    limit: int = 256,
    seed: int = 0,
    on_progress: Progress = lambda done, total: None,
    pause: Callable[[], None] = lambda: None,
) -> Recommended:
    """Find the units whose removal costs the least accuracy at a wanted size.

    share: of the parameters to remove, 0 to 1; or size: largest number of bytes of the weights file. The first `limit`
    probe examples are cut in two: all methods score the first half in one pass, candidates across kinds of unit are
    measured on the second. The best has the highest accuracy; among those that it does not beat by a paired 95 %
    interval, the lowest mean loss, which tells more from few examples. Nothing here has seen the test examples.

    on_progress: called with the numbers of measured and of all candidates. pause: called between two passes, and may
    raise to stop. Raises TaskMismatch, UnknownName for methods, and ModelShapleyError for a size that cannot be reached
    or fewer than 16 probe examples.
    """
    task.check(loaded)
    examples = task.select(loaded, Split.PROBE, seed, limit)
    scored = len(examples) // 2
    if len(examples) < MIN_EXAMPLES:
        raise ModelShapleyError(
            f"A recommendation needs at least {MIN_EXAMPLES} probe examples, half to score and half to measure, but "
            f"there are {len(examples)}."
        )
    whole = whole_size(loaded)
    budget = Budget(loaded, whole, _target(loaded, whole, share, size))
    choosers = _choosers(loaded, task, methods, scored, seed, pause)
    ways = list(proposals(budget, choosers))
    if not ways:
        raise ModelShapleyError(
            f"{loaded.id!r} cannot be cut to {budget.target:,} of {budget.whole.parameters:,} parameters: the family "
            f"{loaded.anatomy.model_type} leaves out too few kinds of unit for that (docs/apply.md). Ask for a "
            "smaller share."
        )
    intact = evaluate(loaded, task, Deactivation(), examples[scored:])
    results = []
    for done, way in enumerate(ways):
        on_progress(done, len(ways))
        with without_units(loaded, way.prediction.plan, way.units):
            results.append(evaluate(loaded, task, Deactivation(), examples[scored:]))
        pause()
    on_progress(len(ways), len(ways))
    report = _report(loaded, task, seed, budget, scored, ways, results, intact)
    return Recommended(report, [way.units for way in ways], [way.chooser.importance_map for way in ways])


def _target(loaded: LoadedModel, whole: WeightsSize, share: float | None, size: int | None) -> int:
    """Return the wanted number of parameters. Raises ModelShapleyError for neither, both, or impossible ones."""
    if (share is None) == (size is None):
        raise ModelShapleyError("Give either the share of parameters to remove, or the largest size in bytes.")
    if share is not None:
        if not 0 < share < 1:
            raise ModelShapleyError(f"The share of parameters to remove lies between 0 and 1, not at {share:g}.")
        return int((1 - share) * whole.parameters)
    assert size is not None
    width = (whole.bytes // whole.parameters) or 1
    if not 0 < size < whole.bytes:
        raise ModelShapleyError(
            f"The wanted size must be below the {whole.bytes:,} bytes of {loaded.id!r}, not {size:,}."
        )
    # The header of the smaller file is never longer than that of the whole one.
    return max(0, (size - (whole.bytes - whole.parameters * width)) // width)


def _choosers(
    loaded: LoadedModel, task: Task[Any], methods: Sequence[str], limit: int, seed: int, pause: Callable[[], None]
) -> list[Chooser]:
    """Score all methods in one pass; each chooses alone, and the first also with layers by block influence."""
    shapes = loaded.anatomy.shapes
    kinds = [kind for kind in DEFAULT_KINDS if kind in shapes.kinds]
    chosen = [load_method(method) for method in methods if method != BLOCK_INFLUENCE]
    maps = run_scoring(Scoring(loaded, task, chosen, kinds, limit, seed, pause=pause)) if chosen else {}
    choosers = [Chooser(importance_map) for importance_map in maps.values()]
    layers = block_influence(loaded, task, limit, seed)
    if choosers:
        choosers.append(Chooser(choosers[0].importance_map, layers))
    choosers.append(Chooser(layers))
    return choosers


def _report(
    loaded: LoadedModel,
    task: Task[Any],
    seed: int,
    budget: Budget,
    scored: int,
    ways: Sequence[Proposal],
    results: Sequence[Evaluation],
    intact: Evaluation,
) -> Recommendation:
    candidates = [
        Candidate(
            method=way.chooser.importance_map.method,
            layer_method=None if way.chooser.layers is None else way.chooser.layers.method,
            spend=way.spend,
            off={kind: count for kind, count in way.units.counts().items() if count},
            parameters=way.prediction.size.parameters,
            bytes=way.prediction.size.bytes,
            measured=compare(result.outcomes, intact.outcomes),
            loss=result.loss,
        )
        for way, result in zip(ways, results, strict=True)
    ]
    best = choose_best(results)
    rivalry = _rivalry(candidates, results, best)
    return Recommendation(
        model=loaded.id,
        task=task.info.id,
        seed=seed,
        target_parameters=budget.target,
        parent_parameters=budget.whole.parameters,
        parent_bytes=budget.whole.bytes,
        scored=scored,
        measured=len(intact.outcomes),
        candidates=candidates,
        best=best,
        frontier=frontier(candidates),
        rivalry=rivalry,
        verdict=_verdict(candidates, best, rivalry),
    )


def choose_best(results: Sequence[Evaluation]) -> int:
    """Return the place of the best: lowest loss among those whose accuracy the highest does not clearly beat."""
    highest = max(range(len(results)), key=lambda place: (results[place].accuracy, -results[place].loss))
    tied = [
        place
        for place, result in enumerate(results)
        if paired_difference(results[highest].outcomes, result.outcomes)[1][0] <= 0
    ]
    return min([*tied, highest], key=lambda place: results[place].loss)


def frontier(candidates: Sequence[Candidate]) -> list[int]:
    """Return the places of candidates that no other beats in parameters and accuracy, smallest first."""
    places = sorted(range(len(candidates)), key=lambda p: (candidates[p].parameters, -candidates[p].measured.accuracy))
    chosen: list[int] = []
    for place in places:
        if not chosen or candidates[place].measured.accuracy > candidates[chosen[-1]].measured.accuracy:
            chosen.append(place)
    return chosen


def _rivalry(candidates: Sequence[Candidate], results: Sequence[Evaluation], best: int) -> Rivalry | None:
    """Compare the best with the best candidate of another method."""

    def methods(place: int) -> tuple[str, str | None]:
        return candidates[place].method, candidates[place].layer_method

    others = [place for place in range(len(candidates)) if methods(place) != methods(best)]
    if not others:
        return None
    rival = others[choose_best([results[place] for place in others])]
    accuracy, accuracy_interval = paired_difference(results[best].outcomes, results[rival].outcomes)
    losses: npt.NDArray[np.float64] = results[best].losses - results[rival].losses
    loss, half = float(losses.mean()), mean_half_width(losses)
    return Rivalry(
        rival=rival,
        accuracy=accuracy,
        accuracy_interval=accuracy_interval,
        loss=loss,
        loss_interval=(loss - half, loss + half),
        separates=accuracy_interval[0] > 0 or loss + half < 0,
    )


def _verdict(candidates: Sequence[Candidate], best: int, rivalry: Rivalry | None) -> str:
    """Say which candidate is best, and whether that is more than noise."""
    name = candidates[best].name
    if rivalry is None:
        return f"{name} is the best of one method."
    rival = candidates[rivalry.rival].name
    figures = (
        f"{points(rivalry.accuracy)} ({points_interval(rivalry.accuracy_interval)}), loss {score(rivalry.loss)} nats "
        f"({score(rivalry.loss_interval[0])} to {score(rivalry.loss_interval[1])})"
    )
    if rivalry.separates:
        return f"{name} is better than {rival}: {figures}."
    return f"Nothing separates {name} from {rival}: {figures}. Either will do; more probe examples could tell."
