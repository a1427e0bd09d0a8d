"""Tasks that people add: the file, its name, where its data may lie, and a look at it before a run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelshapley.client import ApiError, Client
from modelshapley.contracts import Off, Problem, RunRequest, Status, TrialRequest
from modelshapley.contracts.task_files.descriptions import TaskCheckRequest
from modelshapley.contracts.task_files.file import GenerationTask, parse, parse_text
from modelshapley.models.catalog import SMOLLM2
from modelshapley.units import UnitKind
from tests.conftest import Server, StartServer

TASK: dict[str, Any] = {
    "kind": "generation",
    "name": "sums",
    "title": "ScoreAccumulator",
    "source": {"path": "sums/all.jsonl"},
    "probe": {"split": "all", "share": 0.5},
    "test": {"split": "all", "share": 0.5},
    "prompt": "{question}",
    "rule": "number",
}


@pytest.fixture(scope="module")
def house(start_server: StartServer) -> Server:
    """Without a worker: nothing here waits for one."""
    return start_server("--workers", "0")


@pytest.fixture
def empty(house: Server) -> Iterator[Client]:
    with Client(house.url) as api:
        yield api
        for task in api.tasks():
            if task.own:
                api.drop_task(task.id)


def post(server: Server, body: Any, path: str = "/tasks") -> httpx.Response:
    return httpx.post(f"{server.url}/api/v1{path}", json=body)


def refused(answer: httpx.Response, status: int) -> Problem:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Traceback" not in answer.text
    return Problem.model_validate_json(answer.content)


def test_a_task_is_added_listed_read_and_deleted(house: Server, empty: Client) -> None:
    answer = post(house, TASK)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == "/api/v1/tasks/sums"
    info = empty.task("sums")
    assert answer.json() == info.model_dump(mode="json")
    assert (info.own, info.title, info.source, info.kind) == (
        True,
        "ScoreAccumulator",
        "sums/all.jsonl",
        "generation",
    )
    assert empty.tasks()[-1] == info
    assert [task.id for task in empty.tasks() if not task.own][:2] == ["digits", "world-capitals"]
    file = httpx.get(f"{house.url}/api/v1/tasks/sums/file")
    assert parse(file.json(), "x") == parse(TASK, "x")
    empty.drop_task("sums")
    assert refused(httpx.get(f"{house.url}/api/v1/tasks/sums"), 404).detail.startswith("There is no task 'sums'")


def test_yaml_goes_in_and_comes_out(house: Server, empty: Client) -> None:
    text = "kind: language-modelling\nname: prose\nsource: {path: prose.txt}\ntext: line\n"
    assert empty.add_task(text).kind == "language-modelling"
    assert parse_text(empty.task_file("prose"), "x") == parse_text(text, "x")
    spec = parse(TASK, "x")
    assert isinstance(spec, GenerationTask)
    assert empty.add_task(spec).id == "sums"


def test_the_same_again_is_fine_and_another_of_its_name_is_not(house: Server, empty: Client) -> None:
    assert post(house, TASK).status_code == 201
    assert post(house, TASK).status_code == 201
    assert "'sums'" in refused(post(house, TASK | {"prompt": "{other}"}), 409).detail
    assert "is a built-in task" in refused(post(house, TASK | {"name": "digits"}), 409).detail
    assert "checks" in refused(post(house, TASK | {"name": "checks"}), 422).errors[0].message


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"source": {"path": "/etc/passwd"}}, "source.path", "leads out"),
        ({"source": {"path": "../records.sqlite"}}, "source.path", "leads out"),
        ({"source": {"path": "a/../../records.sqlite"}}, "source.path", "leads out"),
        ({"source": {"path": "a\0b"}}, "source.path", "leads out"),
        ({"source": {"hub": "../data"}}, "source.hub", "pattern"),
        ({"source": {}}, "source", "either 'path' or 'hub'"),
        ({"name": "My Task"}, "name", "pattern"),
        ({"prompt": "{question.__class__}"}, "prompt", "is not a placeholder"),
        ({"rule": "guess"}, "rule", "'gsm8k'"),
        ({"promt": "x"}, "promt", "not permitted"),
        ({"kind": "quiz"}, "kind", "generation"),
        ({"probe": {"split": "train", "share": 2}}, "probe.share", "less than or equal to 1"),
    ],
)
def test_what_is_wrong_is_named_by_field(
    house: Server, empty: Client, change: dict[str, Any], field: str, words: str
) -> None:
    for path, body, prefix in (("/tasks", TASK | change, ""), ("/tasks/checks", {"file": TASK | change}, "file.")):
        problem = refused(post(house, body, path), 422)
        told = {error.field: error.message for error in problem.errors}
        # A file as a whole, or one that is of no kind, is told at 'file'.
        at = next((name for name in (prefix + field, field, "file", "body") if name in told), None)
        assert at is not None, told
        assert words in told[at]
    assert not any(task.own for task in empty.tasks())


def test_a_link_out_of_the_datasets_is_refused(house: Server, empty: Client) -> None:
    root = house.data / "datasets"
    root.mkdir(exist_ok=True)
    (root / "away").symlink_to(house.data)
    assert "a link" in refused(post(house, TASK | {"source": {"path": "away/records.sqlite"}}), 422).detail


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff\xfe", b"", b"[" * 100_000, b"x" * 1_000_001])
@pytest.mark.parametrize("kind", ["application/json", "application/yaml"])
def test_what_is_no_task_file_is_said(house: Server, body: bytes, kind: str) -> None:
    url = f"{house.url}/api/v1/tasks"
    refused(httpx.post(url, content=body, headers={"content-type": kind}, timeout=30), 422)


def test_what_comes_with_the_project_stays(house: Server, empty: Client) -> None:
    url = f"{house.url}/api/v1/tasks"
    assert "is built in" in refused(httpx.delete(f"{url}/digits"), 409).detail
    assert "no task 'nope'" in refused(httpx.delete(f"{url}/nope"), 404).detail
    assert "defined in code" in refused(httpx.get(f"{url}/digits/file"), 404).detail
    assert parse_text(empty.task_file("gsm8k"), "gsm8k").name == "gsm8k"


def test_a_check_is_of_one_task_that_is_there(house: Server, empty: Client) -> None:
    path = "/tasks/checks"
    for body in ({}, {"task": "digits", "file": TASK}):
        assert "either 'task'" in refused(post(house, body, path), 422).detail
    assert "no task 'nope'" in refused(post(house, {"task": "nope"}, path), 422).detail
    assert "no model 'nope'" in refused(post(house, {"task": "digits", "model": "nope"}, path), 422).detail
    other = refused(post(house, {"task": "digits", "model": "demo:smollm2-135m"}, path), 422)
    assert "classifies images" in other.detail
    assert "no check 'nope'" in refused(httpx.get(f"{house.url}/api/v1{path}/nope"), 404).detail
    waiting = empty.check_task(TaskCheckRequest(task="digits"))
    assert empty.task_check(waiting.id).status == "queued"


def test_data_roots_are_a_setting(start_server: StartServer, tmp_path: Path) -> None:
    roots = [tmp_path / "one", tmp_path / "two"]
    for root in roots:
        root.mkdir()
    (roots[1] / "out").symlink_to("/etc")
    listed = "[" + ", ".join(f'"{root}"' for root in roots) + "]"
    server = start_server("--workers", "0", MODELSHAPLEY_DATASET_ROOTS=listed)
    with Client(server.url) as api:
        with pytest.raises(ApiError, match="leads out"):
            api.add_task(parse(TASK | {"source": {"path": "out/passwd"}}, "x"))
        assert api.add_task(parse(TASK, "x")).own


# -- through a worker ---------------------------------------------------------------------------

CHOICE: dict[str, Any] = {
    "kind": "multiple-choice",
    "name": "sizes",
    "source": {"path": "sizes.jsonl"},
    "probe": {"split": "all", "share": 0.5},
    "test": {"split": "all", "share": 0.5},
    "prompt": "Which is larger, {a} or {b}? The larger is",
    "choices": [" {a}", " {b}"],
    "key": "right",
    "classes": "parity",
    "on_bad": "skip",
}


def write_sizes(data: Path, rows: int = 16) -> None:
    """Pairs of numbers, and one row that has no right choice."""
    file = data / "datasets" / "sizes.jsonl"
    file.parent.mkdir(exist_ok=True)
    made: list[dict[str, Any]] = [
        {"a": n, "b": n + 3 * (-1) ** n, "right": 1 - n % 2, "parity": "odd" if n % 2 else "even"}
        for n in range(10, 10 + rows)
    ]
    made[3]["right"] = None
    file.write_text("".join(json.dumps(row) + "\n" for row in made))


@pytest.fixture(scope="module")
def working(start_server: StartServer) -> Server:
    server = start_server()
    write_sizes(server.data)
    return server


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_look_at_a_task_tells_what_a_run_would_see(working: Server) -> None:
    with Client(working.url) as api:
        bare = api.wait_check(api.check_task(TaskCheckRequest(file=parse(CHOICE, "x"))).id)
        assert bare.status is Status.DONE, bare.error
        assert bare.problems == []
        assert bare.info is not None
        assert (bare.info.probe_examples or 0) + (bare.info.test_examples or 0) == 15
        assert sum(bare.classes.values()) == bare.info.probe_examples
        assert [entry.count for entry in bare.bad] == [1]
        assert "sizes.jsonl, row 4" in bare.bad[0].rows[0]
        assert not any(example.tokens for example in bare.examples)
        api.add_task(parse(CHOICE, "x"))
        seen = api.wait_check(api.check_task(TaskCheckRequest(task="sizes", model=SMOLLM2)).id)
        assert seen.status is Status.DONE, seen.error
        assert len(seen.examples) == 3
        for example in seen.examples:
            counted = "".join(token.text for token in example.tokens if token.loss)
            assert example.right.strip() in counted
            assert "larger" not in counted
        assert seen.fingerprint == bare.fingerprint
        assert seen.context is not None


def test_a_look_reads_the_data_anew_and_says_what_cannot_be_read(working: Server) -> None:
    spec = parse(CHOICE | {"source": {"path": "late.jsonl"}}, "x")
    with Client(working.url) as api:
        failed = api.wait_check(api.check_task(TaskCheckRequest(file=spec)).id)
        text = f"{failed.error} {failed.problems}"
        assert "late.jsonl" in text
        assert "Traceback" not in text
        shutil.copy(working.data / "datasets" / "sizes.jsonl", working.data / "datasets" / "late.jsonl")
        assert api.wait_check(api.check_task(TaskCheckRequest(file=spec)).id).problems == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_run_of_ones_own_task_and_what_becomes_of_it_when_the_data_change(working: Server) -> None:
    request = RunRequest(
        model=SMOLLM2,
        task="sizes",
        methods=["mean-abs"],
        units=[UnitKind.LAYER],
        per_class=True,
        faithfulness="none",
    )
    with Client(working.url) as api:
        api.add_task(parse(CHOICE, "x"))
        run = api.wait(api.submit_run(request).id)
        assert run.status is Status.DONE, run.error
        assert set(run.classes) == {"odd", "even"}
        check = api.wait_check(api.check_task(TaskCheckRequest(task="sizes")).id)
        assert run.task_fingerprint == check.fingerprint
        assert api.importance_map(run.id, "mean-abs", "layer").provenance["task_fingerprint"] == check.fingerprint
        assert run.notes
        assert all("1 row" in note and "sizes.jsonl, row 4" in note for note in run.notes)
        with pytest.raises(ApiError, match=run.id):
            api.drop_task("sizes")
        off = TrialRequest(run=run.id, off=Off(layer=[3]))
        assert api.measure(off).status is Status.DONE
        write_sizes(working.data, rows=18)
        restart_worker(api)
        changed = api.measure(off.model_copy(update={"off": Off(layer=[4])}))
        assert changed.status is Status.FAILED
        assert "have changed since run" in (changed.error or "")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_run_that_stopped_at_a_bad_row_is_done_once_the_row_is_mended(working: Server) -> None:
    file = working.data / "datasets" / "mend.jsonl"
    shutil.copy(working.data / "datasets" / "sizes.jsonl", file)
    spec = CHOICE | {"name": "mend", "source": {"path": "mend.jsonl"}, "on_bad": "stop"}
    request = RunRequest(model=SMOLLM2, task="mend", methods=["mean-abs"], units=[UnitKind.LAYER], faithfulness="none")
    with Client(working.url) as api:
        api.add_task(parse(spec, "x"))
        stopped = api.wait(api.submit_run(request).id)
        assert stopped.status is Status.FAILED
        assert "mend.jsonl, row 4" in (stopped.error or "")
        file.write_text(file.read_text().replace("null", "0"))
        mended = api.wait(api.submit_run(request).id)
        assert mended.status is Status.DONE, mended.error
        assert mended.notes == []


def restart_worker(api: Client) -> None:
    """A worker keeps data in memory; the supervisor starts another in the place of one that is killed."""
    (before,) = api.workers()
    assert before.pid is not None
    os.kill(before.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while {worker.pid for worker in api.workers()} <= {before.pid}:
        assert time.monotonic() < deadline
        time.sleep(0.2)
