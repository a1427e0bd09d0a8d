"""Which rows are in which part, and what a task's fingerprint tells."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelshapley.tasks.base import Split
from tests.support.task_data import ASK, asked, jsonl, task

HALVES: dict[str, Any] = {
    "probe": {"split": "all", "share": 0.2},
    "test": {"split": "all", "share": 0.8},
    "source": {"path": "a.jsonl"},
}


CLASSES = st.lists(st.integers(1, 60), min_size=1, max_size=12)


def classed(counts: list[int]) -> list[dict[str, str]]:
    rows = [f"class {i}" for i, count in enumerate(counts) for _ in range(count)]
    return [row | {"kind": kind} for row, kind in zip(asked(len(rows)), rows, strict=True)]


def answers(made: Any, split: Split, seed: int = 0) -> list[str]:
    return [example.answer for example in made.examples(split, seed)]


@settings(max_examples=60, deadline=None)
@given(CLASSES, st.sampled_from([0.2, 0.5, 0.37]), st.integers(0, 99))
@example([1, 4], 0.2, 0)
@example([500, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], 0.2, 0)
def test_a_share_of_a_split_has_that_share_of_every_class(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], share: float, seed: int
) -> None:
    root, rows = tmp_path_factory.mktemp("data"), classed([*counts, 5])
    jsonl(root / "a.jsonl", rows)
    parts = {"probe": {"split": "all", "share": share}, "test": {"split": "all", "share": 1 - share}}
    made = task(root, ASK | HALVES | parts, classes="kind")
    probe, test = (made.examples(split, seed) for split in (Split.PROBE, Split.TEST))
    assert len(probe) == max(1, round(share * len(rows)))
    assert not {e.where for e in probe} & {e.where for e in test}
    assert len(probe) + len(test) == len(rows)
    found, whole = Counter(e.label for e in probe), Counter(row["kind"] for row in rows)
    for label, count in whole.items():
        assert abs(found[label] - share * count) <= 1 + 1e-9, (label, count, found)


def test_every_prefix_of_the_probe_part_is_stratified(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", classed([250, 125, 125]))
    made = task(tmp_path, ASK | HALVES, classes="kind")
    for n in (8, 20, 60, 100):
        found = Counter(e.label for e in made.examples(Split.PROBE, 3)[:n])
        for label, share in (("class 0", 0.5), ("class 1", 0.25), ("class 2", 0.25)):
            assert abs(found[label] - share * n) <= 2, (n, found)


def test_the_seed_draws_the_parts_and_their_order(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", asked(50))
    one, other = task(tmp_path, ASK | HALVES), task(tmp_path, ASK | HALVES)
    for split in Split:
        assert answers(one, split, 4) == answers(other, split, 4)
        assert answers(one, split, 4) != answers(one, split, 5)
        assert set(answers(one, split, 4)) != set(answers(one, split, 5))


@pytest.mark.parametrize("limit", [None, 6])
def test_a_seed_in_the_task_draws_the_same_parts_whatever_the_runs_seed(tmp_path: Path, limit: int | None) -> None:
    jsonl(tmp_path / "a.jsonl", classed([30, 20]))
    made = task(tmp_path, ASK | HALVES, seed=7, classes="kind", limit=limit)
    for split in Split:
        drawn = [answers(made, split, seed) for seed in range(5)]
        assert len({frozenset(part) for part in drawn}) == 1
        assert len({tuple(part) for part in drawn}) > 1
        assert limit is None or {len(part) for part in drawn} == {limit}
    other = task(tmp_path, ASK | HALVES, seed=8, classes="kind", limit=limit)
    assert set(answers(made, Split.TEST)) != set(answers(other, Split.TEST))


def test_a_limit_is_a_prefix_of_either_part(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", asked(50))
    whole, some = task(tmp_path, ASK | HALVES), task(tmp_path, ASK | HALVES, limit=4)
    for split in Split:
        assert answers(some, split, 2) == answers(whole, split, 2)[:4]
    assert len(answers(task(tmp_path, ASK | HALVES, limit=1000), Split.PROBE)) == 10


def test_a_limit_counts_examples_that_can_be_used(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", [row | ({"answer": ""} if i % 2 else {}) for i, row in enumerate(asked(40))])
    made = task(tmp_path, ASK | HALVES, on_bad="skip", limit=3)
    assert len(answers(made, Split.PROBE)) == 3
    assert all(int(answer) % 2 == 0 for answer in answers(made, Split.PROBE))


# -- fingerprints -------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    jsonl(tmp_path / "a.jsonl", asked(20))
    jsonl(tmp_path / "b" / "a.jsonl", asked(20))
    return tmp_path


def fingerprint(root: Path, run_seed: int = 0, **fields: Any) -> str:
    found: str = task(root, ASK | HALVES | fields).fingerprint(run_seed)
    return found


@pytest.mark.parametrize(
    "fields", [{"title": "Mine"}, {"summary": "Of all."}, {"name": "other"}, {"source": {"path": "b/a.jsonl"}}]
)
def test_what_a_task_is_called_and_where_it_lies_do_not_change_its_fingerprint(
    root: Path, fields: dict[str, Any]
) -> None:
    assert fingerprint(root, **fields) == fingerprint(root)


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "{question}?"},
        {"system": "Think."},
        {"chat": "no"},
        {"answer": "{question}"},
        {"rule": "number"},
        {"rule": "regex", "pattern": "(.)"},
        {"max_new_tokens": 5},
        {"limit": 3},
        {"seed": 0},
        {"classes": "answer"},
        {"on_bad": "skip"},
        {"probe": {"split": "all", "share": 0.1}},
        {"test": {"split": "all", "share": 0.5}},
    ],
)
def test_what_changes_the_examples_or_what_is_right_changes_the_fingerprint(root: Path, fields: dict[str, Any]) -> None:
    assert fingerprint(root, **fields) != fingerprint(root)


def test_the_seed_the_content_and_the_field_change_the_fingerprint(root: Path) -> None:
    before = fingerprint(root)
    assert fingerprint(root, run_seed=1) != before
    jsonl(root / "a.jsonl", [*asked(19), {"question": "what is 19?", "answer": "20"}])
    assert fingerprint(root) != before
    (root / "c.json").write_text('{"x": [{"question": "a", "answer": "b"}], "y": [{"question": "c", "answer": "d"}]}')
    one, other = (fingerprint(root, source={"path": "c.json", "field": field}) for field in "xy")
    assert one != other
