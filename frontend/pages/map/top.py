"""Most (or least) important units, with their figures and a switch each."""

from __future__ import annotations

import re
from typing import Any

import dash_mantine_components as dmc
import numpy as np
import numpy.typing as npt
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html

from frontend.figures.planes import Plane
from frontend.map_cache import Maps
from frontend.pages.shared import empty_states
from modelshapley import formatting
from modelshapley.errors import ModelShapleyError
from modelshapley.units import Unit, UnitKind, unit_name

TOP = 50
PLACE = re.compile(r"\D*(\d{1,7})?(?:\D+(\d{1,7}))?\s*", re.ASCII)


def layout(explanation: Any) -> Any:
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
                    html.Div(explanation, id="explanation", style={"marginLeft": "auto"}),
                ],
                mt="md",
                mb="xs",
            ),
            dcc.Store(id="top"),
            html.Div(id="top-words", className="quiet"),
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
        Output("top", "data"),
        Output("top-words", "children"),
        Input("reading", "data"),
        Input("unit", "value"),
        Input("class", "value"),
        Input("top-search", "value"),
        Input("top-which", "value"),
        State("run", "data"),
    )
    async def _table(method: str, unit: str, label: str, wanted: str | None, which: str, data: Any) -> Any:
        try:
            found = await maps.get(data["id"], method, UnitKind(unit), label or None)
        except ModelShapleyError as error:
            return {"kind": unit, "rows": []}, empty_states.failure(error)
        rows = table(found, wanted or "", which)
        nothing = f"No {formatting.PLURALS[found.unit]} at {wanted!r}. Type a layer, 3, or a unit of one, 3.7."
        return {"kind": unit, "rows": rows}, None if rows else nothing

    app.clientside_callback(
        ClientsideFunction("page", "table"),
        Output("top-units", "title"),
        Input("top", "data"),
        State("selection", "data"),
        prevent_initial_call=True,
    )


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


def table(found: Plane, wanted: str = "", which: str = "most") -> list[dict[str, Any]]:
    """What assets/table.js writes of the units of :func:`places`; `bar` in pixels."""
    largest = float(np.nanmax(np.abs(found.scores))) or 1.0
    width = found.scores.shape[1]
    return [_row(found, largest, *divmod(flat, width)) for flat in places(found, wanted, which).tolist()]


def _row(found: Plane, largest: float, row: int, column: int) -> dict[str, Any]:
    unit: Unit = (row,) if found.unit is UnitKind.LAYER else (row, column)
    value, error = float(found.scores[row, column]), float(found.standard_errors[row, column])
    return {
        "unit": ".".join(map(str, unit)),
        "name": unit_name(found.unit, unit),
        "rank": f"{found.ranks[row, column]:,}",
        "score": f"{formatting.score(value)} ± {formatting.score(error)}",
        "share": formatting.share(abs(value) / (found.total or 1.0)),
        "bar": round(90 * abs(value) / largest),
    }
