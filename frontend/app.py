"""The dashboard: the frame around all pages, and the routing between them."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, html, no_update
from fastapi import FastAPI

from frontend import address, figure_route
from frontend.links import inner, link, serve_under
from frontend.map_cache import MapCache
from frontend.pages.apply import page as apply_page
from frontend.pages.compare import page as compare_page
from frontend.pages.keys import page as keys_page
from frontend.pages.map import page as map_page
from frontend.pages.prompts import page as prompts_page
from frontend.pages.reading import page as reading_page
from frontend.pages.runs import deleted as deleted_page
from frontend.pages.runs import page as runs_page
from frontend.pages.runs.card_cache import CardCache
from frontend.pages.shared import drawing, empty_states
from frontend.pages.shared.wiring import Callbacks, PageRenderer
from frontend.pages.submit import page as submit_page
from frontend.pages.system import page as system_page
from frontend.pages.tasks import page as tasks_page
from frontend.pages.trust import page as trust_page
from frontend.report import route
from modelshapley import client
from modelshapley.client import ApiError, AsyncClient
from modelshapley.contracts import Scope
from modelshapley.errors import ModelShapleyError

log = logging.getLogger(__name__)
callbacks = Callbacks()
PLOTLY = Path(__file__).parent / "assets" / "plotly-cartesian.min.js"  # loaded on demand: assets/plotting.js
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
{%metas%}
<meta name="root-path" content="{root_path}/">
<meta name="plotly" content="{plotly}">
<title>{%title%}</title>
<link rel="icon" type="image/svg+xml" href="{root_path}/assets/favicon.svg">
{%css%}
</head>
<body>
<div id="opening"><b>Model Shapley</b><p>Which neurons, heads and layers of a transformer carry a task?</p>
<p>Loading the dashboard …</p></div>
{%app_entry%}
<footer>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>"""


def attach(root: FastAPI, api: AsyncClient, path: str = "") -> Dash:
    """Serve the dashboard from `root`. It reads and writes only through `api`.

    path: the path that browsers reach it under, such as '/lab/shapley'.
    """
    serve_under(path)
    maps = MapCache(api)
    route.register(root, api, maps)
    figure_route.register(root, api, maps)
    app = Dash(
        __name__,
        server=root,
        title="Model Shapley",
        update_title=None,
        assets_ignore=PLOTLY.name,
        index_string=PAGE.replace("{root_path}", path).replace("{plotly}", f"{path}{_plotly_address()}"),
        routes_pathname_prefix="/",
        requests_pathname_prefix=f"{path}/",
        suppress_callback_exceptions=True,
        on_error=_log_error,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
    )
    app.layout = _frame
    callbacks.wire(
        app,
        api=api,
        maps=maps,
        cards=CardCache(),
        render_page=lambda path, search: _page(api, maps, inner(path), search),
    )
    # Dash would do this at the first request for "/", and a link to a run that is opened before would get a page
    # without scripts. Dash 4.4 has no public name for it.
    app._setup_server()
    return app


@callbacks.server(
    Output("page", "children"),
    Output("nav-runs", "className"),
    Output("nav-try", "className"),
    Output("nav-tasks", "className"),
    Output("nav-compare", "className"),
    Output("nav-system", "className"),
    Output("visible-address", "data"),
    Input("url", "pathname"),
    Input("url", "search"),
    State("visible-address", "data"),
)
async def show_page(pathname: str, search: str | None, visible: list[str] | None, *, render_page: PageRenderer) -> Any:
    """Show the page at the browser's address, and mark it in the navigation."""
    address = [pathname, search or ""]
    if address == visible:  # a page has changed its own address
        return [no_update] * 7
    path = inner(pathname)
    marks = ["here" if path == page else "" for page in ("/", "/try", "/tasks", "/compare", "/system")]
    return await render_page(pathname, search or ""), *marks, address


callbacks.include(
    runs_page.callbacks,
    map_page.callbacks,
    prompts_page.callbacks,
    tasks_page.callbacks,
    compare_page.callbacks,
    trust_page.callbacks,
    apply_page.callbacks,
    drawing.callbacks,
    submit_page.callbacks,
    system_page.callbacks,
    keys_page.callbacks,
    deleted_page.callbacks,
)


@callbacks.server(Output("account", "children"), Input("account", "id"))
async def show_account(_: str, *, api: AsyncClient) -> Any:
    """Show whose key this browser uses, with a way to log out; nothing where no key is needed."""
    caller = await api.send(client.me())
    if not caller.keys_needed:
        return None
    name = caller.name or "server key"
    button = html.Button("Log out", type="submit", className="plain-button")
    logout = html.Form(
        [html.Span(name, title=f"scope: {caller.scope.value}"), button],
        method="post",
        action=link("/logout"),
        className="account",
    )
    keys = dcc.Link("Keys", href=link("/keys")) if caller.scope is Scope.ADMIN else None
    return html.Div([keys, logout], className="account")


