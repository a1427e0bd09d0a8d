"""The dashboard: one shell, its pages, and the way between them."""

from __future__ import annotations

import logging
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, html, no_update
from fastapi import FastAPI

from frontend import address, figure_route
from frontend.links import inner, link, serve_under
from frontend.map_cache import Maps
from frontend.pages.compare import page as compare_page
from frontend.pages.map import page as map_page
from frontend.pages.runs import deleted as deleted_page
from frontend.pages.runs import page as runs_page
from frontend.pages.shared import drawing, empty_states
from frontend.pages.submit import page as submit_page
from frontend.pages.system import page as system_page
from frontend.pages.tasks import page as tasks_page
from frontend.pages.trust import page as trust_page
from frontend.report import route
from modelshapley import client
from modelshapley.client import ApiError, AsyncClient
from modelshapley.errors import ModelShapleyError

log = logging.getLogger(__name__)
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
{%metas%}
<meta name="root-path" content="{root_path}/">
<title>{%title%}</title>
<link rel="icon" type="image/svg+xml" href="{root_path}/assets/favicon.svg">
{%css%}
</head>
<body>
{%app_entry%}
<footer>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>"""


def attach(root: FastAPI, api: AsyncClient, path: str = "") -> Dash:
    """Serve the dashboard from `root`; it reads and writes through `api` only.

    path: what browsers ask for it under, '/lab/shapley', say.
    """
    serve_under(path)
    maps = Maps(api)
    route.register(root, api, maps)
    figure_route.register(root, api, maps)
    app = Dash(
        __name__,
        server=root,
        title="Model Shapley",
        update_title=None,
        index_string=PAGE.replace("{root_path}", path),
        routes_pathname_prefix="/",
        requests_pathname_prefix=f"{path}/",
        suppress_callback_exceptions=True,
        on_error=_unexpected,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
    )
    app.layout = _shell
    runs_page.register(app, api)
    map_page.register(app, api, maps)
    tasks_page.register(app, api)
    compare_page.register(app, api, maps)
    trust_page.register(app, api)
    drawing.register(app)
    submit_page.register(app, api)
    system_page.register(app, api)
    deleted_page.register(app, api, lambda path, search: _page(api, maps, inner(path), search))

    @app.callback(
        Output("page", "children"),
        Output("nav-runs", "className"),
        Output("nav-tasks", "className"),
        Output("nav-compare", "className"),
        Output("nav-system", "className"),
        Output("shown", "data"),
        Input("url", "pathname"),
        Input("url", "search"),
        State("shown", "data"),
    )
    async def _show(asked: str, search: str | None, shown: list[str] | None) -> Any:
        now = [asked, search or ""]
        if now == shown:  # a page that has changed its own address
            return [no_update] * 6
        path = inner(asked)
        here = ["here" if path == known else "" for known in ("/", "/tasks", "/compare", "/system")]
        return await _page(api, maps, path, search or ""), *here, now

    # Dash would do this at the first request for "/"; whoever opened a link to a run before would get
    # a page without scripts. There is no public name for it in Dash 4.4.
    app._setup_server()
    return app


def _unexpected(error: Exception) -> None:
    """Dash answers 500 and says nothing; our log tells what it was."""
    log.error("a callback failed", exc_info=error)
    raise error


def _shell() -> Any:
    header = html.Header(
        dmc.Group(
            [
                dmc.Group(
                    [
                        dcc.Link("Model Shapley", href=link("/"), className="brand"),
                        dcc.Link("Runs", href=link("/"), id="nav-runs"),
                        dcc.Link("Compare", href=link("/compare"), id="nav-compare"),
                        dcc.Link("Tasks", href=link("/tasks"), id="nav-tasks"),
                        dcc.Link("System", href=link("/system"), id="nav-system"),
                        html.A("API", href=link("/api/docs")),
                    ],
                    gap="xl",
                ),
                dmc.ColorSchemeToggle(
                    lightIcon=html.Span("☀", **{"aria-hidden": "true"}),
                    darkIcon=html.Span("☾", **{"aria-hidden": "true"}),
                    variant="subtle",
                    size="lg",
                    **{"aria-label": "Switch between light and dark"},
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
    return dmc.MantineProvider(
        [
            dcc.Location(id="url", refresh="callback-nav"),
            dcc.Store(id="theme"),
            dcc.Store(id="shown"),
            header,
            html.Div(id="banner", role="status", hidden=True),
            html.Main(html.Div(id="page", className="shell")),
        ],
        defaultColorScheme="auto",
        theme={
            "primaryColor": "blue",
            "primaryShade": {"light": 8, "dark": 8},
            "fontFamily": "Inter, system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif",
        },
    )


async def _page(api: AsyncClient, maps: Maps, path: str, search: str) -> Any:
    try:
        if path == "/":
            return await runs_page.layout(search)
        if path == "/new":
            return await submit_page.layout(api, search)
        if path == "/system":
            return system_page.layout()
        if path == "/tasks":
            return await tasks_page.layout(api, search)
        if path == "/compare":
            return await compare_page.layout(api, search)
        trusted = address.trusted_run_of(path)
        run_id = trusted or address.run_of(path)
        if run_id is not None:
            run, view = await api.send(client.run(run_id)), address.parse(search)
            if run.deleted is not None:
                return await deleted_page.layout(api, run)
            return await (trust_page.layout(api, run, view) if trusted else map_page.layout(api, maps, run, view))
    except ApiError as error:
        if error.problem.status == 404:
            return empty_states.state("No such run", error.problem.detail, dcc.Link("See the runs", href=link("/")))
        return empty_states.failure(error)
    except ModelShapleyError as error:
        return empty_states.failure(error)
    return empty_states.not_found(path)
