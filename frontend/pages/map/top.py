"""The table of the most (or least) important units, with a switch for each."""

from __future__ import annotations

import re
from typing import Any

import dash_mantine_components as dmc
import numpy as np
import numpy.typing as npt
from dash import Input, Output, State, dcc, html

from frontend.figures.planes import Plane
from frontend.map_cache import MapCache
from frontend.pages.shared import empty_states
from frontend.pages.shared.wiring import Callbacks
from modelshapley import formatting
from modelshapley.errors import ModelShapleyError
from modelshapley.units import Unit, UnitKind, unit_name

callbacks = Callbacks()

TOP = 50
SEARCH = re.compile(r"\D*(\d{1,7})?(?:\D+(\d{1,7}))?\s*", re.ASCII)


def layout(explanation: Any) -> Any:
    """Lay out the table, without rows. explanation: how the map is computed."""
    return html.Div(
        [
            dmc.Group(
                [
                    dmc.Title("Ranked units", order=2, size="h4"),
                    dmc.SegmentedControl(
                        id="top-which",
                        data=[{"value": "most", "label": "most"}, {"value": "least", "label": "least"}],
                        value="most",
                        size="xs",
                        **{"aria-label": "Rank the most or the least important first"},
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
            html.Div(id="top-text", className="quiet"),
            html.Div(
                id="top-units",
                className="top-table",
                tabIndex=0,
                role="region",
                **{"aria-label": "Units ranked by importance"},
            ),
        ]
    )


@callbacks.server(
    Output("top", "data"),
    Output("top-text", "children"),
    Input("reading", "data"),
    Input("unit", "value"),
    Input("class", "value"),
    Input("top-search", "value"),
    Input("top-which", "value"),
    State("run", "data"),
)
async def fill_table(
    method: str, unit: str, label: str, wanted: str | None, which: str, data: Any, *, maps: MapCache
) -> Any:
    """Fill the table with the units of a search, ranked."""
    try:
        plane = await maps.get(data["id"], method, UnitKind(unit), label or None)
    except ModelShapleyError as error:
        return {"kind": unit, "rows": []}, empty_states.failure(error)
    rows = table(plane, wanted or "", which)
    no_match = f"No {formatting.PLURALS[plane.unit]} match {wanted!r}. Enter a layer (3) or a unit (3.7)."
    return {"kind": unit, "rows": rows}, None if rows else no_match


callbacks.browser(
    "page",
    "table",
    Output("top-units", "title"),
    Input("top", "data"),
    State("selection", "data"),
    prevent_initial_call=True,
)


def places(plane: Plane, wanted: str, which: str) -> npt.NDArray[np.int64]:
    """Return the flat indices of at most TOP units, the most (or least) important first.

    wanted: nothing for all units, a layer ('3', 'layer 3'), or a unit ('3.7', 'head 3.7').
    """
    layers, width = plane.scores.shape
    selected = np.isfinite(plane.scores)
    match = SEARCH.fullmatch(wanted)
    if match is None:
        return np.empty(0, dtype=np.int64)
    for axis, text in enumerate(match.groups()):
        if text is not None:
            matching = np.arange((layers, width)[axis]) == int(text)
            selected = selected & (matching[:, None] if axis == 0 else matching)
    flat = np.flatnonzero(selected)
    rank = plane.ranks.reshape(-1)[flat] * (1 if which == "most" else -1)
    if len(flat) > TOP:  # a map may have millions of units: sort only those on the page
        first = np.argpartition(rank, TOP)[:TOP]
        flat, rank = flat[first], rank[first]
    ranked: npt.NDArray[np.int64] = flat[np.argsort(rank)]
    return ranked


def table(plane: Plane, wanted: str = "", which: str = "most") -> list[dict[str, Any]]:
    """Return the rows that assets/table.js draws, for the units of :func:`places`; `bar` in pixels."""
    largest = float(np.nanmax(np.abs(plane.scores))) or 1.0
    width = plane.scores.shape[1]
    return [_row(plane, largest, *divmod(flat, width)) for flat in places(plane, wanted, which).tolist()]


def _row(plane: Plane, largest: float, row: int, column: int) -> dict[str, Any]:
    unit: Unit = (row,) if plane.unit is UnitKind.LAYER else (row, column)
    value, error = float(plane.scores[row, column]), float(plane.standard_errors[row, column])
    return {
        "unit": ".".join(map(str, unit)),
        "name": unit_name(plane.unit, unit),
        "rank": f"{plane.ranks[row, column]:,}",
        "score": f"{formatting.score(value)} ± {formatting.score(error)}",
        "share": formatting.share(abs(value) / (plane.total or 1.0)),
        "bar": round(90 * abs(value) / largest),
    }
