"""The task form filled in from uploaded data: what fits stays, what does not is chosen from the columns."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

import pytest

from frontend.pages.tasks.columns import fill_form
from frontend.pages.tasks.task_form import FIELDS, validate
from modelshapley.contracts import DataColumn, Dataset, DataSplit

EMPTY = {name: field.value for name, field in FIELDS.items()}


def dataset(
    *columns: str, splits: dict[str, int] | None = None, form: Literal["table", "pictures"] = "table"
) -> Dataset:
    """columns: 'name' of text, or 'name:kind'."""
    described: list[Any] = [DataColumn(name=c.partition(":")[0], kind=c.partition(":")[2] or "text") for c in columns]
    parts = [DataSplit(name=name, rows=rows) for name, rows in (splits or {"all": 10}).items()]
    return Dataset(
        name="My_data.v2",
        path="uploads/My_data.v2",
        form=form,
        splits=parts,
        columns=described,
        bytes=1,
        created=datetime.now(UTC),
    )


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["problem", "solution"], {"kind": "generation", "prompt": "{problem}", "answer": "{solution}"}),
        (["question", "answer"], {"kind": "generation", "prompt": "{question}", "answer": "{answer}"}),
        (
            ["question", "options:list", "key:number"],
            {"kind": "multiple-choice", "choices_column": "options", "key": "key", "prompt": "{question}"},
        ),
        (["Sentence", "Label"], {"kind": "text-classification", "text": "Sentence", "label": "Label"}),
        (["text"], {"kind": "language-modelling", "text": "text"}),
        (["image:image", "label"], {"kind": "image-classification", "image": "image", "label": "label"}),
    ],
)
def test_usual_columns_make_a_valid_task(columns: list[str], expected: dict[str, str]) -> None:
    filled = fill_form(EMPTY, dataset(*columns))
    assert {name: filled[name] for name in expected} == expected
    assert (filled["name"], filled["source.path"]) == ("my-data-v2", "uploads/My_data.v2")
    spec, problems = validate(filled)
    assert problems == {}
    assert spec is not None
    assert spec.source.path == "uploads/My_data.v2"


@pytest.mark.parametrize(
    ("splits", "probe", "test"),
    [
        ({"all": 4}, ("all", 50), ("all", 50)),
        ({"train": 4}, ("train", 50), ("train", 50)),
        ({"train": 4, "test": 4}, ("train", 20), ("test", 100)),
        ({"test": 4, "train": 4, "validation": 4}, ("train", 20), ("test", 100)),
        ({"train": 4, "validation": 4}, ("train", 20), ("validation", 100)),
        ({"test": 4, "validation": 4}, ("test", 20), ("validation", 100)),
    ],
)
def test_splits_become_parts_that_share_no_example(
    splits: dict[str, int], probe: tuple[str, int], test: tuple[str, int]
) -> None:
    filled = fill_form(EMPTY, dataset("question", "answer", splits=splits))
    assert (filled["probe.split"], filled["probe.share"]) == probe
    assert (filled["test.split"], filled["test.share"]) == test
    assert validate(filled)[1] == {}


def test_what_fits_the_data_stays_and_what_does_not_is_left_to_the_user() -> None:
    own = EMPTY | {
        "name": "own",
        "kind": "multiple-choice",
        "prompt": "Q: {q}\n{choices}",
        "key": "k",
        "choices": "a\nb",
    }
    filled = fill_form(own, dataset("q", "k"))
    assert {name: filled[name] for name in ("name", "kind", "prompt", "key", "choices")} == {
        name: own[name] for name in ("name", "kind", "prompt", "key", "choices")
    }
    unusual = fill_form(EMPTY, dataset("x", "y"))
    assert (unusual["prompt"], unusual["answer"]) == ("", "")
    assert "prompt" in validate(unusual)[1]
