"""`modelshapley try`: what a model answers to a prompt, intact and with some units off. Needs no server."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from rich.live import Live
from rich.table import Table
from rich.text import Text

from modelshapley.api import load_model, load_task
from modelshapley.cli.options import Data, Datasets, Device, Model, Precision, notes, page
from modelshapley.cli.units import ByMap, ByMethod, ByTask, How, Off, treatment_of, units_of
from modelshapley.contracts.prompts import MAX_NEW_TOKENS, MAX_PROMPT, PromptColumn, PromptSettings
from modelshapley.errors import BadPrompt
from modelshapley.formatting import percent
from modelshapley.units import Deactivation

if TYPE_CHECKING:
    from modelshapley.models.loaded import LoadedModel
    from modelshapley.prompts.writing import Changes, Writing
    from modelshapley.tasks.base import Task

REFRESHES_PER_S = 12


def try_prompt(
    model: Model,
    prompt: Annotated[
        str | None, typer.Option(help="the text to continue or answer; - reads it from standard input")
    ] = None,
    image: Annotated[Path | None, typer.Option(help="instead: a picture, for a model that classifies pictures")] = None,
    off: Off = None,
    how: How = "off",
    task: ByTask = None,
    map_file: ByMap = None,
    method: ByMethod = "two-sided",
    temperature: Annotated[float, typer.Option(min=0, max=10, help="0 takes the likeliest token")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="the same seed gives the same text")] = 0,
    max_new_tokens: Annotated[int, typer.Option(min=1, max=MAX_NEW_TOKENS)] = 64,
    chat: Annotated[
        bool | None, typer.Option("--chat/--no-chat", help="apply the model's chat template; default: if it has one")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print both columns and their comparison as JSON")] = False,
    datasets: Datasets = None,
    device: Device = "cpu",
    dtype: Precision = "float32",
    data: Data = Path(".data"),
) -> None:
    """Write an answer token by token, by the intact model and with some units off. Needs no server."""
    settings = _settings(temperature, seed, max_new_tokens, chat)
    treatment = treatment_of(how)
    url = _data_url(image) if image is not None and prompt is None else None
    text = "" if url is not None else _text(prompt, image)
    loaded_task = load_task(task, datasets, data) if task is not None else None
    loaded = load_model(model, device, dtype, data, notes.print)
    if loaded_task is not None:
        loaded_task.check(loaded)
    units = units_of(off or [], loaded, loaded_task, map_file, method, treatment)
    changes = _changes(loaded, units, loaded_task)
    title = f"{units.describe()} {units.treatment.describe()}"
    if url is not None:
        _classify(loaded, url, changes, title, as_json)
    else:
        _answer(loaded, text, settings, changes, title, as_json)


def _answer(
    loaded: LoadedModel,
    prompt: str,
    settings: PromptSettings,
    changes: Changes | None,
    title: str,
    as_json: bool,
) -> None:
    from modelshapley.prompts.comparing import compare_answer
    from modelshapley.prompts.reading import read_prompt
    from modelshapley.prompts.writing import Writing

    read = read_prompt(loaded, prompt, settings)
    writing = Writing(loaded, read.tokens, read.limit, settings, changes)
    if not as_json:
        _stream(writing, title)
        return
    for _ in writing.steps():
        pass
    comparison = compare_answer(loaded, read.tokens, [token.id for token in writing.intact.tokens], changes or ())
    columns = {"intact": _column(writing.intact), "changed": _column(writing.changed)}
    typer.echo(json.dumps(columns | comparison.model_dump(mode="json")))


def _classify(loaded: LoadedModel, url: str, changes: Changes | None, title: str, as_json: bool) -> None:
    from modelshapley.prompts.pictures import compare_picture

    comparison = compare_picture(loaded, url, changes or ())
    if as_json:
        typer.echo(comparison.model_dump_json())
        return
    table = Table("class", "intact", title)
    for token in comparison.positions[0].next:
        table.add_row(Text(token.text), percent(token.intact), percent(token.changed))
    page.print(table)


def _changes(loaded: LoadedModel, units: Deactivation, task: Task[Any] | None) -> Changes | None:
    """Return what the second column changes; None without units."""
    from modelshapley.evaluation.activations import activations_of
    from modelshapley.interventions.gates import changes_of

    activations = activations_of(loaded, task) if task is not None and units.treatment.how != "scale" else None
    return changes_of(loaded.anatomy, units, activations) if len(units) else None


def _text(prompt: str | None, image: Path | None) -> str:
    """Return the prompt. Raises BadPrompt."""
    if prompt is None or image is not None:
        raise BadPrompt("Give either --prompt, a text, or --image, a picture.")
    text = typer.get_text_stream("stdin").read(MAX_PROMPT + 1) if prompt == "-" else prompt
    if len(text) > MAX_PROMPT:
        raise BadPrompt(f"The prompt has more than {MAX_PROMPT:,} characters; shorten it.")
    return text


def _data_url(file: Path) -> str:
    """Return a picture's file as a data URL. Raises BadPrompt."""
    try:
        return f"data:image/{file.suffix[1:] or 'png'};base64,{base64.b64encode(file.read_bytes()).decode()}"
    except OSError as error:
        raise BadPrompt(f"The picture {str(file)!r} cannot be read ({error.strerror}).") from None


def _column(column: PromptColumn | None) -> dict[str, Any] | None:
    return None if column is None else {"text": column.text} | column.model_dump(mode="json")


def _stream(writing: Writing, title: str) -> None:
    """Show the columns as they are written; where the output is no terminal, print them once they are done."""
    if not page.is_terminal:
        for _ in writing.steps():
            pass
        page.print(_table(writing, title))
        return
    with Live(_table(writing, title), console=page, refresh_per_second=REFRESHES_PER_S) as live:
        for _ in writing.steps():
            live.update(_table(writing, title))


def _table(writing: Writing, title: str) -> Table:
    table = Table(expand=True, show_lines=False)
    columns = [("intact", writing.intact), (title, writing.changed)]
    for name, column in columns:
        if column is not None:
            table.add_column(name, ratio=1, overflow="fold")
    # Text, not markup: what a model writes may look like rich's tags.
    table.add_row(*(Text(column.text) for _, column in columns if column is not None))
    return table


def _settings(temperature: float, seed: int, max_new_tokens: int, chat: bool | None) -> PromptSettings:
    """Raises BadPrompt for a setting out of range."""
    template = "auto" if chat is None else "yes" if chat else "no"
    try:
        return PromptSettings(temperature=temperature, seed=seed, max_new_tokens=max_new_tokens, chat=template)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadPrompt(f"{first['loc'][0]} cannot be {first['input']!r}: {first['msg']}.") from None
