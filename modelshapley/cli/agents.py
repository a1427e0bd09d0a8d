"""`modelshapley mcp`: the tools of a server for agents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelshapley.cli.options import ApiKey, ServerUrl
from modelshapley.errors import ModelShapleyError
from modelshapley.extras import require


def mcp(
    url: ServerUrl = "http://127.0.0.1:8050",
    api_key: ApiKey = None,
    folder: Annotated[Path, typer.Option(help="the only folder that maps are exported to")] = Path(),
) -> None:
    """Offer the tools of a server to an agent, over the Model Context Protocol on standard input and output."""
    require("Tools for agents need", "mcp", "mcp")
    from modelshapley.agents.server import create
    from modelshapley.client import AsyncClient

    if not folder.is_dir():
        raise ModelShapleyError(f"There is no folder {str(folder)!r} to export maps to.")
    create(AsyncClient(url, api_key), url, folder).run("stdio")
