"""`modelshapley keys`: named keys of a server, kept in its database. The commands run in the backend's own module."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from modelshapley.cli.options import Data
from modelshapley.cli.server import replace_process
from modelshapley.contracts import KeyRequest, Scope
from modelshapley.errors import BadParameter

MODULE = "backend.commands.keys"
Name = Annotated[str, typer.Argument(help="whose key it is")]
app = typer.Typer(help="Named keys: who may use a server, and for what.", no_args_is_help=True)


@app.command()
def add(
    name: Name,
    scope: Annotated[
        Scope, typer.Option(help="read < measure < submit < admin; each includes those before")
    ] = Scope.SUBMIT,
    data: Data = Path(".data"),
) -> None:
    """Make a key and print its secret, this once."""
    try:
        KeyRequest(name=name, scope=scope)
    except ValidationError:
        raise BadParameter(
            f"{name!r} is no name of a key: it has at most 80 letters, digits, spaces and . _ @ -, and begins with a "
            "letter or digit."
        ) from None
    replace_process(data, MODULE, "add", name, scope.value)


@app.command("list")
def list_keys(data: Data = Path(".data")) -> None:
    """List the keys, the revoked ones included."""
    replace_process(data, MODULE, "list")


@app.command()
def revoke(name: Name, data: Data = Path(".data")) -> None:
    """Revoke a key, by its name or id."""
    replace_process(data, MODULE, "revoke", name)
