"""Which candidate is best, which are on the frontier, and whether anything separates the best from the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from modelshapley.contracts.applications.recommendations import Candidate, Rivalry
from modelshapley.evaluation.accuracy import Evaluation
from modelshapley.evaluation.intervals import mean_half_width, paired_difference
from modelshapley.formatting import points, points_interval, score


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
    """Return the places of candidates that no other beats in cost and accuracy, cheapest first.

    The cost is the milliseconds of a pass where they are measured, else the number of parameters.
    """

    def key(place: int) -> tuple[float, float]:
        candidate = candidates[place]
        cost = candidate.parameters if candidate.milliseconds is None else candidate.milliseconds
        return cost, -candidate.measured.accuracy

    places = sorted(range(len(candidates)), key=key)
    chosen: list[int] = []
    for place in places:
        if not chosen or candidates[place].measured.accuracy > candidates[chosen[-1]].measured.accuracy:
            chosen.append(place)
    return chosen


def rivalry_of(candidates: Sequence[Candidate], results: Sequence[Evaluation], best: int) -> Rivalry | None:
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


def verdict_of(candidates: Sequence[Candidate], best: int, rivalry: Rivalry | None) -> str:
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
