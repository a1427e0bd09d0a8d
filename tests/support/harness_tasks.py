"""Tasks in the formats of lm-evaluation-harness, with data that a small real model answers in part."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

FILES = Path(__file__).parents[1] / "data" / "lm_eval"
CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Germany": "Berlin",
    "Austria": "Vienna",
    "Hungary": "Budapest",
    "Poland": "Warsaw",
    "Portugal": "Lisbon",
    "Norway": "Oslo",
    "Egypt": "Cairo",
    "Kenya": "Nairobi",
    "Nepal": "Kathmandu",
    "Peru": "Lima",
    "Chile": "Santiago",
    "Ghana": "Accra",
    "Bhutan": "Thimphu",
}
Row = dict[str, Any]


def choices(number: int, country: str) -> Row:
    """A question with four capitals, the right one at a place that changes."""
    names = list(CAPITALS.values())
    options = [names[(number + step) % len(names)] for step in (3, 5, 7)]
    options.insert(number % 4, CAPITALS[country])
    return {"question": f"What is the capital of {country}?", "options": options, "label": number % 4}


def last_word(number: int, country: str) -> Row:
    return {"text": f"People who live in {country} know that their capital is", "word": CAPITALS[country]}


def small_sum(number: int, _: str) -> Row:
    one, other = number % 5 + 1, number // 2 + 2
    worked = "Question: What is 2 + 3?\nAnswer: 2 plus 3 is 5. #### 5\n\n" * 2
    return {"question": f"{worked}Question: What is {one} + {other}?\nAnswer:", "answer": f"#### {one + other}"}


KINDS: dict[str, tuple[str, Callable[[int, str], Row]]] = {
    "arc_like": ("arc", choices),
    "last_word": ("words", last_word),
    "sums": ("sums", small_sum),
}
"""The folder of the data of each task, and what makes its rows."""
QUESTIONS = {"arc_like": 16, "last_word": 16, "sums": 8}  # written answers take longest


def write_data(name: str, root: Path) -> dict[str, Any]:
    """Write the data of a task below `root`, and return the task with paths relative to it."""
    folder, row = KINDS[name]
    task: dict[str, Any] = yaml.safe_load((FILES / f"{name}.yaml").read_text())
    if name == "sums":  # with worked examples in front, else this small model writes no ####
        task |= {"doc_to_text": "{{question}}", "training_split": "train", "test_split": "test"}
        task |= {"dataset_kwargs": {"data_files": {"train": "sums/train.jsonl", "test": "sums/test.jsonl"}}}
        task |= {"generation_kwargs": task["generation_kwargs"] | {"max_gen_toks": 18}}
        del task["validation_split"]
    rows = [row(number, country) for number, country in enumerate(CAPITALS)][: QUESTIONS[name]]
    for split in ("train", "test"):
        (root / folder).mkdir(exist_ok=True)
        (root / folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return task


def with_paths(task: dict[str, Any], root: Path, name: str) -> dict[str, Any]:
    """The task as the harness needs it: with absolute paths, and a name of its own."""
    files = task["dataset_kwargs"]["data_files"]
    paths = {"data_files": {split: str(root / file) for split, file in files.items()}}
    return task | {"task": name, "dataset_kwargs": paths}
