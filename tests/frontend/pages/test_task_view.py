"""What a look at a task found, in components: nothing that was found is left out in silence."""

from __future__ import annotations

import json
from typing import Any

import plotly.utils
import pytest

from frontend.pages.submit.form_task import about, options
from frontend.pages.tasks.task_view import MOST_CLASSES, MOST_TOKENS, view
from modelshapley.contracts import Status
from modelshapley.contracts.task_files.descriptions import BadRows, ExampleShown, Labels, TaskCheck, Token
from modelshapley.tasks.infos import TASKS

DONE: dict[str, Any] = {"id": "c", "status": Status.DONE}


def drawn(component: Any) -> str:
    return json.dumps(component, cls=plotly.utils.PlotlyJSONEncoder, ensure_ascii=False)


@pytest.mark.parametrize(
    ("check", "workers", "words"),
    [
        ({"status": Status.QUEUED}, 1, "Waiting for a worker"),
        ({"status": Status.QUEUED}, None, "Waiting for a worker"),
        ({"status": Status.QUEUED}, 0, "No worker is running"),
        ({"status": Status.RUNNING}, None, "is reading the data"),
        ({"status": Status.FAILED, "error": "There is no file"}, None, "There is no file"),
        ({}, None, "No problems found"),
        ({"problems": ["no column x"]}, None, "no column x"),
        ({"bad": [BadRows(reason="no answer", count=1200, rows=["a.jsonl, row 3"])]}, None, "1,200"),
        ({"labels": Labels(data=["cat"], model=["dog"], problem="cat is unknown")}, None, "cat is unknown"),
        ({"labels": Labels(data=["cat", "dog"], model=[])}, None, "2 classes in the data"),
        ({"labels": Labels(data=["cat"], model=["cat"], numbers=[0])}, None, "match"),
        ({"longest": 93, "context": 8192}, None, "of at most 8,192"),
        ({"fingerprint": "abcdef" * 10}, None, "abcdefabcdef"),
        ({"classes": {str(n): 2 for n in range(MOST_CLASSES + 5)}}, None, "and 5 more"),
    ],
)
def test_each_thing_found_is_shown(check: dict[str, Any], workers: int | None, words: str) -> None:
    assert words in drawn(view(TaskCheck(**(DONE | check)), workers, editable=False))


def test_tokens_that_count_are_marked_by_more_than_colour() -> None:
    tokens = [Token(text="2 + 2 =\n", loss=False), Token(text=" 4", loss=True)]
    check = TaskCheck(**DONE, examples=[ExampleShown(row="r", tokens=tokens, right="4")])
    text = drawn(view(check, None, editable=False))
    assert '"children": " 4", "className": "token loss"' in text
    assert "2 + 2 =↵" in text
    assert "Mark" in text


def test_a_long_example_says_how_much_is_not_drawn() -> None:
    tokens = [Token(text="a", loss=True)] * (MOST_TOKENS + 7)
    assert "7 more tokens" in drawn(
        view(TaskCheck(**DONE, examples=[ExampleShown(row="r", tokens=tokens, right="a")]), None, editable=False)
    )


def test_the_right_choice_is_said_in_words_and_once() -> None:
    example = ExampleShown(row="r", text="?", choices=["a", "b"], right="b")
    text = drawn(view(TaskCheck(**DONE, examples=[example]), None, editable=False))
    assert text.count("✓ correct") == 1
    assert "Correct: " not in text
    check = TaskCheck(**DONE, examples=[ExampleShown(row="r", right="c")])
    assert "Correct: " in drawn(view(check, None, editable=False))


def test_tasks_for_the_model_come_first() -> None:
    groups = options(list(TASKS.values()), "AutoModelForCausalLM")
    assert [group["group"] for group in groups] == ["For a causal language model", "For other models"]
    assert groups[0]["items"][0]["value"] == "world-capitals"
    assert sum(len(group["items"]) for group in groups) == len(TASKS)


def test_a_task_is_told_with_its_source_and_the_way_to_its_preview() -> None:
    text = drawn(about(TASKS["gsm8k"], "demo:smollm2-135m"))
    assert "openai/gsm8k" in text
    assert "/tasks?preview=gsm8k&model=demo%3Asmollm2-135m" in text
