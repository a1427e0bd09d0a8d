"""The page to try a prompt: two columns that grow token by token, intact and with the selection of a map."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import dash_mantine_components as dmc
from dash import Input, Output, State, dcc, html, no_update
from pydantic import ValidationError

from frontend.address import View, parse, write
from frontend.links import link
from frontend.map_cache import MapCache
from frontend.pages.map.page import selection_of_view
from frontend.pages.prompts import answer_map, form
from frontend.pages.shared import empty_states
from frontend.pages.shared.wiring import Callbacks
from frontend.selection import deactivation_of
from modelshapley import client, formatting
from modelshapley.client import AsyncClient
from modelshapley.contracts import ModelInfo, Off, Status
from modelshapley.contracts.prompts import PromptRequest
from modelshapley.errors import ModelShapleyError
from modelshapley.prompts.answer_task import CAUSAL, PICTURES
from modelshapley.units import Deactivation

callbacks = Callbacks()


async def layout(api: AsyncClient, maps: MapCache, search: str) -> Any:
    """Lay out the page, for the run and selection of the address, or for any model. Raises ModelShapleyError."""
    query = {key: values[-1] for key, values in parse_qs(search.removeprefix("?")).items()}
    known = await api.send(client.models())
    models = form.suitable(known)
    if query.get("run") is not None:
        return await _of_run(api, maps, query["run"], parse(search), models)
    if not models:
        return empty_states.state(
            "No model to try yet",
            "Prompts need a causal language model, pictures a model that classifies them.",
            dcc.Link("Score a model", href=link("/new")),
        )
    wanted = query.get("model")
    model = next((m for m in models if m.id == wanted), None) or next(
        (m for m in models if m.auto_class == CAUSAL), models[0]
    )
    about = [
        "The intact model answers. To compare with units switched off, select them on a map and choose ",
        html.Em("Try your own input"),
        " there.",
    ]
    target = {"run": None, "modalities": {m.id: m.auto_class for m in models}}
    return _page("Try a prompt", about, target, form.layout(models, str(model.auto_class), model.id), "", False)


async def _of_run(api: AsyncClient, maps: MapCache, run_id: str, view: View, models: list[ModelInfo]) -> Any:
    run = await api.send(client.run(run_id))
    if run.status is not Status.DONE or run.deleted is not None:
        back = dcc.Link("See the run", href=link(f"/runs/{run.id}"))
        return empty_states.state("Try a prompt", f"Run {run.id} has no map to select units on.", back)
    model = next((m for m in models if m.id == run.model), None)
    if model is None:
        back = dcc.Link("Back to the map", href=write(run.id, view))
        sentence = f"{formatting.model_name(run.model)} neither continues texts nor classifies pictures."
        return empty_states.state("Nothing to try", sentence, back)
    selection, notice = await selection_of_view(maps, run, view)
    off = deactivation_of(selection | {"treatment": vars(view.treatment)})
    title = described(off)
    about = [
        f"{formatting.model_name(run.model)}, compared with: {title}. " if len(off) else "Nothing is switched off. ",
        dcc.Link("Change the selection on the map", href=write(run.id, view)),
    ]
    target = {
        "run": run.id,
        "method": view.method or run.methods[0],
        "off": Off.from_deactivation(off).model_dump(mode="json"),
        "treatment": vars(off.treatment),
    }
    notices = [
        *filter(None, [notice]),
        *(f"Ignored a part of the link that is not valid: {p!r}." for p in view.unclear),
    ]
    body = form.layout([], str(model.auto_class), None)
    return _page(
        f"Try {'a prompt' if model.modality == 'text' else 'a picture'}",
        about,
        target,
        body,
        title,
        len(off) > 0,
        notices,
    )


def _page(
    title: str,
    about: list[Any],
    target: dict[str, Any],
    body: Any,
    changed: str,
    both: bool,
    notices: list[str] | None = None,
) -> Any:
    return html.Div(
        [
            *form.stores(target),
            dmc.Title(title, order=1, size="h2"),
            html.P(about, className="quiet", id="try-about"),
            dmc.Alert(" ".join(notices), color="yellow", variant="light", mb="sm") if notices else None,
            body,
            form.columns(f"With {changed}" if changed else "", both),
            form.token_section(),
            answer_map.layout(),
        ],
        className="try-page",
        id="try-page",
    )


def described(off: Deactivation) -> str:
    """Describe a selection: '81 heads off', '2 layers at their mean'."""
    return f"{off.describe()} {formatting.treated(off.treatment)}"


@callbacks.server(
    Output("try-text-frame", "hidden"),
    Output("try-picture-frame", "hidden"),
    Output("try-more", "hidden"),
    Input("try-model", "value"),
    State("try-target", "data"),
    prevent_initial_call=True,
)
async def show_fields(model: str, target: dict[str, Any]) -> Any:
    """Show the field that the chosen model needs: a text or a picture."""
    picture = target.get("modalities", {}).get(model) == PICTURES
    return picture, not picture, picture


@callbacks.server(
    Output("try-prompt", "data"),
    Output("try-problem", "children"),
    Input("try-asked", "data"),
    State("try-text", "value"),
    State("try-image", "data"),
    State("try-text-frame", "hidden"),
    State("try-model", "value"),
    State("try-length", "value"),
    State("try-temperature", "value"),
    State("try-seed", "value"),
    State("try-chat", "value"),
    State("try-target", "data"),
    prevent_initial_call=True,
    websocket=True,  # the first token should not wait for a new connection
)
async def submit(
    asked: Any,
    text: str | None,
    image: str | None,
    is_picture: bool,
    model: str | None,
    length: Any,
    temperature: Any,
    seed: Any,
    chat: str,
    target: dict[str, Any],
    *,
    api: AsyncClient,
) -> Any:
    """Submit the prompt of the form."""
    if asked is None:
        return no_update, no_update
    if is_picture and not image:
        return None, problem("Choose a picture first.")
    if not is_picture and not (text or "").strip():
        return None, problem("Write a prompt first.")
    wanted = {"image": image} if is_picture else {"prompt": text}
    of = (
        {"run": target["run"], "off": target["off"], "treatment": target["treatment"]}
        if target["run"]
        else {"model": model}
    )
    numbers = {"max_new_tokens": length, "temperature": temperature, "seed": seed, "chat": chat}
    try:
        request = PromptRequest.model_validate({**wanted, **of, **numbers, "session": asked["session"], "lease": True})
        prompt = await api.send(client.submit_prompt(request))
    except ValidationError as error:
        return None, problem(readable(error))
    except ModelShapleyError as error:
        return None, empty_states.failure(error)
    return prompt.model_dump(mode="json") | {"asked": asked["number"]}, None


NAMES = {"max_new_tokens": "Tokens, at most", "temperature": "Temperature", "seed": "Seed", "prompt": "Prompt"}


def readable(error: ValidationError) -> str:
    """Say in one sentence which field of the form cannot be used."""
    first = error.errors()[0]
    field = str(first["loc"][0]) if first["loc"] else ""
    return f"{NAMES.get(field, field or 'The prompt')}: {first['msg'].removeprefix('Value error, ')}."


def problem(sentence: str) -> Any:
    """Return a sentence that stands below the form."""
    return html.Div(sentence, className="problem")


callbacks.browser(
    "tryOut",
    "ask",
    Output("try-asked", "data"),
    Input("try-go", "n_clicks"),
    prevent_initial_call=True,
)
callbacks.browser("tryOut", "follow", Output("try-followed", "title"), Input("try-prompt", "data"))
callbacks.browser(
    "tryOut", "shade", Output("try-strip", "className"), Input("try-shade", "value"), prevent_initial_call=True
)
callbacks.browser("tryOut", "open", Output("try-followed", "className"), Input("try-page", "id"))
callbacks.include(answer_map.callbacks)
