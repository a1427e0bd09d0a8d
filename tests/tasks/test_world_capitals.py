"""The world-capitals task on the real demo language model."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import torch

from modelshapley import load_task
from modelshapley.errors import TaskMismatch
from modelshapley.evaluation.trials import all_answers
from modelshapley.models.catalog import ASSETS
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks import TASKS
from modelshapley.tasks.base import Split
from modelshapley.tasks.builtin.world_capitals import questions
from modelshapley.units import Deactivation
from tests.support.toys import VIT, tiny

TASK = load_task("world-capitals")


def test_every_question_has_four_capitals_of_one_continent_and_one_answer() -> None:
    rows = json.loads((ASSETS / "capitals.json").read_text())["countries"]
    own = {row["country"]: row["capital"] for row in rows}
    continent = {row["capital"]: row["continent"] for row in rows}
    assert len(questions()) == len(rows) == 158
    for question in questions():
        assert question.choices[question.answer] == own[question.country]
        assert len(set(question.choices)) == 4
        assert {continent[choice] for choice in question.choices} == {question.continent}
    answers = Counter(question.answer for question in questions())
    assert all(count > 20 for count in answers.values()), answers


@pytest.mark.parametrize("seed", [0, 7])
def test_probe_and_test_are_disjoint_complete_and_stratified(seed: int) -> None:
    probe, test = TASK.examples(Split.PROBE, seed), TASK.examples(Split.TEST, seed)
    assert (len(probe), len(test)) == (
        TASKS["world-capitals"].probe_examples,
        TASKS["world-capitals"].test_examples,
    )
    assert not {q.country for q in probe} & {q.country for q in test}
    whole = Counter(question.continent for question in questions())
    part = Counter(question.continent for question in probe)
    for continent, count in whole.items():
        assert abs(part[continent] - count * len(probe) / len(questions())) <= 1
    assert TASK.examples(Split.PROBE, seed) == probe
    assert TASK.examples(Split.PROBE, seed + 1) != probe


def one_by_one(loaded: LoadedModel, prompt: str, ending: str) -> float:
    """Mean token log-likelihood, the slow and plain way: one sequence, all logits."""
    assert loaded.tokenizer is not None
    start = len(loaded.tokenizer(prompt)["input_ids"])
    ids = torch.tensor(loaded.tokenizer(f"{prompt} {ending}")["input_ids"])
    with torch.no_grad():
        log_probabilities: torch.Tensor = loaded.model(ids[None]).logits[0].log_softmax(-1)
    tokens = range(start, len(ids))
    return sum(log_probabilities[t - 1, ids[t]].item() for t in tokens) / len(tokens)


def test_losses_and_answers_equal_the_slow_way_and_do_not_depend_on_the_batch(smollm2: LoadedModel) -> None:
    examples = TASK.examples(Split.PROBE)[:8]
    losses, correct = TASK.losses(smollm2, examples), TASK.correct(smollm2, examples)
    for i, question in enumerate(examples):
        scores = [one_by_one(smollm2, question.prompt, choice) for choice in question.choices]
        assert losses[i].item() == pytest.approx(-scores[question.answer], abs=1e-3)
        assert bool(correct[i]) == (max(scores) == scores[question.answer])
        torch.testing.assert_close(TASK.losses(smollm2, [question])[0], losses[i], atol=1e-4, rtol=1e-4)


def test_the_demo_model_knows_most_capitals(smollm2: LoadedModel) -> None:
    accuracy = all_answers(smollm2, TASK, Deactivation(), seed=1).mean()
    assert 0.7 < accuracy < 0.98


def test_an_image_model_is_refused() -> None:
    with pytest.raises(TaskMismatch, match="needs a causal language model"):
        TASK.check(tiny(VIT))
