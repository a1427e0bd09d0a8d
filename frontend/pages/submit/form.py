"""The submit form. It is validated while it is filled in, with messages beside the fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import Input, Output, State, dcc, html, no_update
from pydantic import ValidationError

from frontend.figures import heatmaps
from frontend.links import link
from frontend.pages.shared import empty_states
from frontend.pages.shared.wiring import Callbacks
from frontend.pages.submit import form_model, form_task
from modelshapley import client, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts import MethodInfo, ModelInfo, RunRequest
from modelshapley.contracts.task_files.descriptions import TaskInfo
from modelshapley.errors import KINDS_OF_MODEL, ModelShapleyError
from modelshapley.units import DEFAULT_KINDS, UnitKind

callbacks = Callbacks()

DEFAULT_METHODS = ["two-sided", "mean-abs"]
MAX_EXAMPLES, MAX_SEED = 1_000_000, 2**31 - 1
FIELDS = [
    Input("form-model", "value"),
    Input("form-task", "value"),
    Input("form-methods", "value"),
    Input("form-units", "value"),
    Input("form-limit", "value"),
    Input("form-seed", "value"),
]
DEMO = RunRequest(model="demo:digits-vit", task="digits", methods=DEFAULT_METHODS)


async def layout(api: AsyncClient, task: str | None = None, model: str | None = None) -> Any:
    """Lay out the form. task, model: preselected, if they are known."""
    models, tasks, methods = (
        await api.send(client.models()),
        await api.send(client.tasks()),
        await api.send(client.methods()),
    )
    limits = await api.send(client.limits())
    if model is not None and model.startswith("hub:") and limits.hub:
        models = [*models, await api.send(client.hub_model(model.removeprefix("hub:")))]
        model = models[-1].id
    first_model, first_task = _preselected(models, tasks, model, task)
    unusable = [f"{model.id}: {model.problem}" for model in models if not model.usable]
    return dmc.Paper(
        dmc.Stack(
            [
                dcc.Store(id="known", data=_known(models, tasks, methods)),
                dcc.Location(id="form-go", refresh="callback-nav"),
                dmc.Select(
                    id="form-model",
                    label="Model",
                    data=form_model.choices(models),
                    value=first_model.id if first_model else None,
                    description="; ".join(unusable) or None,
                    allowDeselect=False,
                    searchable=True,
                ),
                form_model.layout(limits.hub),
                *form_task.layout(tasks, first_model, first_task),
                _more(first_model, methods),
                html.Div(id="form-answer", role="status"),
                dmc.Button("Score", id="form-submit", fullWidth=True),
            ],
            gap="sm",
        ),
        withBorder=True,
        p="lg",
        radius="md",
    )


def _preselected(
    models: Sequence[ModelInfo], tasks: Sequence[TaskInfo], model: str | None, task: str | None
) -> tuple[ModelInfo | None, str | None]:
    """Return the model and task to begin with: those asked for, else ones that fit each other."""
    usable = [known for known in models if known.usable]
    wanted = next((known for known in tasks if known.id == task), None)
    first = next((known for known in usable if known.id == model), None) or next(
        (known for known in usable if wanted and known.auto_class == wanted.auto_class),
        usable[0] if usable else None,
    )
    fitting = (known.id for known in tasks if first and known.auto_class == first.auto_class)
    return first, wanted.id if wanted else next(fitting, None)


def _known(models: Sequence[ModelInfo], tasks: Sequence[TaskInfo], methods: Sequence[MethodInfo]) -> dict[str, Any]:
    """Return what the callbacks need to know, as the page stores it."""
    return {
        "models": [model.model_dump(mode="json") for model in models],
        "tasks": [task.model_dump(mode="json") for task in tasks],
        "methods": {info.id: [info.title, f"{info.summary} {formatting.cost(info)}"] for info in methods},
    }


def _more(model: ModelInfo | None, methods: Sequence[MethodInfo]) -> Any:
    """Lay out what has a default that suits most runs, folded; the choices are named beside the heading."""
    return html.Details(
        [
            html.Summary(["More", html.Span(id="form-more-about", className="quiet")]),
            dmc.Stack(
                [
                    dmc.MultiSelect(
                        id="form-methods",
                        label="Methods",
                        description="Methods that need one backward pass share it.",
                        data=[{"value": method.id, "label": method.title} for method in methods],
                        value=DEFAULT_METHODS,
                    ),
                    html.Div(id="form-methods-about", className="quiet"),
                    _units(model),
                    _numbers(),
                ],
                gap="sm",
            ),
        ],
        id="form-more",
        className="section form-more",
    )


def _units(model: ModelInfo | None) -> Any:
    chips = [dmc.Chip(formatting.PLURALS[kind].capitalize(), value=kind.value, size="sm") for kind in heatmaps.PANELS]
    return html.Div(
        [
            dmc.Text("Units", size="sm", fw=500, mb=4, id="form-units-label"),
            dmc.ChipGroup(
                dmc.Group(chips, gap="xs"),
                id="form-units",
                multiple=True,
                value=[kind.value for kind in (model.shapes if model else ()) if kind in DEFAULT_KINDS],
            ),
            html.Div(id="form-units-error", role="alert"),
        ],
        role="group",
        **{"aria-labelledby": "form-units-label"},
    )


def _numbers() -> Any:
    """Inputs for the number of examples and the seed. They do not clamp: a wrong value is reported instead."""
    return dmc.Group(
        [
            dmc.NumberInput(
                id="form-limit",
                label="Maximum examples",
                value=256,
                min=1,
                step=32,
                allowDecimal=False,
                clampBehavior="none",
            ),
            dmc.NumberInput(id="form-seed", label="Seed", value=0, min=0, allowDecimal=False, clampBehavior="none"),
        ],
        grow=True,
        align="flex-start",
    )


@callbacks.server(
    Output("form-model", "error"),
    Output("form-task", "error"),
    Output("form-methods", "error"),
    Output("form-units-error", "children"),
    Output("form-limit", "error"),
    Output("form-seed", "error"),
    Output("form-submit", "disabled"),
    Output("form-methods-about", "children"),
    Output("form-more-about", "children"),
    Output("form-more", "open"),
    *FIELDS,
    State("known", "data"),
)
async def validate_form(*values: Any) -> Any:
    """Show the problems of the fields, and describe the methods."""
    *fields, known = values
    problems, methods = problems_of(fields, known), fields[2]
    return (
        *(problems.get(f) for f in ("model", "task", "methods")),
        _unit_error(problems),
        *(problems.get(f) for f in ("limit", "seed")),
        bool(problems),
        [html.Div([html.B(title), f": {summary}"]) for title, summary in map(known["methods"].get, methods)],
        f": {chosen_text(fields, known)}",
        True if problems.keys() & {"methods", "units", "limit", "seed"} else no_update,
    )


@callbacks.server(
    Output("form-go", "href"),
    Output("form-answer", "children"),
    Input("form-submit", "n_clicks"),
    *(State(field.component_id, field.component_property) for field in FIELDS),
    State("form-per-class", "checked"),
    State("known", "data"),
    prevent_initial_call=True,
    running=[(Output("form-submit", "loading"), True, False)],
)
async def submit_form(_: int, *values: Any, api: AsyncClient) -> Any:
    """Submit the run."""
    *fields, per_class, known = values
    # A tick that was set for another task stays set while it is hidden.
    has_classes = any(task["id"] == fields[1] and task["classes"] for task in known["tasks"])
    try:
        request = request_of(*fields).model_copy(update={"per_class": bool(per_class and has_classes)})
    except ValidationError:
        # The click came before the validation, which shows its messages beside the fields.
        return no_update, no_update
    return await _send(api, request)


callbacks.include(form_task.callbacks, form_model.callbacks)


def request_of(model: str, task: str, methods: list[str], units: list[str], limit: int, seed: int) -> RunRequest:
    """Return the request of the fields. Raises ValidationError."""
    return RunRequest(
        model=model,
        task=task,
        methods=methods,
        units=[UnitKind(unit) for unit in units],
        limit=limit,
        seed=seed,
    )


def problems_of(fields: Sequence[Any], known: Any) -> dict[str, str]:
    """Return the problems of FIELDS. known: models and tasks, as the page stores them."""
    models = [ModelInfo.model_validate(model) for model in known["models"]]
    tasks = [TaskInfo.model_validate(task) for task in known["tasks"]]
    model, task, methods, units, limit, seed = fields
    return validate(model, task, methods, units, limit, seed, models, tasks)


def validate(
    model: str | None,
    task: str | None,
    methods: Sequence[str],
    units: Sequence[str],
    limit: Any,
    seed: Any,
    models: Sequence[ModelInfo],
    tasks: Sequence[TaskInfo],
) -> dict[str, str]:
    """Return the problems of the form by field; none where it can be sent."""
    problems = {}
    chosen = next((m for m in models if m.id == model), None)
    chosen_task = next((t for t in tasks if t.id == task), None)
    if chosen is None:
        problems["model"] = "Choose a model."
    if chosen_task is None:
        problems["task"] = "Choose a task."
    elif chosen is not None and chosen.auto_class != chosen_task.auto_class:
        is_, needs = (KINDS_OF_MODEL.get(str(c), str(c)) for c in (chosen.auto_class, chosen_task.auto_class))
        problems["task"] = f"This task needs {needs}. {chosen.title} is {is_}."
    if not methods:
        problems["methods"] = "Choose at least one method."
    if not units:
        problems["units"] = "Choose at least one kind of unit."
    elif chosen is not None and (missing := [u for u in units if UnitKind(u) not in chosen.shapes]):
        problems["units"] = f"{chosen.title} has no {formatting.PLURALS[UnitKind(missing[0])]}."
    if not isinstance(limit, int) or limit < 1:
        problems["limit"] = "Enter a whole number, at least 1."
    elif limit > MAX_EXAMPLES:
        problems["limit"] = f"At most {MAX_EXAMPLES:,}."
    if not isinstance(seed, int) or seed < 0:
        problems["seed"] = "Enter a whole number, at least 0."
    elif seed > MAX_SEED:
        problems["seed"] = f"At most {MAX_SEED:,}."
    return problems


def chosen_text(fields: Sequence[Any], known: Any) -> str:
    """Name what is chosen in the folded fields."""
    _, _, methods, units, limit, seed = fields
    titles = [known["methods"][method][0] for method in methods]
    kinds = [formatting.PLURALS[kind] for kind in heatmaps.PANELS if kind.value in units]
    parts = [
        ", ".join(titles) or "no method",
        ", ".join(kinds) or "no units",
        f"{limit} examples at most",
        f"seed {seed}",
    ]
    return " · ".join(parts)


def _unit_error(problems: dict[str, str]) -> Any:
    return dmc.Text(problems["units"], c="red", size="xs") if "units" in problems else None


async def _send(api: AsyncClient, request: RunRequest) -> tuple[Any, Any]:
    """Submit a run, and go to its page."""
    try:
        run = await api.send(client.submit_run(request))
    except ModelShapleyError as error:
        return no_update, empty_states.failure(error)
    return link(f"/runs/{run.id}"), None
