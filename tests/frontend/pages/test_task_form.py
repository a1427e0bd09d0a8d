"""The form of a task: what is shown, the file it makes, and where its mistakes are told."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from frontend.pages.tasks.task_form import (
    FIELDS,
    MISSING,
    by_field,
    file_of,
    lines_of_mapping,
    validate,
    validate_text,
    visible_fields,
)
from modelshapley.contracts.task_files.descriptions import Kind
from modelshapley.contracts.task_files.file import ADAPTER, parse
from modelshapley.formatting import KINDS_OF_TASK

EMPTY = {name: field.value for name, field in FIELDS.items()}


def filled(**changes: Any) -> dict[str, Any]:
    return EMPTY | {"name": "own", "source.path": "own.jsonl"} | changes


def test_every_kind_of_task_has_words() -> None:
    assert list(KINDS_OF_TASK) == list(get_args(Kind))


@pytest.mark.parametrize("kind", KINDS_OF_TASK)
def test_a_form_as_it_opens_lacks_little(kind: str) -> None:
    more = {"choices": "yes\nno"} if kind == "multiple-choice" else {}
    spec, problems = validate(filled(kind=kind, **more))
    assert problems == {}
    assert spec is not None
    assert parse(file_of(filled(kind=kind, **more)), "x") == spec
    data = spec.model_dump()
    assert all(name.partition(".")[0] in data for name in visible_fields(filled(kind=kind)) - {"where"})


def test_every_field_of_a_form_is_one_of_a_task_file() -> None:
    known = {name for variant in ADAPTER.json_schema()["$defs"].values() for name in variant.get("properties", {})}
    assert {part for name in FIELDS for part in name.split(".")} - {"where"} <= known


def test_fields_become_a_file() -> None:
    values = filled(
        kind="multiple-choice",
        choices=" yes \n\nno",
        limit=64,
        **{"probe.share": 12.5, "title": "Own", "key": "k"},
    )
    assert file_of(values) == {
        "kind": "multiple-choice",
        "name": "own",
        "title": "Own",
        "source": {"path": "own.jsonl"},
        "probe": {"split": "train", "share": 0.125},
        "test": {"split": "test", "share": 1.0},
        "prompt": "{question}",
        "chat": "auto",
        "choices": ["yes", "no"],
        "key": "k",
        "score": "mean",
        "limit": 64,
        "on_bad": "stop",
    }


def test_what_is_hidden_is_left_out() -> None:
    values = filled(where="hub", pattern="x", **{"source.hub": "openai/gsm8k", "source.revision": "v1"})
    data = file_of(values)
    assert data["source"] == {"hub": "openai/gsm8k", "revision": "v1"}
    assert "pattern" not in data
    assert "key" not in data
    assert "pattern" in file_of(values | {"rule": "regex"})


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"name": ""}, "name", MISSING),
        ({"name": "My task"}, "name", "hyphens"),
        ({"source.path": ""}, "source.path", MISSING),
        ({"where": "hub"}, "source.hub", MISSING),
        ({"where": "hub", "source.hub": "a b"}, "source.hub", "on the hub"),
        ({"prompt": "{}"}, "prompt", "is not a placeholder"),
        ({"probe.share": 0}, "probe.share", "More than 0"),
        ({"probe.share": 120}, "probe.share", "at most 100 %"),
        ({"limit": 0}, "limit", "greater than 0"),
        ({"max_new_tokens": 1.5}, "max_new_tokens", "integer"),
        ({"choices": "one"}, "choices", "at least 2"),
        ({"choices": "one\n{}"}, "choices", "is not a placeholder"),
        ({"kind": "multiple-choice"}, "choices", "give 'choices'"),
        ({"rule": "regex"}, "pattern", "needs one"),
        ({"rule": "regex", "pattern": "("}, "pattern", "is not a regular expression"),
        ({"probe.split": "all", "test.split": "all"}, "test.share", "more than 1 together"),
    ],
)
def test_each_mistake_is_told_at_its_field(changes: dict[str, Any], field: str, words: str) -> None:
    spec, problems = validate(filled(**changes))
    assert spec is None
    assert set(problems) == {field}
    assert words in problems[field]


def test_what_the_server_refuses_is_told_at_its_field() -> None:
    assert by_field([("source.path", "leads out")], filled()) == {"source.path": "leads out."}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Paste or drop"),
        ("- a", "mapping"),
        ("a: [", "YAML or JSON"),
        ("kind: generation\nname: x\nsource: {path: y}", "prompt: Field required"),
    ],
)
def test_a_file_that_is_none_is_told_line_by_line(text: str, words: str) -> None:
    spec, problems = validate_text(text)
    assert spec is None
    assert any(words in line for line in problems)


def test_a_file_is_read() -> None:
    spec, problems = validate_text("kind: language-modelling\nname: x\nsource: {path: y}")
    assert problems == []
    assert spec is not None
    assert spec.name == "x"


def test_lines_of_classes_are_names_or_a_mapping() -> None:
    def labels(lines: str) -> Any:
        return file_of(filled(kind="text-classification", labels=lines))["labels"]

    assert labels("bad\ngood") == ["bad", "good"]
    assert labels("bad = LABEL_1\n good = LABEL_0 ") == {"bad": "LABEL_1", "good": "LABEL_0"}
    assert labels("a = b = c\nd = e") == {"a = b": "c", "d": "e"}
    assert labels("bad\ngood = LABEL_0") == ["bad", "good = LABEL_0"]
    assert labels(lines_of_mapping({"bad": "1", "good": "0"})) == {"bad": "1", "good": "0"}
