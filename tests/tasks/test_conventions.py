"""Where the data say what they mean, they decide; where they do not, the user is asked. Nothing is guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from modelshapley.errors import BadData, TaskMismatch
from modelshapley.tasks.base import Split
from modelshapley.tasks.kinds.image_classification import to_eight_bits
from tests.support.task_data import jsonl, task
from tests.tasks.test_kinds import image_model

PARTS = {"probe": {"split": "all", "share": 0.5}, "test": {"split": "all", "share": 0.5}}
CHOICES = {
    "kind": "multiple-choice",
    "prompt": "{q}",
    "choices_column": "choices",
    "source": {"path": "a.jsonl"},
    **PARTS,
}
FOOD = ["ice", "rock", "leaf", "fire"]


def right(root: Path, rows: list[dict[str, Any]], **fields: Any) -> dict[str, str]:
    """{question: its right choice} as the task reads it."""
    jsonl(root / "a.jsonl", rows)
    made = task(root, {**CHOICES, **fields})
    return {e.prompt: e.choices[e.right] for split in Split for e in made.examples(split)}


@pytest.mark.parametrize("labels", [["1", "2", "3", "4"], [1, 2, 3, 4], ["A", "B", "C", "D"], ["d", "c", "b", "a"]])
@pytest.mark.parametrize("name", ["label", "labels"])
def test_the_key_is_the_label_of_a_choice_where_choices_have_labels(
    tmp_path: Path, labels: list[Any], name: str
) -> None:
    rows = [
        {"q": f"{label}?", "choices": {"text": FOOD, name: labels}, "answer": label}
        for label in labels
        for _ in range(2)
    ]
    rows = [{**row, "q": f"{row['q']}{number}"} for number, row in enumerate(rows)]
    read = right(tmp_path, rows)
    assert read == {row["q"]: FOOD[labels.index(row["answer"])] for row in rows}


def test_a_row_whose_labels_and_choices_do_not_meet_is_named(tmp_path: Path) -> None:
    for labels, key, message in (
        (["1", "2"], "1", "4 choices and 2 labels"),
        (["1", "1", "2", "3"], "1", "the same label"),
        (["1", "2", "3", "4"], "0", "their labels are 1, 2, 3, 4"),
    ):
        with pytest.raises(BadData, match=message):
            right(tmp_path, [{"q": "?", "choices": {"text": FOOD, "label": labels}, "answer": key}] * 2)


def test_numbers_that_count_from_one_are_refused_also_where_bad_rows_are_skipped(tmp_path: Path) -> None:
    rows = [{"q": f"{i}?", "choices": FOOD, "answer": str(i)} for i in (1, 2, 3, 4)]
    with pytest.raises(BadData, match=r"choice_labels: \['1', '2', '3', '4'\]"):
        right(tmp_path, rows, on_bad="skip")
    read = right(tmp_path, rows, choice_labels=["1", "2", "3", "4"])
    assert read == {"1?": "ice", "2?": "rock", "3?": "leaf", "4?": "fire"}


def pictures(root: Path, classes: list[str]) -> dict[str, Any]:
    for name in classes:
        for number in range(4):
            (root / "train" / name).mkdir(parents=True, exist_ok=True)
            PIL.Image.new("RGB", (8, 8), (number, 0, 0)).save(root / "train" / name / f"{number}.png")
    part = {"split": "train", "share": 0.5}
    return {"kind": "image-classification", "source": {"path": "."}, "probe": part, "test": part}


def test_texts_and_a_model_that_only_numbers_its_classes_are_not_matched_by_the_alphabet(tmp_path: Path) -> None:
    loaded = image_model(id2label={i: f"LABEL_{i}" for i in range(3)}, num_labels=3)
    fields = pictures(tmp_path, ["cat", "ant", "bee"])
    with pytest.raises(TaskMismatch, match="do not say which number is which") as refused:
        task(tmp_path, fields).check(loaded)
    assert "ant, bee, cat" in str(refused.value)
    assert "LABEL_0, LABEL_1, LABEL_2" in str(refused.value)
    made = task(tmp_path, {**fields, "labels": ["cat", "bee", "ant"]})
    made.check(loaded)
    example = next(e for e in made.examples(Split.PROBE) if e.label == "cat")
    assert made._true_classes(loaded, [example], made.logits(loaded, [example])).tolist() == [0]
    task(tmp_path, {**fields, "match": "index"}).check(loaded)


@pytest.mark.parametrize(
    "mapping", [{"ant": "LABEL_1", "bee": "label 2", "cat": "LABEL_0"}, {"cat": 0, "ant": 1, "bee": 2}]
)
def test_classes_are_mapped_as_the_task_says(tmp_path: Path, mapping: dict[str, str | int]) -> None:
    loaded = image_model(id2label={i: f"LABEL_{i}" for i in range(3)}, num_labels=3)
    made = task(tmp_path, {**pictures(tmp_path, ["cat", "ant", "bee"]), "labels": mapping})
    made.check(loaded)
    by_name = {example.label: example for example in made.examples(Split.PROBE)}
    numbers = {
        name: made._true_classes(loaded, [example], made.logits(loaded, [example])).item()
        for name, example in by_name.items()
    }
    assert numbers.items() <= {"cat": 0, "ant": 1, "bee": 2}.items()
    assert numbers


def test_a_mapping_to_a_class_that_the_model_lacks_or_without_a_class_of_the_data_is_refused(tmp_path: Path) -> None:
    loaded = image_model(id2label={i: f"LABEL_{i}" for i in range(3)}, num_labels=3)
    fields = pictures(tmp_path, ["cat", "ant", "bee"])
    with pytest.raises(TaskMismatch, match=r"`labels` maps 'bee' to 'wasp', unknown to the model"):
        task(tmp_path, {**fields, "labels": {"ant": 0, "bee": "wasp", "cat": 1}}).check(loaded)
    made = task(tmp_path, {**fields, "labels": {"ant": 0, "cat": 1}})
    with pytest.raises(BadData, match=r"class 'bee' is not among the 2 classes"):
        _ = [made.examples(split) for split in Split]


def test_names_decide_over_numbers_where_both_sides_have_them(tmp_path: Path) -> None:
    loaded = image_model(id2label={0: "2", 1: "0", 2: "1"}, num_labels=3)
    made = task(tmp_path, pictures(tmp_path, ["0", "1", "2"]))
    example = next(e for e in made.examples(Split.PROBE) if e.label == "2")
    assert made._true_classes(loaded, [example], made.logits(loaded, [example])).tolist() == [0]


def test_a_picture_is_turned_as_its_file_says(tmp_path: Path) -> None:
    fields = pictures(tmp_path, ["ant", "bee"])
    plain = PIL.Image.fromarray(np.arange(16 * 32 * 3, dtype=np.uint32).reshape(16, 32, 3).astype(np.uint8))
    turned = PIL.Image.Exif()
    turned[0x0112] = 6
    plain.save(tmp_path / "train" / "ant" / "turned.png", exif=turned)
    made = task(tmp_path, fields)
    (picture,) = [e for split in Split for e in made.examples(split) if "turned" in e.where]
    assert (np.asarray(picture.open()) == np.asarray(plain.rotate(-90, expand=True))).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_more_than_eight_bits_become_eight(dtype: Any) -> None:
    values = np.linspace(0, 1 if dtype is np.float32 else 65535, 512).reshape(16, 32).astype(dtype)
    eight = np.asarray(to_eight_bits(PIL.Image.fromarray(values))).astype(float)
    assert np.abs(eight - values * (255.0 if dtype is np.float32 else 1 / 257)).max() <= 1


def test_a_picture_whose_range_nobody_knows_is_refused(tmp_path: Path) -> None:
    fields = pictures(tmp_path, ["ant", "bee"])
    PIL.Image.fromarray(np.full((8, 8), 300, np.float32)).save(tmp_path / "train" / "ant" / "float.tif")
    made = task(tmp_path, fields)
    (picture,) = [e for split in Split for e in made.examples(split) if "float" in e.where]
    with pytest.raises(Exception, match="values from 300 to 300"):
        picture.open()


def test_hidden_folders_are_neither_classes_nor_examples(tmp_path: Path) -> None:
    fields = pictures(tmp_path, ["ant", "bee", ".ipynb_checkpoints", "bee/.thumbnails"])
    made = task(tmp_path, fields)
    assert list(made.classes) == ["ant", "bee"]
    assert not [e.where for split in Split for e in made.examples(split) if "/." in f"/{e.where}"]


QUESTIONS = {"kind": "generation", "prompt": "{q}", **PARTS}


@pytest.mark.parametrize("text", ['q,answer\n1,"a\n2,b\n3,"c\n4,d\n', 'q,answer\n1,a\n2,"b\n3,c\n'])
def test_a_stray_quote_does_not_swallow_rows(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(BadData, match=r"a\.csv cannot be read as CSV"):
        task(tmp_path, {**QUESTIONS, "source": {"path": "a.csv"}}).examples(Split.PROBE)


def test_not_a_number_is_no_text(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", ['{"q": "x", "answer": NaN}', '{"q": "y", "answer": "1"}'] * 4)
    with pytest.raises(BadData, match="NaN is no JSON"):
        task(tmp_path, {**QUESTIONS, "source": {"path": "a.jsonl"}}).examples(Split.PROBE)
    (tmp_path / "b.json").write_text('[{"q": "x", "answer": Infinity}]')
    with pytest.raises(BadData, match="Infinity is no JSON"):
        task(tmp_path, {**QUESTIONS, "source": {"path": "b.json"}}).examples(Split.PROBE)
