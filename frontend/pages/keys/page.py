"""The page of keys, for admins: make and revoke named keys, and read who changed what."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import ALL, Input, Output, State, ctx, dcc, html, no_update
from pydantic import ValidationError

from frontend.links import link
from frontend.pages.keys import keys_view
from frontend.pages.shared import empty_states
from frontend.pages.shared.wiring import Callbacks
from modelshapley import client
from modelshapley.client import AsyncClient
from modelshapley.contracts import KeyRequest, Scope
from modelshapley.contracts.keys import MAX_PER_MINUTE, MAX_QUEUED
from modelshapley.errors import ModelShapleyError

callbacks = Callbacks()
PAGE_SIZE = 50
NAME_HINT = "1 to 80 letters, digits, spaces or . _ @ -, the first a letter or digit"


async def layout(api: AsyncClient) -> Any:
    """Lay out the page, or say who may see it. Raises ModelShapleyError."""
    caller = await api.send(client.me())
    if caller.scope is not Scope.ADMIN:
        sentence = f"Your key has the scope '{caller.scope.value}'. Keys and the audit log need the scope 'admin'."
        return empty_states.state("For admins only", sentence, dcc.Link("Back to the runs", href=link("/")))
    return html.Div(
        [
            dmc.Title("Keys", order=1, size="h2", mb="xs"),
            html.P(_about(caller.keys_needed), className="quiet"),
            dcc.Store(id="keys-changed"),
            dcc.Store(id="revoke-which"),
            dcc.ConfirmDialog(id="revoke-confirm"),
            html.Div(id="keys-problem", role="alert"),
            html.Div(id="key-secret", role="status"),
            _form(),
            html.Div(dmc.Skeleton(h=72, radius="md"), id="keys-list"),
            dmc.Title("Audit log", order=2, size="h3", mt="xl", mb="xs"),
            dcc.Store(id="audit-offset", data=0),
            html.Div(dmc.Skeleton(h=72, radius="md"), id="audit-list"),
            dmc.Group(
                [
                    dmc.Button("Newer", id="audit-newer", variant="default", size="xs", disabled=True),
                    dmc.Button("Older", id="audit-older", variant="default", size="xs", disabled=True),
                ],
                mt="sm",
            ),
        ]
    )


def _about(needed: bool) -> str:
    if needed:
        return "Give each person or script a key of its own. Runs show whose key submitted them."
    return "This server requires no key. Set MODELSHAPLEY_API_KEY and restart it, and the keys below are asked for."


def _form() -> Any:
    scopes = [{"value": scope.value, "label": label} for scope, label in keys_view.SCOPES.items()]
    return html.Div(
        [
            dmc.TextInput(id="key-name", label="Name", placeholder="ada", inputProps={"maxLength": 80}),
            dmc.Select(
                id="key-scope", label="Scope", data=scopes, value="submit", allowDeselect=False, className="key-scope"
            ),
            dmc.NumberInput(
                id="key-rate", label="Requests a minute", placeholder="default", min=1, max=MAX_PER_MINUTE, step=1
            ),
            dmc.NumberInput(id="key-queued", label="Open work", placeholder="default", min=1, max=MAX_QUEUED, step=1),
            dmc.Button("Make a key", id="key-make"),
        ],
        className="key-form",
    )


@callbacks.server(Output("keys-list", "children"), Output("keys-problem", "children"), Input("keys-changed", "data"))
async def show_keys(_: Any, *, api: AsyncClient) -> Any:
    """Show the keys again after each change."""
    try:
        listed = await api.send(client.keys())
    except ModelShapleyError as error:
        return no_update, empty_states.failure(error)
    return keys_view.keys(listed), None


@callbacks.server(
    Output("key-secret", "children"),
    Output("key-name", "value"),
    Output("key-name", "error"),
    Output("keys-changed", "data", allow_duplicate=True),
    Input("key-make", "n_clicks"),
    State("key-name", "value"),
    State("key-scope", "value"),
    State("key-rate", "value"),
    State("key-queued", "value"),
    prevent_initial_call=True,
)
async def make_key(
    clicks: int | None, name: str | None, scope: str, rate: Any, queued: Any, *, api: AsyncClient
) -> Any:
    """Make a key and show its secret, which is in this answer only."""
    if not clicks:
        return [no_update] * 4
    try:
        limits = {"requests_per_minute": rate or None, "max_queued": queued or None}
        request = KeyRequest.model_validate({"name": (name or "").strip(), "scope": scope, **limits})
        key = await api.send(client.create_key(request))
    except ValidationError as error:
        field = str(error.errors()[0]["loc"][-1])
        return None, no_update, NAME_HINT if field == "name" else "the limits must be whole numbers", no_update
    except ModelShapleyError as error:
        return None, no_update, str(error), no_update
    return keys_view.secret(key), "", None, f"made {key.id}"


@callbacks.server(
    Output("revoke-confirm", "displayed"),
    Output("revoke-confirm", "message"),
    Output("revoke-which", "data"),
    Input({"type": "revoke-key", "key": ALL, "name": ALL}, "n_clicks"),
    prevent_initial_call=True,
)
async def ask_before_revoking(clicks: list[int | None]) -> Any:
    """Ask whether a key shall stop working."""
    # A button fires when it is drawn, too; only one that was clicked carries a number.
    if not any(clicks) or not isinstance(ctx.triggered_id, dict):
        return no_update, no_update, no_update
    name = ctx.triggered_id["name"]
    message = f"Revoke the key {name}? It stops working within 5 seconds, for good. Its runs stay."
    return True, message, ctx.triggered_id["key"]


@callbacks.server(
    Output("keys-changed", "data", allow_duplicate=True),
    Output("keys-problem", "children", allow_duplicate=True),
    Input("revoke-confirm", "submit_n_clicks"),
    State("revoke-which", "data"),
    prevent_initial_call=True,
)
async def revoke_key(clicks: int | None, key: str | None, *, api: AsyncClient) -> Any:
    """Revoke the key that was asked about."""
    if not clicks or key is None:
        return no_update, no_update
    try:
        await api.send(client.revoke_key(key))
    except ModelShapleyError as error:
        return no_update, empty_states.failure(error)
    return f"revoked {key}", None


@callbacks.server(
    Output("audit-list", "children"),
    Output("audit-offset", "data"),
    Output("audit-newer", "disabled"),
    Output("audit-older", "disabled"),
    Input("audit-newer", "n_clicks"),
    Input("audit-older", "n_clicks"),
    Input("keys-changed", "data"),
    State("audit-offset", "data"),
)
async def show_audit(_: Any, __: Any, ___: Any, offset: int, *, api: AsyncClient) -> Any:
    """Show a page of the audit log; a change of the keys shows its newest one."""
    step = {"audit-newer": -PAGE_SIZE, "audit-older": PAGE_SIZE}.get(str(ctx.triggered_id), -offset)
    offset = max(0, offset + step)
    try:
        entries = await api.send(client.audit(PAGE_SIZE + 1, offset))
    except ModelShapleyError as error:
        return empty_states.failure(error), no_update, no_update, no_update
    return keys_view.audit(entries[:PAGE_SIZE]), offset, offset == 0, len(entries) <= PAGE_SIZE
