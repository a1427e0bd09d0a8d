"""The same accuracy as lm-evaluation-harness, question by question, on tasks in its formats with a real model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split
from modelshapley.tasks.catalog import TaskCatalog
from modelshapley.tasks.lm_eval import import_task
from tests.support.harness_tasks import KINDS, QUESTIONS, with_paths, write_data


@pytest.mark.slow  # a real model answers the same questions twice
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", KINDS)
def test_each_answer_is_counted_as_the_harness_counts_it(
    name: str, smollm2: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm_eval = pytest.importorskip("lm_eval", reason="`make test-all` installs the extra lm-eval")
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    task = write_data(name, tmp_path)
    made: Any = TaskCatalog([tmp_path]).open(import_task(yaml.safe_dump(task), name).spec)
    made.check(smollm2)
    with torch.inference_mode():
        ours = made.correct(smollm2, made.examples(Split.TEST)).bool().tolist()

    model = HFLM(pretrained=smollm2.model, tokenizer=smollm2.tokenizer, batch_size=1)
    task = with_paths(task, tmp_path, f"{name}_theirs")
    manager = TaskManager(include_defaults=False)
    found = lm_eval.simple_evaluate(model, tasks=[task], task_manager=manager, log_samples=True, bootstrap_iters=0)
    metric = "exact_match" if name == "sums" else "acc"
    samples = sorted(found["samples"][task["task"]], key=lambda sample: sample["doc_id"])
    theirs = [bool(sample[metric]) for sample in samples]
    by_row = {
        int(e.where.rpartition(" ")[2]) - 1: right for e, right in zip(made.examples(Split.TEST), ours, strict=True)
    }
    assert [by_row[number] for number in range(QUESTIONS[name])] == theirs
    assert 0 < sum(theirs) < len(theirs), "equal only where there is something to tell apart"
