"""Commands that hand maps and derived models on: to and from the Hugging Face hub, and in the format of MIB."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelshapley.cli.options import MODEL_HELP, Data, notes
from modelshapley.errors import ModelShapleyError
from modelshapley.formatting import bytes_as_text

if TYPE_CHECKING:
    from modelshapley.contracts import Faithfulness
    from modelshapley.models.hub_upload import Upload


def publish(
    what: Annotated[Path, typer.Argument(help="a map (safetensors), or the folder of a derived model")],
    to: Annotated[str, typer.Option(help="repository OWNER/NAME: a dataset for a map, a model for a model")],
    check: Annotated[
        Path | None, typer.Option(help="the map's check: JSON of GET /api/v1/runs/ID/faithfulness")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="create it for everyone to see; default: private")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print what would be sent, and send nothing")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="send without asking")] = False,
) -> None:
    """Send a map, or a derived model, with a card to the Hugging Face hub. Prints what it sends, and asks first."""
    from modelshapley.models.hub_upload import check_destination, send

    upload = _upload(what, to, check, public)
    for name, size in upload.sizes.items():
        typer.echo(f"{bytes_as_text(size):>10}  {name}")
    if dry_run:
        typer.echo(
            f"Nothing was sent. Without --dry-run, these {len(upload.files)} files go to the {upload.kind} {to}."
        )
        return
    destination = check_destination(upload)
    state = "exists, and gets a commit" if destination.exists else f"new, {'public' if public else 'private'}"
    typer.echo(f"to {destination.address}: {upload.kind} {to} ({state})")
    if not yes:
        typer.confirm(f"Send these {len(upload.files)} files?", abort=True)
    typer.echo(send(upload, f"Add the {'map' if upload.kind == 'dataset' else 'model'} by Model Shapley"))


def fetch(
    name: Annotated[str, typer.Argument(help="OWNER/NAME or OWNER/NAME@REVISION of the Hugging Face hub")],
    out: Annotated[Path, typer.Option(help="file for a map, or new folder for a derived model")],
) -> None:
    """Fetch a published map, or a derived model, from the Hugging Face hub."""
    from modelshapley.maps.publishing import fetch_map
    from modelshapley.models import hub

    if not hub.is_name(name):
        raise ModelShapleyError(f"A repository is OWNER/NAME or OWNER/NAME@REVISION, not {name!r}.")
    if out.exists():
        raise ModelShapleyError(f"{str(out)!r} exists already; choose another name, or delete it first.")
    if not out.absolute().parent.is_dir():
        raise ModelShapleyError(f"There is no folder {str(out.parent)!r} to write {out.name} to.")
    if not hub.reachable():
        raise ModelShapleyError("The hub does not answer, so nothing was fetched.")
    data = fetch_map(name)
    if data is not None:
        out.write_bytes(data)
        typer.echo(f"{out}: the map of the dataset {name}, {bytes_as_text(len(data))}")
        return
    from modelshapley.applications.publishing import fetch_derived

    if not fetch_derived(name, out):
        raise ModelShapleyError(
            f"There is neither a dataset {name!r} with a map, nor a model {name!r} made by Model Shapley, or your "
            "token may not read it."
        )
    typer.echo(f"{out}: the model {name}")


def mib(
    importance_map: Annotated[Path, typer.Argument(metavar="MAP", help="a map of heads and neurons (safetensors)")],
    out: Annotated[Path, typer.Option(help="file to write (JSON)")],
    model: Annotated[str | None, typer.Option(help=f"the map's model, if its name changed: {MODEL_HELP}")] = None,
    data: Data = Path(".data"),
) -> None:
    """Write a map as importances.json of MIB's circuit track: a score for every head and MLP."""
    from modelshapley.api import model_folder
    from modelshapley.maps.importance import ImportanceMap
    from modelshapley.maps.mib import mib_graph

    if not out.absolute().parent.is_dir():
        raise ModelShapleyError(f"There is no folder {str(out.parent)!r} to write {out.name} to.")
    scores = ImportanceMap.load(importance_map)
    folder = model_folder(model or str(scores.provenance.get("model", "")), data, notes.print)
    graph = mib_graph(scores, folder.config)
    out.write_text(json.dumps(graph, allow_nan=False) + "\n", encoding="utf-8")
    typer.echo(f"{out}: {len(graph['nodes'])} nodes")


def _upload(what: Path, to: str, check: Path | None, public: bool) -> Upload:
    """Return what is to be sent. Raises ModelShapleyError for what is neither map nor derived model."""
    from modelshapley.models.hub_upload import Upload

    if what.is_dir():
        from modelshapley.applications.publishing import derived_files

        if check is not None:
            raise ModelShapleyError("--check belongs to a map; a derived model has its trial in its card.")
        files, others, parent = derived_files(what)
        _note_path(parent)
        if others:
            notes.print(f"Not sent: {', '.join(others)}", markup=False)
        return Upload(to, "model", files, public)
    from modelshapley.maps.importance import ImportanceMap
    from modelshapley.maps.publishing import map_files

    _note_path(str(ImportanceMap.load(what).provenance.get("model", "")))
    return Upload(to, "dataset", map_files(what, to, _read_check(check)), public)


def _note_path(model: str) -> None:
    if Path(model).is_absolute():
        notes.print(f"The path of the model on this machine, {model!r}, is among what is sent.", markup=False)


def _read_check(file: Path | None) -> Faithfulness | None:
    """Raises ModelShapleyError for a file that is no check."""
    from modelshapley.contracts import Faithfulness

    if file is None:
        return None
    try:
        return Faithfulness.model_validate_json(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelShapleyError(
            f"{str(file)!r} is not a check as GET /api/v1/runs/ID/faithfulness gives it: {str(error).splitlines()[0]}"
        ) from error
