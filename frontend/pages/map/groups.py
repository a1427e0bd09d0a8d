"""Saved groups: named sets of units that everyone shares who works on the same model, and set operations on them."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import ALL, Input, Output, State, ctx, dcc, html, no_update

from frontend.pages.shared import empty_states
from frontend.pages.shared.wiring import Callbacks
from frontend.selection import OPERATIONS, as_selection, combine, deactivation_of
from modelshapley import client, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts import Group, GroupRequest, Off
from modelshapley.errors import ModelShapleyError, NotFound
from modelshapley.units import Deactivation

callbacks = Callbacks()

EMPTY = "No groups for this model yet. Select units and save them under a name."
LONGEST_NAME = 80
# The set operation of each button, with the selection as A and the group as B; "use" replaces the selection.
USES = {"use": "Use", "either": "Add", "only in A": "Remove"}


def layout() -> Any:
    """Lay out the section, with an empty list until the groups are fetched."""
    return html.Details(
        [
            html.Summary("Saved groups"),
            *(dcc.Store(id=f"groups-{name}") for name in ("request", "busy", "seen", "changed", "deleted")),
            html.Div(
                [
                    dmc.TextInput(
                        id="group-name",
                        placeholder="name for the selected units",
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
                    html.Span(id="groups-deleted-text"),
                    dmc.Button("Undo", id="group-undo", variant="default", size="compact-xs"),
                ],
                id="groups-undo",
                className="one-line quiet",
                hidden=True,
            ),
            html.Div("Loading groups …", id="groups-list"),
            _set_operations(),
        ],
        id="groups",
        className="section",
    )


def _set_operations() -> Any:
    """Two groups, a set operation, and the button that selects its result; hidden while there are fewer than two."""
    return html.Div(
        [
            html.Div(dmc.Select(id="group-a", size="xs", placeholder="A", **{"aria-label": "Group A"})),
            html.Div(dmc.Select(id="group-b", size="xs", placeholder="B", **{"aria-label": "Group B"})),
            dmc.SegmentedControl(
                id="group-operation",
                data=list(OPERATIONS),
                value="both",
                size="xs",
                className="wide",
                **{"aria-label": "Which units of groups A and B"},
            ),
            dmc.Button("Select", id="group-combine", variant="light", size="xs", className="wide"),
        ],
        id="group-sets",
        className="set-grid",
        style={"display": "none"},
    )


callbacks.browser(
    "page",
    "groupsDue",
    Output("groups-request", "data"),
    Input("shared-tick", "n_intervals"),
    State("groups-busy", "data"),
)


@callbacks.server(
    Output("groups-list", "children"),
    Output("group-a", "data"),
    Output("group-b", "data"),
    Output("group-sets", "style"),
    Output("groups-seen", "data"),
    Output("groups-problem", "children"),
    Input("groups-request", "data"),
    Input("groups-changed", "data"),
    State("groups-seen", "data"),
    State("run", "data"),
    running=[(Output("groups-busy", "data"), True, False)],  # assets/callbacks.js asks again only when this is over
    prevent_initial_call=True,
)
async def list_groups(_: Any, __: Any, listed_key: str | None, run: Any, *, api: AsyncClient) -> Any:
    """List the groups of the model, if they have changed."""
    unchanged = [no_update] * 5
    try:
        groups = await api.send(client.groups(run["model"]))
    except ModelShapleyError as error:
        return *unchanged, empty_states.trying_again(error)
    key = " ".join(group.id for group in groups) or "none"
    if key == listed_key:
        return *unchanged, no_update
    names = [{"value": group.id, "label": group.name} for group in groups]
    return listing(groups), names, names, {} if len(groups) > 1 else {"display": "none"}, key, None


@callbacks.server(
    Output("groups-changed", "data"),
    Output("group-name", "value"),
    Output("groups-deleted", "data"),
    Output("groups-deleted-text", "children"),
    Output("groups-undo", "hidden"),
    Output("groups-problem", "children", allow_duplicate=True),
    Input("group-save", "n_clicks"),
    Input("group-undo", "n_clicks"),
    Input({"type": "group-delete", "group": ALL}, "n_clicks"),
    State("group-name", "value"),
    State("groups-deleted", "data"),
    State("selection", "data"),
    State("run", "data"),
    prevent_initial_call=True,
)
async def change_groups(
    _: Any, __: Any, ___: Any, name: str | None, deleted: Any, selection: Any, run: Any, *, api: AsyncClient
) -> Any:
    """Save the selection as a group, delete a group, or restore the one that was deleted last."""
    unchanged = [no_update] * 5
    if not ctx.triggered[0]["value"]:
        return *unchanged, no_update
    try:
        if ctx.triggered_id == "group-save":
            request = to_save(name, run["model"], deactivation_of(selection))
            if isinstance(request, str):
                return *unchanged, html.Div(request, className="problem")
            return (await api.send(client.add_group(request))).id, "", None, "", True, None
        if ctx.triggered_id == "group-undo":
            restored = await api.send(client.add_group(GroupRequest.model_validate(deleted)))
            return restored.id, no_update, None, "", True, None
        group = await _group(api, run["model"], ctx.triggered_id["group"])
        await api.send(client.drop_group(group.id))
    except ModelShapleyError as error:
        return *unchanged, empty_states.failure(error)
    undo = group.model_dump(mode="json", include={"name", "model", "off"})
    return f"without {group.id}", no_update, undo, f"Deleted “{group.name}”.", False, None


@callbacks.server(
    Output("loaded", "data"),
    Output("groups-problem", "children", allow_duplicate=True),
    Input({"type": "group-use", "operation": ALL, "group": ALL}, "n_clicks"),
    Input("group-combine", "n_clicks"),
    State("group-operation", "value"),
    State("group-a", "value"),
    State("group-b", "value"),
    State("selection", "data"),
    State("run", "data"),
    prevent_initial_call=True,
)
async def load_group(
    _: Any,
    __: Any,
    operation: str,
    a: str | None,
    b: str | None,
    selection: Any,
    run: Any,
    *,
    api: AsyncClient,
) -> Any:
    """Select a group, the selection combined with a group, or two groups combined."""
    if not ctx.triggered[0]["value"]:
        return no_update, no_update
    try:
        if ctx.triggered_id == "group-combine":
            if a is None or b is None:
                return no_update, html.Div("Choose a group A and a group B.", className="problem")
            units = combine(operation, await _units(api, run["model"], a), await _units(api, run["model"], b))
            if not len(units):
                return no_update, html.Div(f"“{operation}” selects no units of these two groups.", className="problem")
        else:
            group = await _units(api, run["model"], ctx.triggered_id["group"])
            use = ctx.triggered_id["operation"]
            units = group if use == "use" else combine(use, deactivation_of(selection), group)
    except ModelShapleyError as error:
        return no_update, empty_states.failure(error)
    return {"units": as_selection(units)}, None


async def _units(api: AsyncClient, model: str, group_id: str) -> Deactivation:
    return (await _group(api, model, group_id)).off.deactivation()


def to_save(name: str | None, model: str, units: Deactivation) -> GroupRequest | str:
    """Return the request to save units as a group, or a sentence on what is missing."""
    if not len(units):
        return "Select units first: click cells of the map, drag a box, or switch a share off."
    if not (name or "").strip():
        return "Enter a name for the group."
    if len(str(name).strip()) > LONGEST_NAME:
        return f"The name is too long. Use at most {LONGEST_NAME} characters."
    return GroupRequest(name=str(name).strip(), model=model, off=Off.from_deactivation(units))


async def _group(api: AsyncClient, model: str, group_id: str) -> Group:
    """Return a group by its id. Raises NotFound where somebody else has deleted it."""
    for group in await api.send(client.groups(model)):
        if group.id == group_id:
            return group
    raise NotFound("This group has been deleted. Choose another one.")


def listing(groups: list[Group]) -> Any:
    """List groups, one line each, with their buttons."""
    if not groups:
        return html.Div(EMPTY, className="quiet")
    return [
        html.Div(
            [
                html.Div(
                    [html.Strong(group.name), html.Div(formatting.units(group.counts), className="quiet")],
                    className="group-text",
                ),
                *(
                    dmc.Button(
                        label,
                        id={"type": "group-use", "operation": operation, "group": group.id},
                        variant="default",
                        size="compact-xs",
                        **{"aria-label": f"{label} {group.name}"},
                    )
                    for operation, label in USES.items()
                ),
                dmc.Button(
                    "✕",
                    id={"type": "group-delete", "group": group.id},
                    variant="subtle",
                    color="gray",
                    size="compact-xs",
                    **{"aria-label": f"Delete {group.name}"},
                ),
            ],
            className="one-line group",
        )
        for group in groups
    ]
