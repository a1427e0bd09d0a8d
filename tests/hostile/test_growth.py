"""Time to read a submission grows in proportion to its length: no doubling costs much more than twice as much."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from backend.web.bodies import load_json
from modelshapley.contracts import Off, TrialRequest
from modelshapley.contracts.task_files.file import parse, parse_text, to_yaml
from modelshapley.errors import BadTask
from modelshapley.models.upload_files import problems_of
from modelshapley.tasks.labels import class_index, number_by_name

HEAD = "kind: text-classification\nname: many\nsource: {path: x.csv}\n"
LABELS = {"kind": "text-classification", "name": "many", "source": {"path": "x.csv"}}
PATTERN = {"kind": "generation", "name": "x", "source": {"path": "x.csv"}, "prompt": "{q}", "rule": "regex"}


def read_text(text: str) -> None:
    with contextlib.suppress(BadTask):
        parse_text(text, "here")


def read_file(**fields: Any) -> None:
    with contextlib.suppress(BadTask):
        parse(fields, "here")


def look_up(count: int) -> None:
    numbers = number_by_name([f"class {i}" for i in range(count)])
    for number in range(count):
        class_index({"label": f"class {number}"}, "label", numbers, count, {})


def merges(count: int) -> str:
    lines = [f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}" for i in range(1, count)]
    return "\n".join(["a0: &a0 {x: 1}", *lines])


READS: dict[str, tuple[Callable[[int], None], int]] = {
    "labels": (lambda n: read_file(**LABELS, labels=[f"{i:x}" for i in range(n)]), 10_000),
    "labels as YAML": (lambda n: read_text(f"{HEAD}labels: [{', '.join(f'a{i}' for i in range(n))}]"), 5_000),
    "labels written as YAML": (
        lambda n: (to_yaml(parse(LABELS | {"labels": [f"a{i}" for i in range(n)]}, "x")), None)[1],
        5_000,
    ),
    "groups": (lambda n: read_file(**LABELS, groups={"all": [str(i) for i in range(n)]}), 20_000),
    "unknown fields": (lambda n: read_file(**LABELS, **{f"f{i}": i for i in range(n)}), 5_000),
    "brackets": (lambda n: read_text(HEAD + "labels: " + "[" * n), 50_000),
    "braces": (lambda n: read_text(HEAD + "groups: " + "{a: " * n), 20_000),
    "dashes": (lambda n: read_text(HEAD + "labels:\n" + "- " * n + "a"), 20_000),
    "question marks": (lambda n: read_text("? " * n), 20_000),
    "a number to base 60": (lambda n: read_text(f"{HEAD}limit: 1{':1' * n}"), 50_000),
    "a fraction to base 60": (lambda n: read_text(f"{HEAD}limit: 1{':1' * n}.5"), 50_000),
    "digits": (lambda n: read_text(f"{HEAD}limit: {'9' * n}"), 50_000),
    "hexadecimal digits": (lambda n: read_text(f"{HEAD}limit: 0x{'f' * n}"), 50_000),
    "an exponent": (lambda n: read_text(f"{HEAD}limit: 1.0e+{'9' * n}"), 50_000),
    "digits in JSON": (lambda n: read_text(json.dumps(LABELS)[:-1] + f', "limit": {"9" * n}}}'), 50_000),
    "brackets in JSON": (lambda n: read_text('{"a":' + "[" * n), 50_000),
    "merges": (lambda n: read_text(merges(n)), 100),
    "aliases": (lambda n: read_text("a: &a [x]\nlabels: [" + ", ".join(["*a"] * n) + "]"), 20_000),
    "anchors": (lambda n: read_text("\n".join(f"a{i}: &a{i} x" for i in range(n))), 5_000),
    "comments": (lambda n: read_text(HEAD + "# x\n" * n), 20_000),
    "a long key": (lambda n: read_text("x" * n + ": 1"), 50_000),
    "quotes": (lambda n: read_text(HEAD + "title: " + "'" * n), 50_000),
    "tags": (lambda n: read_text(HEAD + "title: " + "!a " * n), 20_000),
    "directives": (lambda n: read_text("%TAG ! a\n" * n), 10_000),
    "documents": (lambda n: read_text("---\n" * n), 20_000),
    "tabs and spaces": (lambda n: read_text(HEAD + "title: a" + " \t" * n + "b"), 20_000),
    "placeholders": (lambda n: read_file(**PATTERN | {"prompt": "{a}" * n}), 2_000),
    "units of a trial": (
        lambda n: (TrialRequest(run="x", off=Off(neuron=[(i, i) for i in range(n)])), None)[1],
        20_000,
    ),
    "classes of rows": (look_up, 10_000),
    "names of files": (lambda n: (problems_of([("config.json", 1)] * n, 10), None)[1], 10_000),
}


def seconds(read: Callable[[int], None], size: int) -> float:
    best = float("inf")
    for _ in range(3):
        started = time.thread_time()
        read(size)
        best = min(best, time.thread_time() - started)
    return best


@pytest.mark.parametrize("what", READS)
def test_four_times_as_much_takes_four_times_as_long(what: str) -> None:
    """Two doublings: what is linear takes 4 times as long, what is quadratic 16 times."""
    read, size = READS[what]
    small, large = seconds(read, size), seconds(read, 4 * size)
    assert large < 5
    assert large < 9 * small or large < 0.02, f"{small:.4f} s for {size:,}, {large:.4f} s for {4 * size:,}"


REPEATS = {
    "one count": "(a{99999999})",
    "nested counts": "(?:(?:(?:(?:(a){200}){200}){200}){200}){200}",
    "nested minima": "(?:(?:(?:(?:(a{100,}){100,}){100,}){100,}){100,})",
    "alternatives": "((a|b|c){100}|(d|e){100}){5000}",
    "many digits": "(a{" + "9" * 400 + "})",
    "a set": "([]a-z(){5000}b){5000}(x)",
}


@pytest.mark.parametrize("what", REPEATS)
def test_a_pattern_that_would_fill_the_memory_is_refused(what: str) -> None:
    started = time.thread_time()
    with pytest.raises(BadTask, match=r"repeats too much|not a regular expression"):
        parse(PATTERN | {"pattern": REPEATS[what]}, "here")
    assert time.thread_time() - started < 1


@pytest.mark.parametrize(
    "pattern",
    [
        r"answer is (\d+)",
        r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})",
        r"(\d{4}-\d{2}-\d{2})",
        r"(a{1,1000}){1,9}",
        r"\{(x)\}",
    ],
)
def test_usual_patterns_are_taken(pattern: str) -> None:
    assert parse(PATTERN | {"pattern": pattern}, "here").pattern == pattern


@pytest.mark.parametrize(
    ("text", "value"),
    [("1:30", "1:30"), ("0x1F", 31), ("017", 15), ("12", 12), ("-3", -3), ("1.5", 1.5), ("1e5", "1e5"), ("no", False)],
)
def test_scalars_of_yaml(text: str, value: Any) -> None:
    from modelshapley.contracts.task_files.yaml_text import load_yaml

    assert load_yaml(f"a: {text}") == {"a": value}


def test_json_bodies_are_bounded() -> None:
    from fastapi import HTTPException

    for body in (
        b"[" * 200_000,
        json.dumps({f"f{i}": 0 for i in range(20_000)}).encode(),
        b'{"a":' * 40 + b"1" + b"}" * 40 + b" " * 70_000,
        b"9" * 100_000,
    ):
        with pytest.raises((HTTPException, json.JSONDecodeError)):
            load_json(body)
