"""Which units to remove, by which importance, for one model, task and size: measured, not assumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from modelshapley.applications.baselines.block_influence import BLOCK_INFLUENCE
from modelshapley.applications.baselines.outside import OUTSIDE
from modelshapley.applications.proof import without_units
from modelshapley.applications.pruning import whole_size
from modelshapley.applications.recommending.candidates import Budget, Chooser, Proposal, proposals
from modelshapley.applications.recommending.ranking import choose_best, frontier, rivalry_of, verdict_of
from modelshapley.applications.recommending.timing import PassTimer, timed_proposals
from modelshapley.applications.sizes import WeightsSize
from modelshapley.contracts.applications.recommendations import Candidate, Recommendation
from modelshapley.errors import ModelShapleyError
from modelshapley.evaluation.accuracy import Evaluation, evaluate
from modelshapley.evaluation.trials import compare
from modelshapley.maps.importance import ImportanceMap
from modelshapley.methods import load_method
from modelshapley.models.loaded import LoadedModel
from modelshapley.scoring.job import Scoring
from modelshapley.scoring.job import score as run_scoring
from modelshapley.tasks.base import Split, Task
from modelshapley.units import DEFAULT_KINDS, Deactivation

METHODS = ("two-sided", "mean-abs", "wanda", "magnitude")
"""Methods that are compared by default; layers are also chosen by block influence, experts by REAP."""
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
    milliseconds: float | None = None,
    methods: Sequence[str] = METHODS,
    choosers: Sequence[Chooser] | None = None,
    limit: int = 256,
    seed: int = 0,
    on_progress: Progress = lambda done, total: None,
    pause: Callable[[], None] = lambda: None,
) -> Recommended:
    """Find the units whose removal costs the least accuracy at a wanted size or speed.

    share: of the parameters to remove, 0 to 1; or size: largest number of bytes of the weights file; or milliseconds:
    longest time of a pass, measured here with models that are really smaller (see :class:`PassTimer`). The first
    `limit` probe examples are cut in two: all methods score the first half in one pass, candidates across kinds of unit
    are measured on the second. The best has the highest accuracy; among those that it does not beat by a paired 95 %
    interval, the lowest mean loss, which tells more from few examples. Nothing here has seen the test examples.

    choosers: those of :func:`score_choosers` with the same limit and seed, so that several sizes share one scoring.
    on_progress: called with the numbers of measured and of all candidates. pause: called between two passes, and may
    raise to stop. Raises TaskMismatch, UnknownName for methods, and ModelShapleyError for a size or time that cannot be
    reached or fewer than 16 probe examples.
    """
    task.check(loaded)
    examples = _enough_examples(loaded, task, limit, seed)
    scored = len(examples) // 2
    target = _target(loaded, share, size, milliseconds)
    wanted = target.milliseconds
    timer = None if wanted is None else PassTimer(loaded, task, examples[scored:], wanted, pause)
    choosers = choosers or score_choosers(loaded, task, methods, limit=limit, seed=seed, pause=pause)
    ways = list(_ways(loaded, choosers, target, timer))
    intact = evaluate(loaded, task, Deactivation(), examples[scored:])
    results = []
    for done, way in enumerate(ways):
        on_progress(done, len(ways))
        with without_units(loaded, way.prediction.plan, way.units):
            results.append(evaluate(loaded, task, Deactivation(), examples[scored:]))
        pause()
    on_progress(len(ways), len(ways))
    report = _report(loaded, task, seed, target, scored, ways, results, intact)
    return Recommended(report, [way.units for way in ways], [way.chooser.importance_map for way in ways])


@dataclass(frozen=True)
class _Target:
    """What is wanted of `whole`: a number of parameters, or a time."""

    whole: WeightsSize
    parameters: int | None = None
    milliseconds: float | None = None


def _target(loaded: LoadedModel, share: float | None, size: int | None, milliseconds: float | None) -> _Target:
    """Return what is wanted. Raises ModelShapleyError for none or several of these, and for impossible ones."""
    if sum(value is not None for value in (share, size, milliseconds)) != 1:
        raise ModelShapleyError(
            "Give either the share of parameters to remove, the largest size in bytes, or the milliseconds of a pass."
        )
    whole = whole_size(loaded)
    if milliseconds is not None:
        if not 0 < milliseconds < float("inf"):
            raise ModelShapleyError(f"A pass takes more than 0 milliseconds, not {milliseconds:g}.")
        return _Target(whole, milliseconds=milliseconds)
    if share is not None:
        if not 0 < share < 1:
            raise ModelShapleyError(f"The share of parameters to remove lies between 0 and 1, not at {share:g}.")
        return _Target(whole, int((1 - share) * whole.parameters))
    assert size is not None
    width = (whole.bytes // whole.parameters) or 1
    if not 0 < size < whole.bytes:
        raise ModelShapleyError(
            f"The wanted size must be below the {whole.bytes:,} bytes of {loaded.id!r}, not {size:,}."
        )
    # The header of the smaller file is never longer than that of the whole one.
    return _Target(whole, max(0, (size - (whole.bytes - whole.parameters * width)) // width))


def _ways(
    loaded: LoadedModel, choosers: Sequence[Chooser], target: _Target, timer: PassTimer | None
) -> Iterator[Proposal]:
    """Yield what reaches the target. Raises ModelShapleyError if nothing does."""
    whole = target.whole
    if timer is not None:
        yield from timed_proposals(whole, choosers, timer)
        return
    assert target.parameters is not None
    none = True
    for way in proposals(Budget(loaded, whole, target.parameters), choosers):
        yield way
        none = False
    if none:
        raise ModelShapleyError(
            f"{loaded.id!r} cannot be cut to {target.parameters:,} of {whole.parameters:,} parameters: the family "
            f"{loaded.anatomy.model_type} leaves out too few kinds of unit for that (docs/apply.md). Ask for a "
            "smaller share."
        )


def score_choosers(
    loaded: LoadedModel,
    task: Task[Any],
    methods: Sequence[str] = METHODS,
    *,
    limit: int = 256,
    seed: int = 0,
    pause: Callable[[], None] = lambda: None,
) -> list[Chooser]:
    """Score the first half of the probe examples by all methods in one pass.

    Each method chooses alone, the first also with layers by block influence; layers alone by that, and experts alone by
    REAP. Raises as :func:`recommend`.
    """
    scored = len(_enough_examples(loaded, task, limit, seed)) // 2
    kinds = [kind for kind in DEFAULT_KINDS if kind in loaded.anatomy.shapes.kinds]
    chosen = [load_method(method) for method in methods if method not in OUTSIDE]
    maps = run_scoring(Scoring(loaded, task, chosen, kinds, scored, seed, pause=pause)) if chosen else {}
    choosers = [Chooser(importance_map) for importance_map in maps.values()]
    outside = {
        name: one.score(loaded, task, scored, seed)
        for name, one in OUTSIDE.items()
        if loaded.anatomy.shapes.count(one.kind)
    }
    if choosers:
        choosers.append(Chooser(choosers[0].importance_map, outside[BLOCK_INFLUENCE]))
    return choosers + [Chooser(importance_map) for importance_map in outside.values()]


def _enough_examples(loaded: LoadedModel, task: Task[Any], limit: int, seed: int) -> Sequence[Any]:
    """Return the probe examples to score and to measure on. Raises ModelShapleyError for too few."""
    examples = task.select(loaded, Split.PROBE, seed, limit)
    if len(examples) < MIN_EXAMPLES:
        raise ModelShapleyError(
            f"A recommendation needs at least {MIN_EXAMPLES} probe examples, half to score and half to measure, but "
            f"there are {len(examples)}."
        )
    return examples


def _report(
    loaded: LoadedModel,
    task: Task[Any],
    seed: int,
    target: _Target,
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
            milliseconds=way.milliseconds,
            measured=compare(result.outcomes, intact.outcomes),
            loss=result.loss,
        )
        for way, result in zip(ways, results, strict=True)
    ]
    best = choose_best(results)
    rivalry = rivalry_of(candidates, results, best)
    return Recommendation(
        model=loaded.id,
        task=task.info.id,
        seed=seed,
        target_parameters=target.parameters,
        target_milliseconds=target.milliseconds,
        parent_parameters=target.whole.parameters,
        parent_bytes=target.whole.bytes,
        parent_milliseconds=ways[0].parent_milliseconds,
        scored=scored,
        measured=len(intact.outcomes),
        candidates=candidates,
        best=best,
        frontier=frontier(candidates),
        rivalry=rivalry,
        verdict=verdict_of(candidates, best, rivalry),
    )
