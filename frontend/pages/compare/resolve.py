"""Which maps the compare page shows: those of its address that exist, filled up to two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from frontend.figures import heatmaps
from frontend.pages.compare.address import Choice, Comparison
from modelshapley import client, formatting
from modelshapley.client import ApiError, AsyncClient
from modelshapley.contracts import Run, Status
from modelshapley.methods import reading_of
from modelshapley.units import UnitKind

LISTED = 200
Pair = tuple[int, int]


async def load_runs(api: AsyncClient, choices: Sequence[Choice | None]) -> tuple[list[Run], int, list[str]]:
    """Return the newest finished runs, and older ones that are chosen; the number of all; what does not exist."""
    page = await api.send(client.runs(LISTED))
    runs = [run for run in page.items if run.status is Status.DONE]
    missing = []
    for choice in choices:
        if choice is not None and all(run.id != choice.run for run in runs):
            run = await _run(api, choice.run)
            if run is None:
                missing.append(f"Run {choice.run!r} of the link does not exist or has no maps.")
            else:
                runs.append(run)
    return runs, page.total, list(dict.fromkeys(missing))


async def _run(api: AsyncClient, run_id: str) -> Run | None:
    try:
        run = await api.send(client.run(run_id))
    except ApiError as error:
        if error.problem.status != 404:
            raise
        return None
    return run if run.status is Status.DONE else None


def resolve(wanted: Comparison, runs: Sequence[Run]) -> tuple[list[Choice], Pair]:
    """Return the maps to show, at least two, and the pair in detail.

    The first two that do not exist are replaced: by the newest run's first map, and by one that can be compared with
    it. Further ones are left out.
    """
    slots = [*wanted.maps, None, None][: max(2, len(wanted.maps))]
    usable = [choice and _usable(choice, runs) for choice in slots]
    first = usable[0] or Choice(runs[0].id, runs[0].methods[0])
    second = usable[1] or next(further_maps([first], runs), first)
    rest = [(slot, choice) for slot, choice in enumerate(usable) if slot > 1 and choice is not None]
    places = {0: 0, 1: 1, **{slot: place for place, (slot, _) in enumerate(rest, start=2)}}
    one, other = wanted.pair
    pair = (places[one], places[other]) if one in places and other in places else (0, 1)
    return [first, second, *(choice for _, choice in rest)], pair


def further_maps(chosen: Sequence[Choice], runs: Sequence[Run]) -> Iterator[Choice]:
    """Find maps to compare with the chosen ones: other methods of their runs, then other runs of the same shape."""
    own = [run for choice in chosen for run in runs if run.id == choice.run]
    same_shape = [run for run in runs if own and run.shapes == own[0].shapes]
    for run in {run.id: run for run in [*own, *same_shape]}.values():
        for method in run.methods:
            if Choice(run.id, method) not in chosen:
                yield Choice(run.id, method)


def _usable(choice: Choice, runs: Sequence[Run]) -> Choice | None:
    """Return the choice, without a class that does not exist; None where there is no such map."""
    run = next((run for run in runs if run.id == choice.run), None)
    if run is None or reading_of(choice.method, run.methods) is None:
        return None
    return choice if choice.label in (None, *run.classes) else Choice(choice.run, choice.method)


def notices(wanted: Comparison, shown: Sequence[Choice], runs: Sequence[Run]) -> list[str]:
    """Say what the page shows otherwise than its address asks, and which run is deleted."""
    known = {run.id: run for run in runs}
    replaced = [_replaced(choice, _usable(choice, runs)) for choice in wanted.maps if choice and choice.run in known]
    deleted = [known[id_] for id_ in {choice.run: None for choice in shown} if known[id_].deleted is not None]
    return [
        *(_deleted(run) for run in deleted),
        *(f"Ignored a part of the link that is not valid: {part!r}." for part in wanted.unclear),
        *dict.fromkeys(filter(None, replaced)),
    ]


def _replaced(given: Choice, used: Choice | None) -> str | None:
    """Say that another map is shown than the link's, or none."""
    if used is None:
        return f"Run {given.run} was not scored by {given.method!r}."
    if used != given:
        return f"Run {given.run} has no class {given.label!r}. Showing all classes."
    return None


def _deleted(run: Run) -> str:
    assert run.deleted is not None
    return (
        f"Run {run.id} ({formatting.run_title(run)}) was deleted {formatting.ago(run.deleted)}. Its maps will "
        "be removed, unless you restore it on its page."
    )


def shared(runs: Sequence[Run]) -> list[UnitKind]:
    """Return the kinds of unit that at least two of the runs, one for each map, have maps of."""
    return [kind for kind in heatmaps.PANELS if sum(kind in run.units for run in runs) > 1]


def first_kind(kinds: Sequence[UnitKind], wanted: UnitKind | str | None = None) -> UnitKind | None:
    """Return the wanted kind if it is offered, else heads, else any; None where there is none."""
    order = [kind for kind in kinds if kind == wanted]
    return next((kind for kind in (*order, UnitKind.HEAD, *kinds) if kind in kinds), None)
