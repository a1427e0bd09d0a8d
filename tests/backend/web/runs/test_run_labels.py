"""Names, comments and tags of runs: set, searched, listed by, refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.support.in_process import serving

RUN = {"model": "demo:digits-vit", "task": "digits", "methods": ["mean-abs"], "limit": 8}


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with serving(tmp_path_factory.mktemp("data")) as client:
        yield client


def submitted(http: TestClient, **labels: Any) -> str:
    run = http.post("/api/v1/runs", json=RUN).json()
    answer = http.patch(f"/api/v1/runs/{run['id']}", json=labels)
    assert answer.status_code == 200, answer.text
    return str(run["id"])


def listed(http: TestClient, **query: Any) -> list[str]:
    return [run["id"] for run in http.get("/api/v1/runs", params=query).json()["items"]]


def test_what_is_left_out_stays_and_null_clears(http: TestClient) -> None:
    run = submitted(http, name="Baseline", comment="first\ntry", tags=["paper", "ünïcode"])
    path = f"/api/v1/runs/{run}"
    kept = http.patch(path, json={"tags": []}).json()
    assert (kept["name"], kept["comment"], kept["tags"]) == ("Baseline", "first\ntry", [])
    cleared = http.patch(path, json={"name": None, "comment": ""}).json()
    assert (cleared["name"], cleared["comment"]) == (None, None)
    assert http.get(path).json() == cleared


def test_search_covers_labels_and_a_tag_is_exact(http: TestClient) -> None:
    first = submitted(http, name="Dropout Study", tags=["long name", 'quo"te'])
    second = submitted(http, comment="the dropout one", tags=["long"])
    assert set(listed(http, search="DROPOUT")) == {first, second}
    assert listed(http, search="study long") == [first]
    assert listed(http, tag="long") == [second]
    assert listed(http, tag='quo"te') == [first]
    assert listed(http, tag="%") == []


def test_runs_are_listed_by_model_or_by_tags(http: TestClient) -> None:
    a, b, c = (submitted(http, tags=tags) for tags in (["order b"], ["order a"], ["order b"]))
    ids = [run for run in listed(http, order="tag", limit=200) if run in (a, b, c)]
    assert ids == [b, c, a]
    everything = http.get("/api/v1/runs", params={"order": "tag", "limit": 200}).json()["items"]
    untagged = [not run["tags"] for run in everything]
    assert untagged == sorted(untagged)
    assert [run for run in listed(http, order="model", limit=200) if run in (a, b, c)] == [c, b, a]


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        ({"name": "x" * 121}, "120"),
        ({"name": "two\nlines"}, "name"),
        ({"name": " "}, "name"),
        ({"comment": "a\0b"}, "comment"),
        ({"comment": "x" * 4001}, "4000"),
        ({"tags": ["a,b"]}, "tags"),
        ({"tags": [""]}, "tags"),
        ({"tags": ["twice", "twice"]}, "twice"),
        ({"tags": [str(n) for n in range(17)]}, "16"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_labels_that_cannot_be_kept_say_why(http: TestClient, labels: dict[str, Any], named: str) -> None:
    run = submitted(http, name="kept")
    answer = http.patch(f"/api/v1/runs/{run}", json=labels)
    assert answer.status_code == 422
    assert named in answer.json()["detail"]
    assert http.get(f"/api/v1/runs/{run}").json()["name"] == "kept"


def test_a_run_that_does_not_exist(http: TestClient) -> None:
    assert http.patch("/api/v1/runs/none", json={"name": "x"}).status_code == 404
