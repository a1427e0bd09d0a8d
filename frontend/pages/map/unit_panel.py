"""The panel of one unit: its score and rank, its score on each class, the effect of switching it off alone."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
import numpy as np
from dash import Input, Output, State, html, no_update

from frontend.figures.planes import Plane
from frontend.map_cache import MapCache
from frontend.pages.map import unit_examples
from frontend.pages.shared import empty_states, tables
from frontend.pages.shared.wiring import Callbacks
from modelshapley import client, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts import Run, Status, Trial
from modelshapley.errors import ModelShapleyError
from modelshapley.maps.roles import role
from modelshapley.methods import harm_of, with_harm
from modelshapley.units import OFF, Unit, UnitKind, unit_name

callbacks = Callbacks()

CLASSES = 24
TRIALS = 50
SCORE = "Score ± standard error"
HINT = "Click a unit, or press Enter on it, to see its details."


def layout() -> Any:
    """Lay out the panel with a hint, before any unit has the focus."""
    return dmc.Paper(
        [
            html.Div(html.Div(HINT, className="quiet"), id="unit-panel", **{"aria-live": "polite"}),
            unit_examples.layout(),
        ],
        withBorder=True,
        p="sm",
        radius="md",
        mt="sm",
    )


@callbacks.server(
    Output("unit-panel", "children"),
    Input("focus", "data"),
    Input("reading", "data"),
    Input("class", "value"),
    Input("trial", "data"),
    State("run", "data"),
)
async def describe_unit(
    focus: Any, method: str, label: str, trial: Any, data: Any, *, api: AsyncClient, maps: MapCache
) -> Any:
    """Show the unit that has the focus."""
    if focus is None:
        return no_update
    run, kind, unit = Run.model_validate(data), UnitKind(focus["kind"]), tuple(focus["unit"])
    try:
        plane = await maps.get(run.id, method, kind, label or None)
        signed = await _signed(maps, run, method, kind, label or None)
        by_class = [(name, await maps.get(run.id, method, kind, name)) for name in list(run.classes)[:CLASSES]]
        alone = f"{kind.value}:{'.'.join(map(str, unit))}"
        trials = await api.send(client.run_trials(run.id, TRIALS, alone))
    except ModelShapleyError as error:
        return empty_states.failure(error)
    return view(plane, unit, by_class, widest(trials), len(run.classes), signed)


async def _signed(maps: MapCache, run: Run, method: str, kind: UnitKind, label: str | None) -> Plane | None:
    """Return the map read as help minus harm; None for methods that do not store these separately."""
    return await maps.get(run.id, with_harm(method, "signed"), kind, label) if harm_of(method) is not None else None


@callbacks.server(
    Output("loaded", "data", allow_duplicate=True),
    Input("measure-alone", "n_clicks"),
    State("focus", "data"),
    prevent_initial_call=True,
)
async def switch_off_alone(clicks: int | None, focus: Any) -> Any:
    """Replace the selection with this one unit."""
    if not clicks:  # a button fires when it is drawn, too
        return no_update
    return {"units": {focus["kind"]: [focus["unit"]]}, "treatment": vars(OFF), "click": clicks}


def widest(trials: list[Trial]) -> Trial | None:
    """Return the finished trial on the most examples."""
    return max((t for t in trials if t.status is Status.DONE), key=lambda t: t.n, default=None)


def view(
    plane: Plane,
    unit: Unit,
    by_class: list[tuple[str, Plane]],
    measured: Trial | None,
    classes: int,
    signed: Plane | None = None,
) -> Any:
    """Lay out what is known about a unit of a map.

    classes: how many the task has; by_class may hold fewer. signed: the map read as help minus harm, for the role.
    """
    row, column = unit[0], unit[1] if len(unit) > 1 else 0
    score, error = float(plane.scores[row, column]), float(plane.standard_errors[row, column])
    units, rank = int(np.isfinite(plane.scores).sum()), int(plane.ranks[row, column])
    facts = [
        (SCORE, f"{formatting.score(score)} ± {formatting.score(error)}"),
        ("Rank", f"{rank:,} of {units:,}"),
        ("Share of total", formatting.share(abs(score) / (plane.total or 1.0))),
        *([("Role (help minus harm, 95 %)", _role(signed, row, column))] if signed is not None else []),
        ("Switched off alone", _measured(measured)),
    ]
    return [
        dmc.Group(
            [
                dmc.Title(unit_name(plane.unit, unit).capitalize(), order=2, size="h4"),
                dmc.Button("Switch off only this unit", id="measure-alone", size="compact-sm", variant="light"),
            ],
            justify="space-between",
        ),
        html.Dl([html.Div([html.Dt(name), html.Dd(value)]) for name, value in facts], className="unit-facts"),
        _classes(by_class, row, column, classes),
    ]


def _role(signed: Plane, row: int, column: int) -> str:
    """Say what a unit does on balance: 'helps (0.064 ± 0.02)', nats and standard error."""
    net, error = float(signed.scores[row, column]), float(signed.standard_errors[row, column])
    return f"{role(net, error, int(signed.provenance['n']))} ({formatting.score(net)} ± {formatting.score(error)})"


def _measured(trial: Trial | None) -> str:
    if trial is None or trial.difference is None or trial.difference_interval is None:
        return "not measured"
    return (
        f"{formatting.points(trial.difference)} ({formatting.points_interval(trial.difference_interval)}), n {trial.n}"
    )


def _classes(by_class: list[tuple[str, Plane]], row: int, column: int, classes: int) -> Any:
    """A bar for the unit's score on each class of examples, the highest first."""
    if not by_class:
        return None
    scored = [
        (name, float(plane.scores[row, column]), float(plane.standard_errors[row, column])) for name, plane in by_class
    ]
    scored.sort(key=lambda entry: -entry[1])
    largest = max(abs(value) for _, value, _ in scored) or 1.0
    rows = [
        dmc.TableTr(
            [
                dmc.TableTd(name),
                tables.labelled(f"{formatting.score(value)} ± {formatting.score(error)}", SCORE),
                dmc.TableTd(html.Div(className="share-bar", style={"width": f"{90 * abs(value) / largest:.0f}px"})),
            ]
        )
        for name, value, error in scored
    ]
    head = dmc.TableThead(dmc.TableTr([dmc.TableTh("Class"), dmc.TableTh(SCORE, className="number"), dmc.TableTd()]))
    more = f"Only the first {len(by_class)} of {classes} classes." if classes > len(by_class) else None
    return html.Div(
        [
            html.Div("Score by class", className="unit-classes"),
            dmc.Table([head, dmc.TableTbody(rows)], verticalSpacing=2, className=tables.CARDS),
            html.Div(more, className="quiet") if more else None,
        ]
    )
