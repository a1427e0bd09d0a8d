"""An agent's whole work, over the SDK's own client and a real process on standard input and output."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from mcp import Client as Agent
from mcp import StdioServerParameters

from modelshapley.agents.files import MOST_TEXT
from modelshapley.agents.server import create
from modelshapley.client import AsyncClient, Client
from modelshapley.contracts import Run, TrialRequest
from modelshapley.maps.compare import compare_maps
from modelshapley.maps.importance import ImportanceMap
from modelshapley.units import UnitKind
from tests.conftest import ROOT, Server
from tests.support.coroutines import run
from tests.support.in_process import serving

MODEL, TASK = "demo:digits-vit", "digits"


class Work:
    """An agent's session: calls of tools that must succeed, or must fail with a sentence."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.totals: set[float | None] = set()

    async def do(self, tool: str, **arguments: Any) -> dict[str, Any]:
        heard: list[float] = []

        async def hear(progress: float, total: float | None, message: str | None) -> None:
            heard.append(progress)
            self.totals.add(total)

        result = await self._agent.call_tool(tool, arguments, progress_callback=hear)
        assert heard == sorted(set(heard)), "progress that does not grow is against the protocol"
        assert not result.is_error, result.content
        assert isinstance(result.structured_content, dict)
        return result.structured_content

    async def refused(self, tool: str, **arguments: Any) -> str:
        result = await self._agent.call_tool(tool, arguments)
        assert result.is_error
        (content,) = result.content
        assert "Traceback" not in content.text
        return str(content.text)


@asynccontextmanager
async def working(url: str, folder: Path) -> AsyncIterator[Work]:
    command = ["-m", "modelshapley.cli", "mcp", "--url", url]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    process = StdioServerParameters(command=sys.executable, args=command, cwd=folder, env={"PYTHONPATH": path})
    async with Agent(process, read_timeout_seconds=120) as agent:
        yield Work(agent)


def test_an_agent_does_the_whole_job(server: Server, api: Client, tmp_path: Path) -> None:
    async def job() -> dict[str, Any]:
        async with working(server.url, tmp_path) as work:
            done: dict[str, Any] = {}
            done["models"] = await work.do("list_models", search="digits")
            done["tasks"] = await work.do("list_tasks", search="digits")
            wanted = {"model": MODEL, "task": TASK, "units": ["head", "layer"], "limit": 48}
            done["cost"] = await work.do("submit_run", **wanted, estimate_only=True)
            submitted = await work.do("submit_run", **wanted)
            done["first"] = await work.do("wait_run", run=submitted["run"]["id"], seconds=0)
            done["run"] = await work.do("wait_run", run=submitted["run"]["id"], seconds=120)
            other = await work.do("submit_run", **wanted, methods=["mean-abs"], faithfulness="none")
            other = await work.do("wait_run", run=other["run"]["id"], seconds=120)
            one = done["run"]["id"]
            done["summary"] = await work.do("map_summary", run=one, unit="head", top=3)
            done["verdict"] = await work.do("verdict", run=one)
            least = {"head": [unit["index"] for unit in done["summary"]["least"]]}
            done["named"] = await work.do("trial", run=one, off=least, seconds=120)
            done["ranked"] = await work.do("trial", run=one, unit="head", which="least", fraction=0.4, seconds=120)
            done["compared"] = await work.do("compare_runs", run=one, other=other["id"])
            done["file"] = await work.do("export_map", run=one, unit="head", file="heads.safetensors")
            done["text"] = await work.do("export_map", run=one, unit="head")
            done["runs"] = await work.do("list_runs", search="mean-abs", limit=1)
            done["totals"] = work.totals
            return done

    done = run(job())
    assert [model["id"] for model in done["models"]["models"]] == [MODEL]
    assert TASK in [task["id"] for task in done["tasks"]["tasks"]]
    assert done["cost"]["run"] is None
    assert done["cost"]["estimate"]["examples"] == 48
    state = done["run"]
    assert (state["status"], state["checks"]) == ("done", "done")
    assert state["page"] == f"{server.url}/runs/{state['id']}"
    assert 48 in done["totals"]

    with_heads = ImportanceMap.load(tmp_path / "heads.safetensors")
    scores = with_heads.scores[UnitKind.HEAD]
    direct = api.importance_map(state["id"], "two-sided", "head")
    assert scores.tolist() == direct.scores
    assert done["text"]["text"] == with_heads.csv(UnitKind.HEAD)
    order = np.argsort(-scores.reshape(-1))
    summary = done["summary"]
    assert [tuple(unit["index"]) for unit in summary["most"]] == [divmod(int(place), 4) for place in order[:3]]
    assert [tuple(unit["index"]) for unit in summary["least"]] == [divmod(int(p), 4) for p in order[::-1][:3]]
    assert summary["most"][0]["score"] == scores.max()
    assert np.allclose([layer["sum"] for layer in summary["layers"]], scores.sum(1))
    assert (summary["n"], summary["units"]) == (48, 16)
    report = api.faithfulness(state["id"])
    marks = {(entry.method, entry.unit.value): entry.verdict.mark.value for entry in report.maps}
    assert {(v["method"], v["unit"]): v["mark"] for v in done["verdict"]["verdicts"]} == marks
    assert summary["verdict"]["mark"] == marks["two-sided", "head"]

    request = TrialRequest(run=state["id"], method="two-sided", unit=UnitKind.HEAD, which="least", fraction=0.4)
    measured = api.measure(request)
    for name in ("n", "accuracy", "difference", "intact"):
        assert done["ranked"][name] == getattr(measured, name)
    assert done["named"]["counts"] == {"head": 3}
    assert done["named"]["n"] == done["named"]["total"]
    first, second = state["id"], done["runs"]["runs"][0]["id"]
    heads = next(kind for kind in done["compared"]["kinds"] if kind["unit"] == "head")
    maps = [with_heads]
    api.save_map(second, "mean-abs", "head", tmp_path / "other.safetensors")
    maps.append(ImportanceMap.load(tmp_path / "other.safetensors"))
    (expected,) = compare_maps(maps[0], maps[1])
    assert heads["rho"] == expected.rho
    assert done["compared"]["runs"] == [first, second]
    assert done["compared"]["differences"]["method"] == ["two-sided", "mean-abs"]


