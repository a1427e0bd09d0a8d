"""`modelshapley mcp`: the tools of a server for agents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelshapley.cli.options import ApiKey, ServerUrl
from modelshapley.errors import ModelShapleyError


def mcp(
    url: ServerUrl = "http://127.0.0.1:8050",
    api_key: ApiKey = None,
    folder: Annotated[Path, typer.Option(help="the only folder that maps are exported to")] = Path(),
) -> None:
    """Offer the tools of a server to an agent, over the Model Context Protocol on standard input and output."""
    from modelshapley.client import AsyncClient

    try:
        from modelshapley.agents.server import create
    except ModuleNotFoundError as error:
        if error.name not in ("mcp", "mcp_types"):
            raise
        raise ModelShapleyError("`modelshapley mcp` needs the MCP SDK: pip install 'modelshapley[mcp]'.") from None
    if not folder.is_dir():
        raise ModelShapleyError(f"There is no folder {str(folder)!r} to export maps to.")
    create(AsyncClient(url, api_key), url, folder).run("stdio")
