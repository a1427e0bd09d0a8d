"""The submit page: a form for a run, and its estimated cost."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import dash_mantine_components as dmc
from dash import Output, State, html
from pydantic import ValidationError

from frontend.pages.shared import empty_states
from frontend.pages.shared.wiring import Callbacks
from frontend.pages.submit import estimate_view, form
from modelshapley import client
from modelshapley.client import ApiError, AsyncClient
from modelshapley.errors import ModelShapleyError

callbacks = Callbacks()

INCOMPLETE = "Complete the form to see an estimate."


async def layout(api: AsyncClient, search: str = "") -> Any:
    """Lay out the page. `?task=NAME` and `?model=ID` preselect. Raises ModelShapleyError."""
    query = {key: values[-1] for key, values in parse_qs(search.removeprefix("?")).items()}
    return html.Div(
        [
            html.Section(
                [
                    dmc.Title("Score a model", order=1, size="h2", mb="xs"),
                    await form.layout(api, query.get("task"), query.get("model")),
                ]
            ),
            html.Aside(
                [
                    dmc.Title("Estimated cost", order=2, size="h3", mb="sm"),
                    html.Div(INCOMPLETE, id="new-estimate", className="estimate-box", role="status"),
                ]
            ),
        ],
        className="new-grid",
    )


@callbacks.server(Output("new-estimate", "children"), *form.FIELDS, State("known", "data"))
async def estimate_run(*values: Any, api: AsyncClient) -> Any:
    """Estimate the run that the form describes."""
    *fields, known = values
    if form.problems_of(fields, known):
        return html.P(INCOMPLETE, className="quiet")
    try:
        return estimate_view.view(await api.send(client.estimate_run(form.request_of(*fields))))
    except ApiError as error:
        problem = error.problem.detail
    except ModelShapleyError as error:
        return empty_states.trying_again(error)
    except ValidationError:  # the form reports it at the field
        return html.P(INCOMPLETE, className="quiet")
    return dmc.Alert(problem, color="red", variant="light", title="This cannot be scored")


callbacks.include(form.callbacks)
