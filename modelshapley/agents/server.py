"""The MCP server: it offers the tools on standard input and output, and turns errors into sentences."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, InputRequiredResult, Tool, ToolAnnotations
from pydantic import ValidationError

from modelshapley import __version__
from modelshapley.agents.tools import Tools
from modelshapley.client import AsyncClient
from modelshapley.errors import ModelShapleyError

SCHEMA_VERSION = 2
"""Version of the tools' schemas, in the `_meta` of each tool; raised whenever one of them changes."""
SCHEMA_KEY = "modelshapley/schema-version"
INSTRUCTIONS = (
    "Find out which neurons, heads and layers of a transformer carry a task. Usual steps: list_models and list_tasks; "
    "submit_run, wait_run; map_summary and verdict; trial to measure the accuracy with units off. A score is an "
    "estimate and a trial is a measurement: rely on trials. Units are numbered from 0."
)
READ = ToolAnnotations(read_only_hint=True, open_world_hint=False)
ADD = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)
CANCEL = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)


class ToolServer(MCPServer[None]):
    """An MCP server that refuses unknown arguments, and whose errors are one sentence each."""

    async def list_tools(self) -> list[Tool]:
        """List the tools; their schemas say that there are no other arguments."""
        tools = await super().list_tools()
        return [
            tool.model_copy(update={"input_schema": tool.input_schema | {"additionalProperties": False}})
            for tool in tools
        ]

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[None, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool. Raises ToolError with a sentence."""
        for tool in await super().list_tools():
            known = list(tool.input_schema.get("properties", {}))
            unknown = [argument for argument in arguments if argument not in known]
            if tool.name == name and unknown:
                raise ToolError(f"{name} has no argument {unknown[0]!r}. It takes {', '.join(known)}.")
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                raise ToolError(_sentence(name, error.__cause__)) from error
            if isinstance(error.__cause__, ModelShapleyError):
                raise ToolError(str(error.__cause__)) from error
            raise


def create(api: AsyncClient, url: str, folder: Path) -> MCPServer[None]:
    """Return a server of the tools for the API at `url`; it closes the client. folder: where tools may write files."""

    @asynccontextmanager
    async def lifespan(_: MCPServer[None]) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await api.close()

    server = ToolServer(
        "modelshapley",
        title="Model Shapley",
        version=__version__,
        instructions=INSTRUCTIONS,
        lifespan=lifespan,
        log_level="ERROR",
        subscriptions=False,
    )
    for tool, hints in _tools(Tools(api, url, folder)):
        server.add_tool(tool, annotations=hints, meta={SCHEMA_KEY: SCHEMA_VERSION})
    return server


def _tools(tools: Tools) -> list[tuple[Callable[..., Any], ToolAnnotations]]:
    return [
        (tools.list_models, READ),
        (tools.list_tasks, READ),
        (tools.list_runs, READ),
        (tools.submit_run, ADD),
        (tools.wait_run, READ),
        (tools.cancel_run, CANCEL),
        (tools.map_summary, READ),
        (tools.verdict, READ),
        (tools.check_maps, ADD),
        (tools.trial, ADD),
        (tools.wait_trial, READ),
        (tools.compare_runs, READ),
        (tools.export_map, ADD),
    ]


def _sentence(name: str, error: ValidationError) -> str:
    """Say what is wrong with the arguments of a tool."""
    problems = []
    for problem in error.errors()[:5]:
        place = ".".join(str(part) for part in problem["loc"])
        value = "" if problem["type"] == "missing" else f", not {problem['input']!r:.80}"
        problems.append(f"{place}: {problem['msg']}{value}" if place else problem["msg"])
    return f"{name} cannot take these arguments: {'; '.join(problems)}."