def _plotly_address() -> str:
    """Return the path of plotly.js, which changes with its contents: see asset_cache."""
    return f"/assets/{PLOTLY.name}?m={hashlib.sha256(PLOTLY.read_bytes()).hexdigest()[:12]}"


def _log_error(error: Exception) -> None:
    """Log an error of a callback, which Dash answers with a bare 500."""
    log.error("a callback failed", exc_info=error)
    raise error


def _frame() -> Any:
    """Everything around the page: stores, navigation, banner."""
    return dmc.MantineProvider(
        [
            html.A("Skip to the content", href="#content", className="skip"),
            dcc.Location(id="url", refresh="callback-nav"),
            dcc.Store(id="theme"),
            dcc.Store(id="visible-address"),
            _header(),
            html.Div(id="banner", role="status", hidden=True),
            html.Main(html.Div(id="page", className="shell"), id="content", tabIndex=-1),
        ],
        defaultColorScheme="auto",
        theme={
            "primaryColor": "blue",
            "primaryShade": {"light": 8, "dark": 8},
            "fontFamily": "InterVariable, Inter, system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif",
        },
    )


def _logo() -> Any:
    return html.Img(src=link("/assets/favicon.svg"), alt="", width=22, height=22)


def _header() -> Any:
    return html.Header(
        dmc.Group(
            [
                dmc.Group(
                    [
                        dcc.Link([_logo(), "Model Shapley"], href=link("/"), className="brand"),
                        html.Button(
                            "Menu", id="nav-button", className="menu-button", **{"aria-expanded": "false"}
                        ),  # on small screens; assets/live.js opens it
                        html.Nav(
                            [
                                dcc.Link("Runs", href=link("/"), id="nav-runs"),
                                dcc.Link("Try", href=link("/try"), id="nav-try"),
                                dcc.Link("Compare", href=link("/compare"), id="nav-compare"),
                                dcc.Link("Tasks", href=link("/tasks"), id="nav-tasks"),
                                dcc.Link("System", href=link("/system"), id="nav-system"),
                                html.A("API", href=link("/api/docs")),
                            ],
                            id="nav",
                            **{"aria-label": "Pages"},
                        ),
                    ],
                    gap="xl",
                ),
                dmc.Group(
                    [
                        html.Div(id="account"),
                        dmc.ColorSchemeToggle(
                            lightIcon=html.Span("☀", **{"aria-hidden": "true"}),
                            darkIcon=html.Span("☾", **{"aria-hidden": "true"}),
                            variant="subtle",
                            size="lg",
                            **{"aria-label": "Switch between light and dark"},
                        ),
                    ],
                    gap="sm",
                ),
            ],
            justify="space-between",
            h=56,
            px=24,
            className="topbar",
        ),
        style={
            "borderBottom": "1px solid var(--mantine-color-default-border)",
            "position": "sticky",
            "top": 0,
            "zIndex": 20,
            "background": "var(--mantine-color-body)",
        },
    )


async def _page(api: AsyncClient, maps: MapCache, path: str, search: str) -> Any:
    """Lay out the page at a path of ours; errors become pages, too."""
    try:
        if path == "/":
            return await runs_page.layout(api, search)
        if path == "/new":
            return await submit_page.layout(api, search)
        if path == "/reading":
            return reading_page.layout()
        if path == "/system":
            return system_page.layout()
        if path == "/keys":
            return await keys_page.layout(api)
        if path == "/tasks":
            return await tasks_page.layout(api, search)
        if path == "/try":
            return await prompts_page.layout(api, maps, search)
        if path == "/compare":
            return await compare_page.layout(api, search)
        trust_run = address.trust_run_of(path)
        apply_run = address.apply_run_of(path)
        run_id = trust_run or apply_run or address.run_of(path)
        if run_id is not None:
            run, view = await api.send(client.run(run_id)), address.parse(search)
            if run.deleted is not None:
                return await deleted_page.layout(api, run)
            if apply_run:
                return await apply_page.layout(api, run)
            return await (trust_page.layout(api, run, view) if trust_run else map_page.layout(api, maps, run, view))
    except ApiError as error:
        if error.problem.status == 404:
            return empty_states.state(
                "Run not found", error.problem.detail, dcc.Link("Back to the runs", href=link("/"))
            )
        return empty_states.failure(error)
    except ModelShapleyError as error:
        return empty_states.failure(error)
    return empty_states.not_found(path)
