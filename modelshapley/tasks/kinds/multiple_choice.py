"""Multiple-choice tasks: the answer is the choice that the model finds likeliest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

import torch
from torch import Tensor

from modelshapley.contracts.task_files.descriptions import ExampleShown
from modelshapley.contracts.task_files.file import MultipleChoiceTask
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.passes.prefix_tree import (
    Continuation,
    ContinuationScores,
    log_likelihoods,
    merged_size,
    score_continuations,
)
from modelshapley.tasks.data import Row
from modelshapley.tasks.kinds.choices import get_question, needed_columns
from modelshapley.tasks.kinds.data_task import DataTask
from modelshapley.tasks.language import text
from modelshapley.tasks.language.encoded import Encoded


@dataclass(frozen=True)
class Question:
    """A question. endings: text appended to the prompt for each of `choices`. right: number of the right choice."""

    prompt: str
    choices: tuple[str, ...]
    endings: tuple[str, ...]
    right: int
    label: str | None
    where: str


class MultipleChoice(DataTask[Question, MultipleChoiceTask]):
    """Loss: mean negative log-likelihood of the tokens of the right choice, nats.

    Right: the right choice has the highest score, the first among equals. A score is the mean or the sum of the
    log-likelihoods of a choice's tokens, or that of its letter.
    """

    probe_batch = 16
    test_chunk = 32
    single_pass = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._encoded: Encoded[Question, tuple[list[Continuation], int]] = Encoded(self._encode)

    def columns(self) -> list[str]:
        return needed_columns(self.spec)

    def example(self, row: Row, where: str) -> Question:
        prompt, choices, right = get_question(self.spec, row)
        assert right is not None
        endings = list(ascii_uppercase[: len(choices)]) if self.spec.score == "letter" else choices
        return Question(prompt, tuple(choices), tuple(endings), right, self.label_of(row), where)

    def fit(self, loaded: LoadedModel, example: Question) -> None:
        text.check_length(loaded, max(len(whole.tokens) for whole in self.continuations(loaded, example)))

    def size(self, loaded: LoadedModel, example: Question) -> int:
        return self._encoded.of(loaded, example)[1]

    def check(self, loaded: LoadedModel) -> None:
        super().check(loaded)
        text.check_tokenizer(self.spec.name, loaded)

    def display(self, loaded: LoadedModel | None, example: Question) -> ExampleShown:
        return ExampleShown(
            row=example.where,
            tokens=text.display_tokens(loaded, self.continuations(loaded, example)[example.right]) if loaded else [],
            text=example.prompt,
            choices=list(example.choices),
            right=example.choices[example.right],
            label=example.label,
        )

    def continuations(self, loaded: LoadedModel, example: Question) -> list[Continuation]:
        """Return the prompt with each ending."""
        return self._encoded.of(loaded, example)[0]

    def losses(self, loaded: LoadedModel, examples: Sequence[Question]) -> Tensor:
        return -log_likelihoods(loaded, [[self.continuations(loaded, e)[e.right]] for e in examples])

    def correct(self, loaded: LoadedModel, examples: Sequence[Question]) -> Tensor:
        return self._predict(loaded, examples) == torch.tensor([e.right for e in examples])

    def predicted_text(self, loaded: LoadedModel, examples: Sequence[Question]) -> list[str]:
        predicted = self._predict(loaded, examples).tolist()
        return [example.choices[number] for example, number in zip(examples, predicted, strict=True)]

    def _predict(self, loaded: LoadedModel, examples: Sequence[Question]) -> Tensor:
        rows = [self.continuations(loaded, example) for example in examples]
        return likeliest(score_continuations(loaded, rows), rows, self.spec.score == "sum")

    def _encode(self, loaded: LoadedModel, example: Question) -> tuple[list[Continuation], int]:
        """Return the continuations and their joint number of tokens, which every trial needs."""
        prompt = text.render_prompt(loaded, self.spec.system, example.prompt, self.spec.chat)
        continuations = [text.tokenize_answer(loaded, prompt, ending) for ending in example.endings]
        return continuations, merged_size(continuations)


def likeliest(scores: ContinuationScores, rows: Sequence[Sequence[Continuation]], by_sum: bool = False) -> Tensor:
    """Return the continuation of each row with the highest score, the first among equals: int (rows,) on the CPU."""
    values = (scores.log_likelihood if by_sum else scores.mean).cpu()
    by_row = torch.split(values, [len(row) for row in rows])
    return torch.tensor([int(row_scores.argmax()) for row_scores in by_row])
