"""Most (or least) important units, with their figures and a switch each."""

from __future__ import annotations

import re
from typing import Any

import dash_mantine_components as dmc
import numpy as np
import numpy.typing as npt
from dash import Dash, Input, Output, State, html

from frontend import words
from frontend.maps import Maps
from frontend.pages import states
from frontend.planes import Plane
from modelshapley.errors import ModelShapleyError
from modelshapley.units import Unit, UnitKind, unit_name

TOP = 50
PLACE = re.compile(r"\D*(\d{1,7})?(?:\D+(\d{1,7}))?\s*", re.ASCII)


def layout() -> Any:
    return html.Div(
        [
            dmc.Group(
                [
                    dmc.Title("Units in order", order=2, size="h4"),
                    dmc.SegmentedControl(
                        id="top-which",
                        data=[{"value": "most", "label": "most"}, {"value": "least", "label": "least"}],
                        value="most",
                        size="xs",
                        **{"aria-label": "Most or least important first"},
                    ),
                    dmc.TextInput(
                        id="top-search",
                        placeholder="layer, or layer.index",
                        size="xs",
                        w=170,
                        debounce=250,
                        **{"aria-label": "Find units of a layer, or one unit: 3, or 3.7"},
                    ),
                    html.Div(id="explanation", style={"marginLeft": "auto"}),
                ],
                mt="md",
                mb="xs",
            ),
            html.Div(
                id="top-units",
                className="top-table",
                tabIndex=0,
                role="region",
                **{"aria-label": "Units in order of importance"},
            ),
        ]
    )


def register(app: Dash, maps: Maps) -> None:
    @app.callback(
        Output("top-units", "children"),
        Input("reading", "data"),
        Input("unit", "value"),
        Input("class", "value"),
        Input("top-search", "value"),
        Input("top-which", "value"),
        State("selection", "data"),
        State("run", "data"),
    )
    async def _table(
        method: str, unit: str, label: str, wanted: str | None, which: str, selection: Any, data: Any
    ) -> Any:
        try:
            found = await maps.get(data["id"], method, UnitKind(unit), label or None)
        except ModelShapleyError as error:
            return states.failure(error)
        return table(found, {".".join(map(str, u)) for u in selection[unit]}, wanted or "", which)


def places(found: Plane, wanted: str, which: str) -> npt.NDArray[np.int64]:
    """Flat places of the units that are meant, those of most (or least) importance first, TOP at most.

    wanted: nothing, a layer ('3', 'layer 3'), or a unit ('3.7', 'head 3.7').
    """
    layers, width = found.scores.shape
    meant = np.isfinite(found.scores)
    match = PLACE.fullmatch(wanted)
    if match is None:
        return np.empty(0, dtype=np.int64)
    for axis, text in enumerate(match.groups()):
        if text is not None:
            here = np.arange((layers, width)[axis]) == int(text)
            meant = meant & (here[:, None] if axis == 0 else here)
    flat = np.flatnonzero(meant)
    rank = found.ranks.reshape(-1)[flat] * (1 if which == "most" else -1)
    if len(flat) > TOP:  # of millions, only those that are shown are put in order
        first = np.argpartition(rank, TOP)[:TOP]
        flat, rank = flat[first], rank[first]
    chosen: npt.NDArray[np.int64] = flat[np.argsort(rank)]
    return chosen


def table(found: Plane, off: set[str], wanted: str = "", which: str = "most") -> Any:
    """Rank, unit, score with error, share of all magnitude, and a switch, of the units of :func:`places`."""
    chosen = places(found, wanted, which)
    if not len(chosen):
        return html.Div(
            f"No {words.PLURALS[found.unit]} at {wanted!r}. Type a layer, 3, or a unit of one, 3.7.",
            className="quiet",
        )
    titles = [
        ("Rank", "number"),
        ("Unit", ""),
        ("Score ± standard error", "number"),
        ("Share", "number"),
        (dmc.VisuallyHidden("Score as a bar"), ""),
        ("Off", ""),
    ]
    head = dmc.TableTr([dmc.TableTh(title, className=css) for title, css in titles])
    rows = [_row(found, off, *divmod(flat, found.scores.shape[1])) for flat in chosen.tolist()]
    return dmc.Table([dmc.TableThead(head), dmc.TableTbody(rows)], highlightOnHover=True, verticalSpacing=4)


def _row(found: Plane, off: set[str], row: int, column: int) -> Any:
    unit: Unit = (row,) if found.unit is UnitKind.LAYER else (row, column)
    name, key = unit_name(found.unit, unit), ".".join(map(str, unit))
    value, error = float(found.scores[row, column]), float(found.standard_errors[row, column])
    largest = float(np.nanmax(np.abs(found.scores))) or 1.0
    tell = html.Button(
        name,
        className="plain-button",
        title="Read what it does",
        **{"data-kind": found.unit.value, "data-unit": key},
    )
    switch = dmc.Checkbox(
        id={"type": "off", "kind": found.unit.value, "unit": key},
        checked=key in off,
        size="xs",
        color="pink",
        **{"aria-label": f"Switch {name} off"},
    )
    bar = html.Div(className="share-bar", style={"width": f"{90 * abs(value) / largest:.0f}px"})
    return dmc.TableTr(
        [
            dmc.TableTd(f"{found.ranks[row, column]:,}", className="number"),
            dmc.TableTd(tell),
            dmc.TableTd(f"{words.score(value)} ± {words.score(error)}", className="number"),
            dmc.TableTd(words.share(abs(value) / (found.total or 1.0)), className="number"),
            dmc.TableTd(bar),
            dmc.TableTd(switch),
        ]
    )
