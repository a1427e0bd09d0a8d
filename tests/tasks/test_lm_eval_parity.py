"""The same accuracy as lm-evaluation-harness, question by question, on tasks in its formats with a real model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split
from modelshapley.tasks.catalog import TaskCatalog
from modelshapley.tasks.lm_eval import import_task

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


@pytest.mark.slow  # a real model answers the same 16 questions twice
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "folder", "row"),
    [("arc_like", "arc", choices), ("last_word", "words", last_word), ("sums", "sums", small_sum)],
)
def test_each_answer_is_counted_as_the_harness_counts_it(
    name: str,
    folder: str,
    row: Callable[[int, str], Row],
    smollm2: LoadedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lm_eval = pytest.importorskip("lm_eval", reason="`make test-all` installs the extra lm-eval")
    from lm_eval.models.huggingface import HFLM

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    task = yaml.safe_load((FILES / f"{name}.yaml").read_text())
    if name == "sums":  # with worked examples in front, else this small model writes no ####
        task |= {"doc_to_text": "{{question}}", "training_split": "train", "test_split": "test"}
        task |= {"dataset_kwargs": {"data_files": {"train": "sums/train.jsonl", "test": "sums/test.jsonl"}}}
        task |= {"generation_kwargs": task["generation_kwargs"] | {"max_gen_toks": 24}}
        del task["validation_split"]
    rows = [row(number, country) for number, country in enumerate(CAPITALS)]
    for split in ("train", "test"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    made: Any = TaskCatalog([tmp_path]).open(import_task(yaml.safe_dump(task), name).spec)
    made.check(smollm2)
    with torch.inference_mode():
        ours = made.correct(smollm2, made.examples(Split.TEST)).bool().tolist()

    files = task["dataset_kwargs"]["data_files"]
    task["dataset_kwargs"] = {"data_files": {split: str(tmp_path / file) for split, file in files.items()}}
    task["task"] = f"{name}_theirs"
    model = HFLM(pretrained=smollm2.model, tokenizer=smollm2.tokenizer, batch_size=1)
    found = lm_eval.simple_evaluate(model, tasks=[task], log_samples=True, bootstrap_iters=0)
    metric = "exact_match" if name == "sums" else "acc"
    samples = sorted(found["samples"][task["task"]], key=lambda sample: sample["doc_id"])
    theirs = [bool(sample[metric]) for sample in samples]
    by_row = {
        int(e.where.rpartition(" ")[2]) - 1: right for e, right in zip(made.examples(Split.TEST), ours, strict=True)
    }
    assert [by_row[number] for number in range(len(rows))] == theirs
    assert 0 < sum(theirs) < len(theirs), "equal only where there is something to tell apart"
