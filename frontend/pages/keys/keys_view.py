"""The parts of the page of keys, from contracts to components. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html

from frontend.links import link
from modelshapley.contracts import AuditEntry, Key, NewKey, Scope

SCOPES = {
    Scope.READ: "read: see everything",
    Scope.MEASURE: "measure: also trials, previews and groups",
    Scope.SUBMIT: "submit: also runs, tasks and uploads",
    Scope.ADMIN: "admin: also everybody's work, keys and this log",
}
KEY_TITLES = ("Name", "Scope", "Requests a minute", "Open work", "Made", "State")
AUDIT_TITLES = ("When", "Key", "Change", "Of what")
ACTIONS_ON_RUNS = {"submit_run", "cancel_run", "delete_run", "restore_run", "label_run", "check_maps", "cancel_check"}


def keys(listed: Sequence[Key]) -> Any:
    """The table of keys, those in use first, each with a button that revokes it."""
    if not listed:
        return html.P("No key has been made yet.", className="quiet")
    rows = [_key(key) for key in sorted(listed, key=lambda key: (key.revoked is not None, key.name))]
    return _table(KEY_TITLES, rows, "Keys")


def _key(key: Key) -> Any:
    state = (
        html.Span(["revoked ", _moment(key.revoked)])
        if key.revoked is not None
        else html.Button(
            "Revoke",
            id={"type": "revoke-key", "key": key.id, "name": key.name},
            className="plain-button",
            **{"aria-label": f"Revoke the key {key.name}"},
        )
    )
    limits = ["default" if limit is None else f"{limit:,}" for limit in (key.requests_per_minute, key.max_queued)]
    cells = [key.name, key.scope.value, *limits, _moment(key.created), state]
    return html.Tr(_cells(KEY_TITLES, cells), className="quiet" if key.revoked is not None else "")


def secret(key: NewKey) -> Any:
    """The secret of a key that was just made."""
    return dmc.Alert(
        [
            html.P("Copy the secret now. It is shown this once; only a hash of it is stored."),
            html.Div(
                [html.Code(key.secret, id="new-secret", className="secret"), dcc.Clipboard(target_id="new-secret")]
            ),
            html.P(["Send it with each request as ", html.Code("Authorization: Bearer ..."), ", or log in with it."]),
        ],
        title=f"The key {key.name} was made",
        color="blue",
        variant="light",
        mb="md",
    )


def audit(entries: Sequence[AuditEntry]) -> Any:
    """The table of changes, newest first."""
    if not entries:
        return html.P("Nothing was changed yet.", className="quiet")
    rows = [html.Tr(_cells(AUDIT_TITLES, _audit_cells(entry))) for entry in entries]
    return _table(AUDIT_TITLES, rows, "Audit log")


def _audit_cells(entry: AuditEntry) -> list[Any]:
    target: Any = entry.target
    if entry.action in ACTIONS_ON_RUNS:
        target = dcc.Link(entry.target, href=link(f"/runs/{entry.target}"))
    return [_moment(entry.at), entry.key or "server key", entry.action.replace("_", " "), target]


def _cells(titles: Sequence[str], contents: Sequence[Any]) -> list[Any]:
    """The cells of a row, with the titles that they have as a card."""
    return [html.Td(content, **{"data-label": title}) for title, content in zip(titles, contents, strict=True)]


def _table(titles: Sequence[str], rows: Sequence[Any], name: str) -> Any:
    table = html.Table(
        [html.Thead(html.Tr([html.Th(title) for title in titles])), html.Tbody(rows)], className="text-table cards"
    )
    # A region that scrolls sideways on a phone must be reachable with the keyboard.
    return html.Div(table, className="wide-table", role="region", tabIndex=0, **{"aria-label": name})


def _moment(moment: datetime | None) -> Any:
    assert moment is not None
    return html.Time(moment.strftime("%Y-%m-%d %H:%M UTC"), dateTime=moment.isoformat())
