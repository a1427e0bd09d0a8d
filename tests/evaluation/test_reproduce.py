"""The paper's experiment at small scale: its figures are those of zeroed weights, and of plain statistics."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import ttest_rel
from torch.nn import functional

from modelshapley import load_task
from modelshapley.contracts.task_files.file import parse
from modelshapley.errors import ModelShapleyError
from modelshapley.evaluation.accuracy import evaluate
from modelshapley.evaluation.reproduce import BASELINE_METHOD, INTACT, markdown, paired_p, reproduce_deactivation
from modelshapley.methods import load_method
from modelshapley.models.loaded import LoadedModel
from modelshapley.scoring.job import Scoring, score
from modelshapley.tasks import TaskCatalog
from modelshapley.tasks.base import Split
from modelshapley.units import Deactivation, UnitKind, extreme_units
from tests.support.command_line import run

EXCERPTS = Path(__file__).parents[1] / "data"
DIGITS = load_task("digits")


def test_the_least_important_neurons_go_and_the_rest_is_measured_as_with_zeroed_weights(
    digits_vit: LoadedModel,
) -> None:
    found = reproduce_deactivation(digits_vit, DIGITS, ["random", "mean-abs"], limit=64)
    assert [line.method for line in found.lines] == [INTACT, "random", "mean-abs"]
    assert (found.units_off, found.units, found.scored_examples, found.tested_examples) == (48, 160, 64, 64)
    (scores,) = score(Scoring(digits_vit, DIGITS, [load_method("mean-abs")], [UnitKind.NEURON], 64)).values()
    off = extreme_units(scores.scores[UnitKind.NEURON], UnitKind.NEURON, "least", 0.30)
    model = copy.deepcopy(digits_vit.model)
    for layer, neuron in off.of_kind(UnitKind.NEURON):
        model.vit.layers[layer].mlp.fc2.weight.data[:, neuron] = 0
    examples = DIGITS.examples(Split.TEST)[:64]
    with torch.no_grad():
        logits = model(torch.stack([digit.pixels for digit in examples])).logits
    labels = torch.tensor([digit.label for digit in examples])
    line = found.lines[2].evaluation
    np.testing.assert_allclose(
        line.losses, functional.cross_entropy(logits, labels, reduction="none").numpy(), atol=1e-5, rtol=1e-4
    )
    np.testing.assert_array_equal(line.outcomes, (logits.argmax(-1) == labels).numpy())


def test_the_table_says_what_was_found(digits_vit: LoadedModel) -> None:
    found = reproduce_deactivation(digits_vit, DIGITS, ["random", "mean-abs"], limit=32, fraction=0.5)
    table = markdown(found, "modelshapley reproduce deactivation ...")
    rows = {line.split("|")[1].strip(" `"): line for line in table.splitlines() if line.startswith("| ")}
    assert set(rows) == {"method", INTACT, "random", "mean-abs"}
    for line in found.lines:
        assert f"| {100 * line.evaluation.outcomes.mean():.1f} [" in rows[line.method]
        assert f"| {line.evaluation.losses.mean():.3f} ±" in rows[line.method]
    assert "80 of 160 neurons (50 %)" in table
    assert f"p against {BASELINE_METHOD}" in rows["method"]


def test_paired_p_is_that_of_the_exact_test_and_of_student() -> None:
    before = np.array([True] * 12 + [False] * 8)
    now = before.copy()
    now[:6] = False  # six lost, none gained: two-sided 2 / 2^6
    assert paired_p(now, before) == pytest.approx(2 / 2**6)
    assert paired_p(before, before) == 1.0
    rng = np.random.default_rng(0)
    a, b = rng.random(30), rng.random(30)
    assert paired_p(a, b) == pytest.approx(ttest_rel(a, b).pvalue)
    assert paired_p(a, a) == 1.0


def test_written_answers_and_teacher_forced_tokens_on_a_language_model(smollm2: LoadedModel) -> None:
    spec = TaskCatalog([EXCERPTS]).file("gsm8k")
    assert spec is not None
    task = TaskCatalog([EXCERPTS]).open(spec.model_copy(update={"max_new_tokens": 8}))
    examples = task.select(smollm2, Split.TEST, 0, 3)
    seen: list[int] = []
    found = evaluate(smollm2, task, Deactivation(), examples, answers=2, on_progress=seen.append)
    assert (len(found.losses), len(found.outcomes), seen[-1]) == (3, 2, 5)
    assert found.token_shares is not None
    for place, example in enumerate(examples):
        continuation = task.continuation(smollm2, example)  # type: ignore[attr-defined]
        ids = torch.tensor([continuation.tokens])
        with torch.no_grad():
            logits = smollm2.model(ids).logits[0, continuation.start - 1 : -1].log_softmax(-1)
        wanted = ids[0, continuation.start :]
        assert found.losses[place] == pytest.approx(-logits[range(len(wanted)), wanted].mean().item(), abs=1e-3)
        assert found.token_shares[place] == pytest.approx((logits.argmax(-1) == wanted).float().mean().item())
        assert found.tokens[place] == len(wanted)
    mean = (found.losses * found.tokens).sum() / found.tokens.sum()
    assert found.perplexity == pytest.approx(np.exp(mean))


def test_on_the_command_line_it_writes_its_table(tmp_path: Path) -> None:
    answer = run(
        *["reproduce", "deactivation", "--model", "demo:digits-vit", "--task", "digits", "--limit", "16"],
        *["--out", "table.md", "--method", "random", "--method", "two-sided"],
        cwd=tmp_path,
    )
    assert answer.returncode == 0, answer.stderr
    table = (tmp_path / "table.md").read_text()
    assert "    modelshapley reproduce deactivation --model demo:digits-vit --task digits --limit 16" in table
    assert "| `two-sided` |" in table
    assert table in answer.stdout


def test_a_part_with_nothing_in_it_is_said_not_measured(tmp_path: Path, digits_vit: LoadedModel) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    spec = parse(
        {
            "kind": "image-classification",
            "name": "empty",
            "source": {"path": "empty.jsonl"},
            "probe": {"split": "all", "share": 0.5},
            "test": {"split": "all", "share": 0.5},
        },
        "here",
    )
    with pytest.raises(ModelShapleyError, match="'all' of task 'empty' is empty"):
        reproduce_deactivation(digits_vit, TaskCatalog([tmp_path]).open(spec), ["random"])
