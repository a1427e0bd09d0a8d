"""The tools' schemas are a contract with agents: a change needs a new version.

Write the snapshot again by `python -m tests.agents.test_schemas`, after raising SCHEMA_VERSION.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mcp import Client

from modelshapley.agents.server import SCHEMA_KEY, SCHEMA_VERSION, create
from modelshapley.client import AsyncClient
from tests.support.coroutines import run

SNAPSHOT = Path(__file__).with_name("schemas.json")


async def schemas() -> dict[str, Any]:
    """The tools as a client sees them: what they take, what they return, and the version of both."""
    async with Client(create(AsyncClient(), "", Path())) as client:
        tools = (await client.list_tools()).tools
    return {
        "version": {tool.name: tool.meta[SCHEMA_KEY] for tool in tools},
        "tools": {tool.name: {"input": tool.input_schema, "output": tool.output_schema} for tool in tools},
    }


def test_schemas_change_only_with_their_version() -> None:
    kept, current = json.loads(SNAPSHOT.read_text()), run(schemas())
    assert set(current["version"].values()) == {SCHEMA_VERSION}
    assert current["version"] == kept["version"], "write the snapshot again; see the top of this file"
    assert current["tools"] == kept["tools"], "the schemas have changed: raise SCHEMA_VERSION in agents/server.py"


def test_each_tool_is_described_and_takes_nothing_unknown() -> None:
    for name, tool in run(schemas())["tools"].items():
        assert tool["input"]["additionalProperties"] is False, name
        assert tool["output"]["type"] == "object", name


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(run(schemas()), indent=1, sort_keys=True) + "\n")
