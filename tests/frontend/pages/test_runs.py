"""The list of runs: what its address says, and what a card tells."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from frontend.pages.runs import run_card, run_filter
from frontend.pages.runs.page import no_match
from frontend.pages.runs.run_filter import RunFilter
from modelshapley.contracts import Mark, Progress, Run, Status, Verdict, WorkerInfo
from modelshapley.units import UnitKind
from tests.frontend.pages.test_system_view import text

RUN = Run(
    id="abc",
    model="demo:digits-vit",
    task="digits",
    methods=["mean-abs"],
    units=["head"],
    limit=256,
    seed=0,
    status=Status.RUNNING,
    progress=Progress(done=96, total=256, eta_s=4.0, rate=40.0),
    worker="box-17",
    created=datetime(2026, 5, 4, tzinfo=UTC),
)
WORKER = WorkerInfo(name="box-17", state="busy", queues=["runs"], current="run:abc")


def changed(**values: Any) -> Run:
    return Run.model_validate(RUN.model_dump() | values)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("", RunFilter()),
        ("?search=vit&status=failed&page=3", RunFilter("vit", "failed", 3)),
        ("?search=50%25%20off", RunFilter("50% off")),
        ("?status=finished&page=-1", RunFilter()),
        ("?page=0", RunFilter()),
        ("?page=two", RunFilter()),
        ("?page=99999999999", RunFilter(page=run_filter.LAST_PAGE)),
        ("?search=%00a", RunFilter("a")),
        (f"?search={'x' * 300}", RunFilter("x" * 200)),
        ("?status=deleted", RunFilter(status="deleted")),
        ("?tag=seed%20study&order=model", RunFilter(tag="seed study", order="model")),
        (f"?tag={'x' * 50}&order=oldest", RunFilter(tag="x" * 40)),
    ],
)
def test_the_address_is_read(address: str, expected: RunFilter) -> None:
    assert run_filter.parse(address) == expected


def test_what_is_asked_of_the_api() -> None:
    plain = {"tag": None, "order": "newest"}
    assert RunFilter("vit", "failed").query() == {"search": "vit", "status": Status.FAILED, "deleted": False} | plain
    assert RunFilter(status="deleted").query() == {"search": "", "status": None, "deleted": True} | plain
    assert RunFilter(tag="a b", order="tag").query() | plain == RunFilter().query()


@pytest.mark.parametrize(
    ("run", "workers", "words"),
    [
        (RUN, [WORKER], "96 of 256 examples · 40 per second · 4 s left · worker box-17"),
        (RUN, None, "96 of 256 examples · 40 per second · 4 s left · worker box-17"),
        (
            changed(worker="gone-1"),
            [WORKER],
            "worker gone-1 does not respond; another worker resumes from the last checkpoint",
        ),
        (changed(shards=4), [WORKER], "96 of 256 examples · 40 per second · 4 s left · 4 shards"),
        (
            changed(progress={"done": 256, "total": 256, "eta_s": 0.0}),
            [WORKER],
            "256 of 256 examples · measuring the intact accuracy · worker box-17",
        ),
        (changed(progress={"done": 0, "total": 0}), [WORKER], "loading the model · worker box-17"),
        (
            changed(
                progress={"done": 0, "total": 0},
                fetching={"done": 1.2e9, "total": 3.4e9, "rate": 1e7, "eta_s": 220.0},
            ),
            [WORKER],
            "downloading the model, 1.1 GiB of 3.2 GiB, 4 min left · worker box-17",
        ),
        (changed(status="queued"), [WORKER], "waiting: all workers are busy"),
        (changed(status="queued"), [WORKER.model_copy(update={"current": None})], "waiting for a worker"),
    ],
)
def test_what_an_open_run_does(run: Run, workers: list[WorkerInfo] | None, words: str) -> None:
    assert run_card.doing(run, workers).startswith(words)


def test_without_workers_the_way_out_is_named() -> None:
    assert "Start one:  modelshapley worker" in text(run_card.card(changed(status="queued"), None, []))


@pytest.mark.parametrize(
    ("values", "buttons"),
    [
        ({}, ["Cancel"]),
        ({"status": "done"}, ["Delete", "Open the map"]),
        ({"status": "failed", "error": "no room"}, ["Delete", "Try again"]),
        ({"status": "done", "deleted": RUN.created}, ["Restore"]),
    ],
)
def test_what_can_be_done_with_a_run(values: dict[str, Any], buttons: list[str]) -> None:
    actions = run_card._actions(changed(**values))
    assert [text(action) for action in actions] == buttons


@pytest.mark.parametrize(
    ("checks", "words"), [("running", "check in progress"), ("done", "? not checked"), (None, "? not checked")]
)
def test_a_map_that_is_being_checked_is_not_called_unchecked(checks: str | None, words: str) -> None:
    trust = run_card.Trust(Verdict(mark=Mark.UNCHECKED, sentence="Nothing was measured."), "mean-abs", UnitKind.HEAD)
    assert f"Head map:  {words}" in text(run_card.card(changed(status="done", checks=checks), None, [], trust))


def test_asking_again_asks_for_the_same() -> None:
    again = changed(status="failed", per_class=True, shards=3, faithfulness="full").request()
    assert (again.model, again.limit, again.per_class, again.shards, again.faithfulness) == (
        "demo:digits-vit",
        256,
        True,
        3,
        "full",
    )


def test_nothing_found_says_what_was_looked_for() -> None:
    assert no_match(RunFilter("vit", "failed")) == "No failed run matches “vit”."
    assert no_match(RunFilter(status="deleted")) == "There is no deleted run."
