"""World capitals: the right one of four capitals of the same continent, by likelihood."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

from modelshapley.contracts.task_files.descriptions import ExampleShown
from modelshapley.errors import TaskMismatch
from modelshapley.models.catalog import ASSETS
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.passes.prefix_tree import Continuation, log_likelihoods, score_continuations
from modelshapley.tasks.base import Split, Task
from modelshapley.tasks.data import BadRow
from modelshapley.tasks.infos import WORLD_CAPITALS
from modelshapley.tasks.kinds.multiple_choice import likeliest
from modelshapley.tasks.language import text
from modelshapley.tasks.language.encoded import Encoded
from modelshapley.tasks.order import shuffled, stratified

CHOICES = 4
CHOICE_SEED = 0


@dataclass(frozen=True)
class Question:
    """A country and four capitals of its continent; `choices[answer]` is its own."""

    country: str
    continent: str
    choices: tuple[str, ...]
    answer: int

    @property
    def prompt(self) -> str:
        return f"The capital of {self.country} is"


@cache
def questions() -> list[Question]:
    """Return one question a country, the same in every run; a continent of fewer than four capitals has none."""
    rows = json.loads((ASSETS / "capitals.json").read_text(encoding="utf-8"))["countries"]
    rng = np.random.default_rng(CHOICE_SEED)
    kept = []
    for row in rows:
        others = [r["capital"] for r in rows if r["continent"] == row["continent"] and r is not row]
        if len(others) < CHOICES - 1:
            continue
        choices = [str(c) for c in rng.choice(others, CHOICES - 1, replace=False)]
        answer = int(rng.integers(CHOICES))
        choices.insert(answer, row["capital"])
        kept.append(Question(row["country"], row["continent"], tuple(choices), answer))
    return kept


class WorldCapitals(Task[Question]):
    """The task. Probe: 64 questions drawn by the seed, stratified by continent. Test: the others."""

    info = WORLD_CAPITALS
    probe_batch = 8
    test_chunk = 8
    single_pass = True

    def __init__(self) -> None:
        self._encoded: Encoded[Question, list[Continuation]] = Encoded(
            lambda loaded, question: [
                tokenize_continuation(loaded, question.prompt, choice) for choice in question.choices
            ]
        )

    def continuations(self, loaded: LoadedModel, question: Question) -> list[Continuation]:
        """Return the prompt with each capital as tokens. Raises TaskMismatch where tokens span both."""
        return self._encoded.of(loaded, question)

    def examples(self, split: Split, seed: int = 0) -> Sequence[Question]:
        all_questions = questions()
        probe, test = train_test_split(
            all_questions,
            train_size=self.info.probe_examples,
            random_state=seed,
            stratify=[question.continent for question in all_questions],
        )
        if split == Split.TEST:
            return [test[i] for i in shuffled(len(test), seed)]
        return [probe[i] for i in stratified([question.continent for question in probe], seed)]

    def losses(self, loaded: LoadedModel, examples: Sequence[Question]) -> Tensor:
        """Return the mean negative log-likelihood of the tokens of the right capital, nats."""
        return -log_likelihoods(loaded, [[self.continuations(loaded, q)[q.answer]] for q in examples])

    def correct(self, loaded: LoadedModel, examples: Sequence[Question]) -> Tensor:
        """Return whether no other choice has a mean token log-likelihood as high."""
        rows = [self.continuations(loaded, q) for q in examples]
        return likeliest(score_continuations(loaded, rows), rows) == torch.tensor([q.answer for q in examples])

    def predicted_text(self, loaded: LoadedModel, examples: Sequence[Question]) -> list[str]:
        rows = [self.continuations(loaded, q) for q in examples]
        predicted = likeliest(score_continuations(loaded, rows), rows).tolist()
        return [question.choices[number] for question, number in zip(examples, predicted, strict=True)]

    def display(self, loaded: LoadedModel | None, example: Question) -> ExampleShown:
        right = example.choices[example.answer]
        return ExampleShown(
            row=example.country,
            tokens=text.display_tokens(loaded, self.continuations(loaded, example)[example.answer]) if loaded else [],
            text=example.prompt,
            choices=list(example.choices),
            right=right,
            label=example.continent,
        )

    def class_of(self, example: Question) -> str:
        return example.continent

    def check(self, loaded: LoadedModel) -> None:
        super().check(loaded)
        text.check_tokenizer(self.info.id, loaded)

    def content(self) -> Any:
        return {
            "questions": [(q.prompt, q.choices, q.answer) for q in questions()],
            "right": "highest mean token log-likelihood",
            "loss": "mean token negative log-likelihood of the right choice",
            "split": ["stratified by continent", self.info.probe_examples],
        }


def tokenize_continuation(loaded: LoadedModel, prompt: str, ending: str) -> Continuation:
    """Encode prompt and ending, of which the ending's tokens count. Raises TaskMismatch where a token spans both."""
    prompt_ids = text.encode(loaded, prompt).ids
    whole = text.encode(loaded, f"{prompt} {ending}").ids
    if whole[: len(prompt_ids)] != prompt_ids or len(whole) == len(prompt_ids):
        raise TaskMismatch(f"The tokenizer of {loaded.id!r} does not keep {prompt!r} apart from {ending!r}.")
    try:
        return Continuation(text.check_ids(loaded, whole), len(prompt_ids))
    except BadRow as error:
        raise TaskMismatch(f"{loaded.id!r} cannot read {prompt!r}: {error}.") from None
