"""Saved groups: units under a name, for everyone who looks at the same model; what two of them share."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import ALL, ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update

from frontend.pages.shared import empty_states
from frontend.selection import OPERATIONS, chosen, combine, held
from modelshapley import client, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts import Group, GroupRequest, Off
from modelshapley.errors import ModelShapleyError, NotFound
from modelshapley.units import Deactivation

EMPTY = "No groups of this model yet. Choose units, and save them under a name."
LONGEST_NAME = 80
# With a group as B and what is chosen now as A; "use" forgets what is chosen.
USES = {"use": "Use", "either": "Add", "only in A": "Remove"}


def layout() -> Any:
    return html.Details(
        [
            html.Summary("Saved groups"),
            *(dcc.Store(id=f"groups-{name}") for name in ("ask", "busy", "seen", "changed", "dropped")),
            html.Div(
                [
                    dmc.TextInput(
                        id="group-name",
                        placeholder="name for the units chosen now",
                        size="xs",
                        style={"flex": 1},
                        **{"aria-label": "Name of the group"},
                    ),
                    dmc.Button("Save", id="group-save", variant="light", size="xs"),
                ],
                className="one-line",
            ),
            html.Div(id="groups-problem", role="status"),
            html.Div(
                [
                    html.Span(id="groups-told"),
                    dmc.Button("Undo", id="group-undo", variant="default", size="compact-xs"),
                ],
                id="groups-deleted",
                className="one-line quiet",
                hidden=True,
            ),
            html.Div("Reading the groups …", id="groups-list"),
            html.Div(
                [
                    html.Div(dmc.Select(id="group-a", size="xs", placeholder="A", **{"aria-label": "Group A"})),
                    html.Div(dmc.Select(id="group-b", size="xs", placeholder="B", **{"aria-label": "Group B"})),
                    dmc.SegmentedControl(
                        id="group-how",
                        data=list(OPERATIONS),
                        value="both",
                        size="xs",
                        className="wide",
                        **{"aria-label": "Which units of groups A and B"},
                    ),
                    dmc.Button("Take", id="group-take", variant="light", size="xs", className="wide"),
                ],
                id="group-sets",
                className="set-grid",
                style={"display": "none"},
            ),
        ],
        id="groups",
        className="section",
    )


def register(app: Dash, api: AsyncClient) -> None:
    app.clientside_callback(
        ClientsideFunction("page", "groupsDue"),
        Output("groups-ask", "data"),
        Input("shared-tick", "n_intervals"),
        State("groups-busy", "data"),
    )

    @app.callback(
        Output("groups-list", "children"),
        Output("group-a", "data"),
        Output("group-b", "data"),
        Output("group-sets", "style"),
        Output("groups-seen", "data"),
        Output("groups-problem", "children"),
        Input("groups-ask", "data"),
        Input("groups-changed", "data"),
        State("groups-seen", "data"),
        State("run", "data"),
        running=[(Output("groups-busy", "data"), True, False)],
        prevent_initial_call=True,
    )
    async def _list(_: Any, __: Any, seen: str | None, run: Any) -> Any:
        unchanged = [no_update] * 5
        try:
            found = await api.send(client.groups(run["model"]))
        except ModelShapleyError as error:
            return *unchanged, empty_states.trying_again(error)
        now = " ".join(group.id for group in found) or "none"
        if now == seen:
            return *unchanged, no_update
        names = [{"value": group.id, "label": group.name} for group in found]
        return listing(found), names, names, {} if len(found) > 1 else {"display": "none"}, now, None

    @app.callback(
        Output("groups-changed", "data"),
        Output("group-name", "value"),
        Output("groups-dropped", "data"),
        Output("groups-told", "children"),
        Output("groups-deleted", "hidden"),
        Output("groups-problem", "children", allow_duplicate=True),
        Input("group-save", "n_clicks"),
        Input("group-undo", "n_clicks"),
        Input({"type": "group-drop", "group": ALL}, "n_clicks"),
        State("group-name", "value"),
        State("groups-dropped", "data"),
        State("selection", "data"),
        State("run", "data"),
        prevent_initial_call=True,
    )
    async def _change(_: Any, __: Any, ___: Any, name: str | None, dropped: Any, selection: Any, run: Any) -> Any:
        unchanged = [no_update] * 5
        if not ctx.triggered[0]["value"]:
            return *unchanged, no_update
        model = run["model"]
        try:
            if ctx.triggered_id == "group-save":
                request = to_save(name, model, chosen(selection))
                if isinstance(request, str):
                    return *unchanged, html.Div(request, className="problem")
                return (await api.send(client.add_group(request))).id, "", None, "", True, None
            if ctx.triggered_id == "group-undo":
                again = GroupRequest.model_validate(dropped)
                return (await api.send(client.add_group(again))).id, no_update, None, "", True, None
            group = await _group(api, model, ctx.triggered_id["group"])
            await api.send(client.drop_group(group.id))
        except ModelShapleyError as error:
            return *unchanged, empty_states.failure(error)
        kept = group.model_dump(mode="json", include={"name", "model", "off"})
        return f"without {group.id}", no_update, kept, f"“{group.name}” is deleted.", False, None

    @app.callback(
        Output("taken", "data"),
        Output("groups-problem", "children", allow_duplicate=True),
        Input({"type": "group-use", "how": ALL, "group": ALL}, "n_clicks"),
        Input("group-take", "n_clicks"),
        State("group-how", "value"),
        State("group-a", "value"),
        State("group-b", "value"),
        State("selection", "data"),
        State("run", "data"),
        prevent_initial_call=True,
    )
    async def _take(_: Any, __: Any, how: str, a: str | None, b: str | None, selection: Any, run: Any) -> Any:
        if not ctx.triggered[0]["value"]:
            return no_update, no_update
        try:
            if ctx.triggered_id == "group-take":
                if a is None or b is None:
                    return no_update, html.Div("Choose a group as A and one as B.", className="problem")
                one, other = [(await _group(api, run["model"], which)).off.deactivation() for which in (a, b)]
                wanted = combine(how, one, other)
                if not len(wanted):
                    return no_update, html.Div(f"No unit: “{how}” is empty for these two.", className="problem")
            else:
                group = (await _group(api, run["model"], ctx.triggered_id["group"])).off.deactivation()
                use = ctx.triggered_id["how"]
                wanted = group if use == "use" else combine(use, chosen(selection), group)
        except ModelShapleyError as error:
            return no_update, empty_states.failure(error)
        return {"units": held(wanted)}, None


def to_save(name: str | None, model: str, units: Deactivation) -> GroupRequest | str:
    """A group of what is chosen, or what is missing."""
    if not len(units):
        return "Choose units first: click cells of the map, drag a box, or take a share."
    if not (name or "").strip():
        return "Give the group a name."
    if len(str(name).strip()) > LONGEST_NAME:
        return f"A group's name has at most {LONGEST_NAME} letters."
    return GroupRequest(name=str(name).strip(), model=model, off=Off.from_deactivation(units))


async def _group(api: AsyncClient, model: str, group_id: str) -> Group:
    """Raises NotFound where somebody else has deleted it."""
    for group in await api.send(client.groups(model)):
        if group.id == group_id:
            return group
    raise NotFound("This group has been deleted; choose another one.")


def listing(found: list[Group]) -> Any:
    """One line a group, with what can be done with it."""
    if not found:
        return html.Div(EMPTY, className="quiet")
    return [
        html.Div(
            [
                html.Div(
                    [html.Strong(group.name), html.Div(formatting.units(group.counts), className="quiet")],
                    className="group-words",
                ),
                *(
                    dmc.Button(
                        label,
                        id={"type": "group-use", "how": how, "group": group.id},
                        variant="default",
                        size="compact-xs",
                        **{"aria-label": f"{label} {group.name}"},
                    )
                    for how, label in USES.items()
                ),
                dmc.Button(
                    "✕",
                    id={"type": "group-drop", "group": group.id},
                    variant="subtle",
                    color="gray",
                    size="compact-xs",
                    **{"aria-label": f"Delete {group.name}"},
                ),
            ],
            className="one-line group",
        )
        for group in found
    ]
