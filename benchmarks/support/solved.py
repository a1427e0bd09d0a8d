"""Solved problems of GSM8K as plain text, from the tests' excerpt (MIT): text for language models to learn and read."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from modelshapley.contracts.task_files.file import parse
from modelshapley.tasks import TaskCatalog
from modelshapley.tasks.base import Split, Task

GSM8K = Path("tests/data/gsm8k")


def solved_problems(count: int) -> Task[Any]:
    """Return language modelling of `count` texts to calibrate or train with, and as many others to measure on."""
    with tempfile.TemporaryDirectory() as folder:
        for split in ("train", "test"):
            lines = [json.dumps({"text": text}) for text in texts_of(split, count)]
            (Path(folder) / "solved").mkdir(exist_ok=True)
            (Path(folder) / "solved" / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        spec = {"kind": "language-modelling", "name": "solved", "source": {"path": "solved"}, "window": 512}
        parts = {"probe": {"split": "train", "share": 1}, "test": {"split": "test", "share": 1}}
        task = TaskCatalog([Path(folder)]).open(parse(spec | parts, "solved"))
        for part in Split:
            task.examples(part)
        return task


def texts_of(split: str, count: int) -> list[str]:
    rows = [json.loads(line) for line in (GSM8K / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]
    return [f"{row['question']}\n{row['answer']}" for row in rows[:count]]
