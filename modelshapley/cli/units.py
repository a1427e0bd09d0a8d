"""Units named on the command line: single ones, or shares of a ranking; and what is done to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelshapley.cli.choosing import map_of, share_of
from modelshapley.errors import BadTreatment, ModelShapleyError
from modelshapley.units import Deactivation, Treatment, Unit, UnitKind

if TYPE_CHECKING:
    from modelshapley.models.loaded import LoadedModel
    from modelshapley.tasks.base import Task

Off = Annotated[
    list[str] | None,
    typer.Option(
        help="what to switch off: a unit, such as head:3.7 or layer:12, or KIND=SHARE of the least important, such "
        "as head=0.3, by --map or --task; repeat for several"
    ),
]
How = Annotated[str, typer.Option(help="off, scale=FACTOR, mean or offset=DEVIATIONS")]
ByTask = Annotated[str | None, typer.Option(help="task that shares are scored on, and means and offsets measured on")]
ByMap = Annotated[Path | None, typer.Option("--map", help="a map that shares are chosen by")]
ByMethod = Annotated[str, typer.Option(help="method that chooses shares, without --map")]


def treatment_of(how: str, pairs: bool = False) -> Treatment:
    """Read off, scale=FACTOR, mean or offset=DEVIATIONS; resample, too, where pairs of prompts are measured.

    Raises BadTreatment.
    """
    name, _, value = how.partition("=")
    if how == "off":
        return Treatment()
    possible = "off, scale=0.5, mean, offset=-2 or resample" if pairs else "off, scale=0.5, mean or offset=-2"
    try:
        treatment = Treatment(name, float(value or 0))  # type: ignore[arg-type]  # checked there
    except ValueError as error:
        raise BadTreatment(f"--how {how!r}: {error}; write {possible}.") from None
    if treatment.needs_pairs and not pairs:
        raise BadTreatment(f"--how {how} needs pairs of prompts, which are not given here; write {possible}.")
    return treatment


def units_of(
    off: list[str],
    loaded: LoadedModel,
    task: Task[Any] | None,
    map_file: Path | None,
    method: str,
    treatment: Treatment,
) -> Deactivation:
    """Read the units to switch off. Raises ModelShapleyError, UnitOutOfRange, BadTreatment."""
    shares = dict(share_of(text) for text in off if "=" in text)
    if shares and task is None and map_file is None:
        kind = next(iter(shares)).value
        raise ModelShapleyError(
            f"Which {kind}s are the least important depends on a task: give --task or --map, or name single units, "
            f"such as {kind}:3.7."
        )
    chosen: dict[UnitKind, list[Unit]] = {}
    for kind, unit in _named(text for text in off if "=" not in text):
        chosen.setdefault(kind, []).append(unit)
    if shares:
        importance_map = map_of(map_file, loaded, task, method, list(shares), 256, 0)
        for kind, share in shares.items():
            chosen.setdefault(kind, []).extend(importance_map.least(kind, share).of_kind(kind))
    if treatment.needs_activations and task is None and chosen:
        raise BadTreatment(f"--how {treatment.how} needs the activations of a task; give --task.")
    return Deactivation.of(chosen, treatment)


def _named(texts: Iterator[str]) -> Iterator[tuple[UnitKind, Unit]]:
    for text in texts:
        name, _, place = text.partition(":")
        try:
            yield UnitKind(name), tuple(int(part) for part in place.split("."))
        except ValueError:
            raise ModelShapleyError(
                f"{text!r} names no unit; write head:3.7 (head 7 of layer 3), layer:12, or a share such as head=0.3."
            ) from None
