"""Task files: what is read, and that every wrong field is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from modelshapley.contracts.task_files.file import MAX_FILE_BYTES, GenerationTask, parse, parse_text, read_file, to_yaml
from modelshapley.errors import BadTask
from modelshapley.tasks.infos import ORDER, built_in_files

SOURCE = {"path": "data.jsonl"}
GENERATION = {"kind": "generation", "name": "mine", "source": SOURCE, "prompt": "{question}"}
CHOICE = {**GENERATION, "kind": "multiple-choice", "choices": ["yes", "no"]}
LABELLED = {"kind": "text-classification", "name": "mine", "source": SOURCE}


def problems(data: Any) -> dict[str, str]:
    with pytest.raises(BadTask) as caught:
        parse(data, "mine.yaml")
    assert "mine.yaml" in str(caught.value)
    return dict(caught.value.problems)


def without(task: dict[str, Any], field: str) -> dict[str, Any]:
    return {key: value for key, value in task.items() if key != field}


@pytest.mark.parametrize(
    ("task", "field", "words"),
    [
        (without(GENERATION, "prompt"), "prompt", "required"),
        (without(GENERATION, "source"), "source", "required"),
        (GENERATION | {"promt": "{question}"}, "promt", "not permitted"),
        (GENERATION | {"name": "My Task"}, "name", "match"),
        (GENERATION | {"name": "../etc"}, "name", "match"),
        (GENERATION | {"source": {}}, "source", "either 'path' or 'hub'"),
        (GENERATION | {"source": {"path": "a", "hub": "b/c"}}, "source", "either 'path' or 'hub'"),
        (GENERATION | {"source": {"hub": "../b"}}, "source.hub", "match"),
        (GENERATION | {"source": {"hub": ".."}}, "source.hub", "match"),
        (GENERATION | {"source": {"hub": "a/b/c"}}, "source.hub", "match"),
        (GENERATION | {"source": {"hub": "a/b", "config": "../c"}}, "source.config", "match"),
        (GENERATION | {"probe": {"split": "../../secret"}}, "probe.split", "match"),
        (GENERATION | {"test": {"split": "/etc"}}, "test.split", "match"),
        (GENERATION | {"probe": {"split": "train", "share": 0}}, "probe.share", "greater than 0"),
        (GENERATION | {"probe": {"split": "train", "share": 1.5}}, "probe.share", "less than or equal to 1"),
        (GENERATION | {"limit": 0}, "limit", "greater than 0"),
        (GENERATION | {"seed": -1}, "seed", "greater than or equal to 0"),
        (GENERATION | {"on_bad": "ignore"}, "on_bad", "'stop' or 'skip'"),
        (GENERATION | {"chat": "maybe"}, "chat", "'auto', 'yes' or 'no'"),
        (GENERATION | {"rule": "gsm9k"}, "rule", "gsm8k"),
        (GENERATION | {"max_new_tokens": 0}, "max_new_tokens", "greater than or equal to 1"),
        (GENERATION | {"groups": ["a"]}, "groups", "dictionary"),
        (CHOICE | {"choices": ["only"]}, "choices", "at least 2"),
        (CHOICE | {"choices": [str(i) for i in range(27)]}, "choices", "at most 26"),
        (LABELLED | {"labels": ["one"]}, "labels", "at least 2"),
        (LABELLED | {"labels": ["one", "one"]}, "labels", "twice"),
        (LABELLED | {"match": "guess"}, "match", "'names' or 'index'"),
        (LABELLED | {"image": "img"}, "image", "not permitted"),
        ({"kind": "language-modelling", "name": "mine", "source": SOURCE, "window": 4}, "window", "8"),
    ],
)
def test_a_wrong_field_is_named_with_what_is_wrong(task: dict[str, Any], field: str, words: str) -> None:
    found = problems(task)
    assert [name for name in found if name == field], found
    assert words in found[field]


@pytest.mark.parametrize(
    "template", ["{a.b}", "{a[0]}", "{}", "{0.__class__}", "{a!r}", "{a:>9}", "{a", "a}", "{ {a} }"]
)
@pytest.mark.parametrize("field", ["prompt", "answer"])
def test_a_template_holds_column_names_and_nothing_else(field: str, template: str) -> None:
    told = problems(GENERATION | {field: template})[field]
    assert "for plain braces" in told
    assert template.startswith("{ ") or template in told or template in ("{a", "a}"), told
    assert problems(CHOICE | {"choices": ["x", template]})


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (GENERATION | {"pattern": "(x)"}, "belongs to rule 'regex'"),
        (GENERATION | {"rule": "regex"}, "needs one"),
        (GENERATION | {"rule": "regex", "pattern": "x"}, "brackets around the answer"),
        (GENERATION | {"rule": "regex", "pattern": "(?:x)"}, "brackets around the answer"),
        (GENERATION | {"rule": "regex", "pattern": "(x"}, "is not a regular expression"),
        (CHOICE | {"score": "letter"}, "{choices}"),
        (CHOICE | {"choices_column": "options"}, "not both"),
        (without(CHOICE, "choices"), "'choices_column'"),
        (GENERATION | {"probe": {"split": "test"}, "test": {"split": "test"}}, "more than 1 together"),
        (
            GENERATION | {"probe": {"split": "a", "share": 0.5}, "test": {"split": "a", "share": 0.6}},
            "more than 1 together",
        ),
        (GENERATION | {"probe": {"split": "val"}, "test": {"split": "validation"}}, "share examples"),
        (GENERATION | {"probe": {"split": "all", "share": 0.2}, "test": {"split": "test"}}, "share examples"),
    ],
)
def test_fields_that_do_not_go_together_are_told(task: dict[str, Any], words: str) -> None:
    assert any(words in told for told in problems(task).values()), problems(task)


def test_several_wrong_fields_are_all_named() -> None:
    assert set(problems(GENERATION | {"limit": 0, "promt": "", "source": {}})) == {"limit", "promt", "source"}


@pytest.mark.parametrize("kind", [None, "guessing", 3, ["generation"]])
def test_a_kind_that_does_not_exist_is_told_with_those_that_do(kind: Any) -> None:
    with pytest.raises(BadTask, match="kind"):
        parse(without(GENERATION, "kind") | ({} if kind is None else {"kind": kind}), "mine.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a",
        "kind",
        "kind: [",
        "a: 2024-13-45",
        "[" * 5000,
        "a: !!python/object/apply:os.getcwd []",
        "\x00",
        "? [a]\n: b",
        "a: &a [*a]",
    ],
)
def test_what_is_no_task_is_told_and_runs_nothing(text: str) -> None:
    with pytest.raises(BadTask):
        parse_text(text, "mine.yaml")


def test_a_file_that_is_missing_too_large_or_no_text(tmp_path: Path) -> None:
    large, bytes_ = tmp_path / "large.yaml", tmp_path / "bytes.yaml"
    large.write_text("#" * (MAX_FILE_BYTES + 1))
    bytes_.write_bytes(b"kind: \xff\xfe")
    for file, words in (
        (large, "is it the data"),
        (bytes_, "cannot be read"),
        (tmp_path / "no", "cannot be read"),
    ):
        with pytest.raises(BadTask, match=words):
            read_file(file)


@pytest.mark.parametrize("name", ORDER)
def test_a_built_in_task_reads_the_same_after_it_was_written(name: str) -> None:
    spec = built_in_files()[name]
    assert spec.name == name
    assert parse_text(to_yaml(spec), name) == spec
    assert parse_text(spec.model_dump_json(indent=2), name) == spec
    assert len(to_yaml(spec)) < len(yaml.safe_dump(spec.model_dump(mode="json")))


@settings(max_examples=60, deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.sampled_from(["auto", "yes", "no"]),
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.lists(st.text("abc1 no", max_size=5))
    ),
    st.one_of(st.none(), st.integers(0, 2**31 - 1)),
)
def test_any_task_reads_the_same_as_yaml_and_as_json(
    words: str, chat: str, groups: dict[str, list[str]], seed: int | None
) -> None:
    prompt = words.replace("{", "{{").replace("}", "}}") + "{question}"
    spec = parse(GENERATION | {"prompt": prompt, "chat": chat, "groups": groups, "seed": seed}, "mine")
    assert isinstance(spec, GenerationTask)
    assert spec.prompt.format(question="") == words
    assert parse_text(to_yaml(spec), "mine") == spec
    whole = spec.model_dump(mode="json")
    for told in (json.dumps(whole), json.dumps(whole, indent="\t"), json.dumps(whole, ensure_ascii=False)):
        assert parse_text(told, "mine") == spec


def test_yes_and_no_need_no_quotes() -> None:
    for written, meant in (("no", "no"), ("yes", "yes"), ("auto", "auto"), ('"no"', "no")):
        assert parse_text(to_yaml(parse(GENERATION, "mine")) + f"chat: {written}\n", "mine").chat == meant
