"""Questions with choices, answered by likelihood: the choice that the model deems likeliest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

import torch
from torch import Tensor

from modelshapley.contracts.task_file import MultipleChoiceTask
from modelshapley.contracts.tasks import ExampleShown
from modelshapley.models.loading import LoadedModel
from modelshapley.tasks.data import Row
from modelshapley.tasks.kinds.choices import needed_columns, question_of
from modelshapley.tasks.kinds.data_task import DataTask
from modelshapley.tasks.language import text
from modelshapley.tasks.language.encoded import Encoded
from modelshapley.tasks.language.prefix_tree import Scored, Sequel, joint_size, log_likelihoods, scored


@dataclass(frozen=True)
class Choice:
    """A question. endings: what is put behind the prompt for each of `choices`. right: the right one's number."""

    prompt: str
    choices: tuple[str, ...]
    endings: tuple[str, ...]
    right: int
    label: str | None
    where: str


class MultipleChoice(DataTask[Choice, MultipleChoiceTask]):
    """Loss: mean negative log-likelihood of the tokens of the right choice, nats.

    Right: the right choice has the highest score, of equals the first. A score is the mean or the sum of the
    log-likelihoods of a choice's tokens, or that of its letter.
    """

    probe_batch = 16
    test_chunk = 32
    single_pass = True

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._encoded: Encoded[Choice, tuple[list[Sequel], int]] = Encoded(self._encode)

    def columns(self) -> list[str]:
        return needed_columns(self.spec)

    def example(self, row: Row, where: str) -> Choice:
        prompt, choices, right = question_of(self.spec, row)
        assert right is not None
        endings = list(ascii_uppercase[: len(choices)]) if self.spec.score == "letter" else choices
        return Choice(prompt, tuple(choices), tuple(endings), right, self.label_of(row), where)

    def fit(self, loaded: LoadedModel, example: Choice) -> None:
        text.check_length(loaded, max(len(sequel.tokens) for sequel in self.sequels(loaded, example)))

    def size(self, loaded: LoadedModel, example: Choice) -> int:
        return self._encoded.of(loaded, example)[1]

    def check(self, loaded: LoadedModel) -> None:
        super().check(loaded)
        text.check_tokenizer(self.spec.name, loaded)

    def shown(self, loaded: LoadedModel | None, example: Choice) -> ExampleShown:
        return ExampleShown(
            row=example.where,
            tokens=text.pieces(loaded, self.sequels(loaded, example)[example.right]) if loaded else [],
            text=example.prompt,
            choices=list(example.choices),
            right=example.choices[example.right],
            label=example.label,
        )

    def sequels(self, loaded: LoadedModel, example: Choice) -> list[Sequel]:
        """The prompt with each ending."""
        return self._encoded.of(loaded, example)[0]

    def losses(self, loaded: LoadedModel, examples: Sequence[Choice]) -> Tensor:
        return -log_likelihoods(loaded, [[self.sequels(loaded, e)[e.right]] for e in examples])

    def correct(self, loaded: LoadedModel, examples: Sequence[Choice]) -> Tensor:
        return self._chosen(loaded, examples) == torch.tensor([e.right for e in examples])

    def predicted_text(self, loaded: LoadedModel, examples: Sequence[Choice]) -> list[str]:
        chosen = self._chosen(loaded, examples).tolist()
        return [example.choices[number] for example, number in zip(examples, chosen, strict=True)]

    def _chosen(self, loaded: LoadedModel, examples: Sequence[Choice]) -> Tensor:
        rows = [self.sequels(loaded, example) for example in examples]
        return likeliest(scored(loaded, rows), rows, self.spec.score == "sum")

    def _encode(self, loaded: LoadedModel, example: Choice) -> tuple[list[Sequel], int]:
        """The sequels, and how many tokens they take together: every trial asks for it."""
        before = text.asked(loaded, self.spec.system, example.prompt, self.spec.chat)
        sequels = [text.answered(loaded, before, ending) for ending in example.endings]
        return sequels, joint_size(sequels)


def likeliest(found: Scored, rows: Sequence[Sequence[Sequel]], by_sum: bool = False) -> Tensor:
    """The sequel of each row that has the highest score, the first of equals: int (rows,) on the CPU."""
    scores = (found.log_likelihood if by_sum else found.mean).cpu()
    by_row = torch.split(scores, [len(row) for row in rows])
    return torch.tensor([int(one.argmax()) for one in by_row])
