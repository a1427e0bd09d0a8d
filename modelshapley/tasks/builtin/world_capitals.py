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

from modelshapley.contracts.tasks import ExampleShown
from modelshapley.errors import TaskMismatch
from modelshapley.models.catalog import ASSETS
from modelshapley.models.loading import LoadedModel
from modelshapley.tasks.base import Split, Task
from modelshapley.tasks.infos import WORLD_CAPITALS
from modelshapley.tasks.kinds.multiple_choice import likeliest
from modelshapley.tasks.language import text
from modelshapley.tasks.language.encoded import Encoded
from modelshapley.tasks.language.prefix_tree import Sequel, log_likelihoods, scored
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
    """One question a country, the same in every run. A continent of fewer than four capitals would have none."""
    rows = json.loads((ASSETS / "capitals.json").read_text(encoding="utf-8"))["countries"]
    rng = np.random.default_rng(CHOICE_SEED)
    found = []
    for row in rows:
        others = [r["capital"] for r in rows if r["continent"] == row["continent"] and r is not row]
        if len(others) < CHOICES - 1:
            continue
        choices = [str(c) for c in rng.choice(others, CHOICES - 1, replace=False)]
        answer = int(rng.integers(CHOICES))
        choices.insert(answer, row["capital"])
        found.append(Question(row["country"], row["continent"], tuple(choices), answer))
    return found


class WorldCapitals(Task[Question]):
    """Probe: 64 questions drawn by the seed, stratified by continent. Test: the others."""

    info = WORLD_CAPITALS
    probe_batch = 8
    test_chunk = 8
    single_pass = True

    def __init__(self) -> None:
        self._encoded: Encoded[Question, list[Sequel]] = Encoded(
            lambda loaded, question: [sequel(loaded, question.prompt, choice) for choice in question.choices]
        )

    def sequels(self, loaded: LoadedModel, question: Question) -> list[Sequel]:
        """The prompt with each capital as tokens. Raises TaskMismatch where these run together."""
        return self._encoded.of(loaded, question)

    def examples(self, split: Split, seed: int = 0) -> Sequence[Question]:
        everything = questions()
        probe, test = train_test_split(
            everything,
            train_size=self.info.probe_examples,
            random_state=seed,
            stratify=[question.continent for question in everything],
        )
        if split == Split.TEST:
            return [test[i] for i in shuffled(len(test), seed)]
        return [probe[i] for i in stratified([question.continent for question in probe], seed)]

    def losses(self, loaded: LoadedModel, examples: Sequence[Question]) -> Tensor:
        """Mean negative log-likelihood of the tokens of the right capital, nats."""
        return -log_likelihoods(loaded, [[self.sequels(loaded, q)[q.answer]] for q in examples])

    def correct(self, loaded: LoadedModel, examples: Sequence[Question]) -> Tensor:
        """Right: no other choice has a mean token log-likelihood as high."""
        rows = [self.sequels(loaded, q) for q in examples]
        return likeliest(scored(loaded, rows), rows) == torch.tensor([q.answer for q in examples])

    def predicted_text(self, loaded: LoadedModel, examples: Sequence[Question]) -> list[str]:
        rows = [self.sequels(loaded, q) for q in examples]
        found = likeliest(scored(loaded, rows), rows).tolist()
        return [question.choices[number] for question, number in zip(examples, found, strict=True)]

    def shown(self, loaded: LoadedModel | None, example: Question) -> ExampleShown:
        right = example.choices[example.answer]
        return ExampleShown(
            row=example.country,
            tokens=text.pieces(loaded, self.sequels(loaded, example)[example.answer]) if loaded else [],
            text=example.prompt,
            choices=list(example.choices),
            right=right,
            label=example.continent,
        )

    def class_of(self, example: Question) -> str:
        return example.continent

    def check(self, loaded: LoadedModel) -> None:
        super().check(loaded)
        if loaded.tokenizer is None:
            raise TaskMismatch(f"Task {self.info.id!r} needs a tokenizer, but {loaded.id!r} has none.")

    def content(self) -> Any:
        return {
            "questions": [(q.prompt, q.choices, q.answer) for q in questions()],
            "right": "highest mean token log-likelihood",
            "loss": "mean token negative log-likelihood of the right choice",
            "split": ["stratified by continent", self.info.probe_examples],
        }


def sequel(loaded: LoadedModel, prompt: str, ending: str) -> Sequel:
    """Prompt and ending as tokens, of which the ending's count. Raises TaskMismatch where they run together."""
    assert loaded.tokenizer is not None
    start = loaded.tokenizer(prompt)["input_ids"]
    whole = loaded.tokenizer(f"{prompt} {ending}")["input_ids"]
    if whole[: len(start)] != start or len(whole) == len(start):
        raise TaskMismatch(f"The tokenizer of {loaded.id!r} does not keep {prompt!r} apart from {ending!r}.")
    return Sequel(whole, len(start))
