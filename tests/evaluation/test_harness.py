"""lm-evaluation-harness with units off counts as we do, and as it does on weights that are zero."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelshapley import extras
from modelshapley.cli.main import main
from modelshapley.errors import BadData, BadTask, TaskMismatch, UnknownName
from modelshapley.evaluation import harness
from modelshapley.evaluation.accuracy import evaluate
from modelshapley.interventions.weights import zeroed_weights
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split
from modelshapley.tasks.catalog import TaskCatalog
from modelshapley.tasks.lm_eval import import_task
from modelshapley.units import Deactivation, UnitKind
from tests.support.harness_tasks import FILES, QUESTIONS, with_paths, write_data

METRICS = {"arc_like": "acc", "sums": "exact_match"}
OFF = {"arc_like": ["head:3.7", "head:9.1", "head:20.4", "layer:24"], "sums": ["head:3.7", "head:9.1"]}
UNITS = {
    "arc_like": Deactivation.of({UnitKind.HEAD: [(3, 7), (9, 1), (20, 4)], UnitKind.LAYER: [24]}),
    "sums": Deactivation.of({UnitKind.HEAD: [(3, 7), (9, 1)]}),
}


def answers(results: dict[str, Any], task: str, metric: str) -> list[bool]:
    """Whether each question was answered correctly, by its number in the data."""
    samples = sorted(results["samples"][task], key=lambda sample: sample["doc_id"])
    return [bool(sample[metric]) for sample in samples]


@pytest.mark.slow  # a real model answers the same questions four times
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", METRICS)
def test_answers_with_units_off_are_ours_and_those_of_zeroed_weights(
    name: str,
    smollm2: LoadedModel,
    prepared_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lm_eval = pytest.importorskip("lm_eval", reason="`make test-all` installs the extra lm-eval")
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("modelshapley.cli.harness.load_model", lambda *_: smollm2)
    task, off = write_data(name, tmp_path), UNITS[name]
    file, out = tmp_path / "task.yaml", tmp_path / "out.json"
    file.write_text(yaml.safe_dump(with_paths(task, tmp_path, "by_command")))
    options = ["--out", str(out), *(option for unit in OFF[name] for option in ("--off", unit))]
    command = ["modelshapley", "lm-eval", "demo:smollm2-135m", "--tasks", str(file), "--data", str(prepared_data)]
    monkeypatch.setattr(sys, "argv", [*command, *options])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    with_off = answers(json.loads(out.read_text()), "by_command", METRICS[name])
    printed = capsys.readouterr().out
    assert f"demo:smollm2-135m, {off.describe()} off" in printed
    assert f"{sum(with_off) / QUESTIONS[name]:.4g}" in printed

    made: Any = TaskCatalog([tmp_path]).open(import_task(yaml.safe_dump(task), name).spec)
    examples = made.examples(Split.TEST)
    ours = evaluate(smollm2, made, off, examples).outcomes
    numbers = [int(example.where.rpartition(" ")[2]) - 1 for example in examples]
    assert [bool(right) for _, right in sorted(zip(numbers, ours, strict=True))] == with_off

    folder = tmp_path / "zeroed"
    with zeroed_weights(smollm2.model, smollm2.anatomy, off):
        smollm2.model.save_pretrained(folder)
    smollm2.tokenizer.save_pretrained(folder)
    plain = HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=1)
    manager, by_weights = TaskManager(include_defaults=False), with_paths(task, tmp_path, "by_weights")
    theirs = lm_eval.simple_evaluate(
        plain, tasks=[by_weights], task_manager=manager, log_samples=True, bootstrap_iters=0
    )
    assert answers(theirs, "by_weights", METRICS[name]) == with_off

    intact = harness.evaluate(smollm2, [str(file)])
    assert answers(intact, "by_command", METRICS[name]) != with_off
    assert 0 < sum(with_off) < len(with_off), "equal only where there is something to tell apart"


@pytest.mark.slow  # the harness reads the index of all its tasks
def test_what_the_harness_cannot_do_is_said(smollm2: LoadedModel, digits_vit: LoadedModel, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval", reason="`make test-all` installs the extra lm-eval")
    with pytest.raises(TaskMismatch, match="classifies images"):
        harness.evaluate(digits_vit, ["arc_easy"])
    with pytest.raises(UnknownName, match=r"'arc_esay'"):
        harness.evaluate(smollm2, ["arc_esay"])
    with pytest.raises(BadTask, match="no such file"):
        harness.evaluate(smollm2, ["missing.yaml"])
    file = tmp_path / "task.yaml"
    for text in ("task: [", "nothing: here", "- a list"):
        file.write_text(text)
        with pytest.raises(BadTask, match="lm-evaluation-harness stops with"):
            harness.evaluate(smollm2, [str(file)])
    task = yaml.safe_load((FILES / "arc_like.yaml").read_text())
    file.write_text(yaml.safe_dump(with_paths(task, tmp_path, "without_data")))
    with pytest.raises(BadData, match="cannot be read"):
        harness.evaluate(smollm2, [str(file)])


def test_without_the_harness_its_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extras, "is_installed", lambda *_: False)
    monkeypatch.setattr(sys, "argv", ["modelshapley", "lm-eval", "demo:digits-vit", "--tasks", "arc_easy"])
    with pytest.raises(SystemExit):
        main()
    assert "pip install 'modelshapley[lm-eval]'" in capsys.readouterr().err