def test_what_cannot_be_done_is_said_in_a_sentence(server: Server, digits_run: Run, tmp_path: Path) -> None:
    (tmp_path / "kept.csv").write_text("mine")
    (tmp_path / "way-out").symlink_to(tmp_path.parent)

    async def job() -> dict[str, str]:
        async with working(server.url, tmp_path) as work:
            done = digits_run.id
            heads = {"run": done, "unit": "head"}
            return {
                "unknown run": await work.refused("map_summary", run="nothing", unit="head"),
                "unknown kind": await work.refused("map_summary", run=done, unit="expert"),
                "unknown method": await work.refused("map_summary", **heads, method="astrology"),
                "route": await work.refused("map_summary", run="../keys", unit="head"),
                "unknown model": await work.refused("submit_run", model="demo:none", task=TASK),
                "no such unit": await work.refused("trial", run=done, off={"head": [[99, 0]]}),
                "misspelt": await work.refused("trial", run=done, of={"head": [[0, 0]]}),
                "half a rank": await work.refused("trial", run=done, unit="head"),
                "treatment": await work.refused("trial", run=done, off={}, treatment={"how": "scale", "value": 9}),
                "outside": await work.refused("export_map", **heads, file="../map.csv"),
                "by a link": await work.refused("export_map", **heads, file="way-out/map.csv"),
                "absolute": await work.refused("export_map", **heads, file="/tmp/map.csv"),
                "existing": await work.refused("export_map", **heads, file="kept.csv"),
                "no form": await work.refused("export_map", **heads, file="map.pdf"),
                "for ever": await work.refused("wait_run", run=done, seconds=1e6),
            }

    said = run(job())
    assert "'nothing'" in said["unknown run"] or "nothing" in said["unknown run"]
    assert "no map of experts" in said["unknown kind"]
    assert "astrology" in said["unknown method"]
    assert "'../keys'" in said["route"]
    assert "demo:none" in said["unknown model"]
    assert "layers go from 0 to 3" in said["no such unit"]
    assert said["misspelt"].startswith("trial has no argument 'of'. It takes run, off,")
    assert "missing: which, fraction" in said["half a rank"]
    assert "from 0 to 2, not 9" in said["treatment"]
    for name in ("outside", "by a link", "absolute"):
        assert "outside the working directory" in said[name]
    assert "exists already" in said["existing"]
    assert (tmp_path / "kept.csv").read_text() == "mine"
    assert ".parquet" in said["no form"]
    assert "300" in said["for ever"]
    assert not (tmp_path.parent / "map.csv").exists()


def test_a_map_too_long_for_a_text_wants_a_file(server: Server, capitals_run: Run, tmp_path: Path) -> None:
    async def job() -> tuple[str, dict[str, Any]]:
        async with working(server.url, tmp_path) as work:
            neurons = {"run": capitals_run.id, "unit": "neuron"}
            said = await work.refused("export_map", **neurons)
            return said, await work.do("export_map", **neurons, file="neurons.parquet")

    said, written = run(job())
    assert f"{MOST_TEXT:,}" in said
    assert (tmp_path / "neurons.parquet").stat().st_size == written["bytes"] > 100_000


def test_the_server_s_keys_hold_for_tools_too(tmp_path: Path) -> None:
    async def models(app: Any, key: str | None) -> Any:
        api = AsyncClient("http://127.0.0.1:8050", key, transport=httpx.ASGITransport(app))
        async with Agent(create(api, "", tmp_path)) as agent:
            return await agent.call_tool("list_models", {})

    with serving(tmp_path, api_key="a-long-secret-of-ours") as web:
        assert not run(models(web.app, "a-long-secret-of-ours")).is_error
        for key in (None, "wrong"):
            refused = run(models(web.app, key))
            assert refused.is_error
            assert "(401)" in refused.content[0].text


def test_a_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    async def job() -> str:
        async with working("http://127.0.0.1:9", tmp_path) as work:
            return await work.refused("list_tasks")

    assert "No answer from http://127.0.0.1:9" in run(job())
