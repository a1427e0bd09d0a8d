"""Short names of the maps of a comparison, all different. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from frontend.pages.compare.address import Choice
from modelshapley import formatting
from modelshapley.contracts import MethodInfo, Run

Texts = Sequence[str]


@dataclass(frozen=True)
class Candidate:
    """A map to name. revision: of its model, None where it is not known."""

    run: Run
    choice: Choice
    revision: str | None = None


def names(candidates: Sequence[Candidate], infos: Mapping[str, MethodInfo]) -> list[str]:
    """Name each map: by its run's name, else by model, task and method; where names are equal, by what differs."""
    texts = [_basis(candidate, infos) for candidate in candidates]
    for describe in _facts(infos):
        facts = [describe(candidate) for candidate in candidates]
        for places in _equal(texts):
            if len({facts[place] for place in places}) > 1:
                for place in places:
                    texts[place] += f" · {facts[place]}"
    for places in _equal(texts):  # the same map twice
        for number, place in enumerate(places[1:], start=2):
            texts[place] += f" ({number})"
    return texts


def _basis(candidate: Candidate, infos: Mapping[str, MethodInfo]) -> str:
    run, choice = candidate.run, candidate.choice
    if run.name:
        return run.name if choice.label is None else f"{run.name} · class {choice.label}"
    task = run.task if choice.label is None else f"{run.task}, class {choice.label}"
    return f"{formatting.model_name(run.model)} · {task} · {formatting.method(choice.method, infos)}"


def _facts(infos: Mapping[str, MethodInfo]) -> Iterable[Callable[[Candidate], str]]:
    """What may tell two maps of the same name apart, the plainest first."""
    return (
        lambda map_: formatting.method(map_.choice.method, infos),
        lambda map_: formatting.model_name(map_.run.model),
        lambda map_: map_.run.task,
        lambda map_: "all classes" if map_.choice.label is None else f"class {map_.choice.label}",
        lambda map_: f"seed {map_.run.seed}",
        lambda map_: f"n {map_.run.classes.get(map_.choice.label or '', map_.run.progress.total)}",
        lambda map_: f"revision {(map_.revision or 'unknown')[:8]}",
        lambda map_: map_.run.id,
    )


def _equal(texts: Texts) -> list[list[int]]:
    """Return the places of each text that occurs more than once."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, text in enumerate(texts):
        places[text].append(place)
    return [found for found in places.values() if len(found) > 1]
