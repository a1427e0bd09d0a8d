"""Questions that the model answers in writing; a rule finds the answer in what it wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

import torch
from torch import Tensor

from modelshapley.contracts.task_file import GenerationTask
from modelshapley.contracts.tasks import ExampleShown
from modelshapley.models.loading import LoadedModel
from modelshapley.tasks.answers import AnswerRule, rule_named
from modelshapley.tasks.data import BadRow, Row
from modelshapley.tasks.kinds.choices import needed_columns, question_of
from modelshapley.tasks.kinds.data_task import DataTask, filled
from modelshapley.tasks.language import text
from modelshapley.tasks.language.encoded import Encoded
from modelshapley.tasks.language.greedy import greedy
from modelshapley.tasks.language.prefix_tree import Scored, Sequel, log_likelihoods, scored

TAIL = 48  # tokens in which an answer's end is looked for; an answer and what announces it are shorter


@dataclass(frozen=True)
class Asked:
    """A question, the reference answer in full, and what the rule finds in it."""

    prompt: str
    answer: str
    wanted: str
    label: str | None
    where: str


class Generation(DataTask[Asked, GenerationTask]):
    """Loss: mean negative log-likelihood of the reference answer's tokens, nats, the answer so far being given.

    Right: what the rule finds in the model's own text, written greedily, equals what it finds in the reference.
    """

    probe_batch = 16
    test_chunk = 32
    answer_tokens = 2**15  # a step writes one token of each: it is the weights that take time, not the texts

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.rule: AnswerRule = rule_named(self.spec.rule, self.spec.pattern)
        self._encoded: Encoded[Asked, tuple[list[int], Sequel]] = Encoded(self._encode)

    def columns(self) -> list[str]:
        return needed_columns(self.spec, self.spec.answer)

    def example(self, row: Row, where: str) -> Asked:
        prompt, _, right = question_of(self.spec, row)
        letter = None if right is None else ascii_uppercase[right]
        answer = filled(self.spec.answer, row, lambda name: letter if name == "letter" else None)
        wanted = self.rule.find(answer)
        if wanted is None:
            raise BadRow(f"rule {self.spec.rule!r} finds no answer in the reference")
        return Asked(prompt, answer, wanted, self.label_of(row), where)

    def fit(self, loaded: LoadedModel, example: Asked) -> None:
        prompt, sequel = self._encoded.of(loaded, example)
        text.check_length(loaded, max(len(sequel.tokens), len(prompt) + 1))

    def size(self, loaded: LoadedModel, example: Asked) -> int:
        return len(self.sequel(loaded, example).tokens)

    def check(self, loaded: LoadedModel) -> None:
        super().check(loaded)
        text.check_tokenizer(self.spec.name, loaded)

    def shown(self, loaded: LoadedModel | None, example: Asked) -> ExampleShown:
        return ExampleShown(
            row=example.where,
            tokens=text.pieces(loaded, self.sequel(loaded, example)) if loaded else [],
            text=f"{example.prompt}\n\n{example.answer}",
            right=example.wanted,
            label=example.label,
        )

    def sequel(self, loaded: LoadedModel, example: Asked) -> Sequel:
        """The prompt with the reference answer."""
        return self._encoded.of(loaded, example)[1]

    def prompt(self, loaded: LoadedModel, example: Asked) -> list[int]:
        """The prompt alone, as the model writes behind it."""
        return self._encoded.of(loaded, example)[0]

    def losses(self, loaded: LoadedModel, examples: Sequence[Asked]) -> Tensor:
        return -log_likelihoods(loaded, [[self.sequel(loaded, example)] for example in examples])

    def teacher_forced(self, loaded: LoadedModel, examples: Sequence[Asked]) -> Scored:
        return scored(loaded, [[self.sequel(loaded, example)] for example in examples], guess=True)

    def correct(self, loaded: LoadedModel, examples: Sequence[Asked]) -> Tensor:
        written = self.write(loaded, examples)
        found = [self.rule.find(words) == e.wanted for words, e in zip(written, examples, strict=True)]
        return torch.tensor(found)

    def predicted_text(self, loaded: LoadedModel, examples: Sequence[Asked]) -> list[str]:
        """What the model wrote, whole."""
        return self.write(loaded, examples)

    def write(self, loaded: LoadedModel, examples: Sequence[Asked]) -> list[str]:
        """What the model writes, greedily, at most `max_new_tokens` or until its context is full.

        A text ends with the model's own end of text or where its answer is complete, so that of several answers in
        one text the rule sees the first.
        """
        prompts = [self.prompt(loaded, example) for example in examples]
        room = text.context(loaded)
        most = [min(self.spec.max_new_tokens, (room or text.UNBOUNDED) - len(prompt)) for prompt in prompts]
        tokenizer: Any = loaded.tokenizer

        def complete(ids: list[int]) -> bool:
            return self.rule.ended is not None and self.rule.complete(tokenizer.decode(ids[-TAIL:]))

        written = greedy(loaded, prompts, most, complete)
        texts: list[str] = tokenizer.batch_decode(written, skip_special_tokens=True)
        return texts

    def _encode(self, loaded: LoadedModel, example: Asked) -> tuple[list[int], Sequel]:
        before = text.asked(loaded, self.spec.system, example.prompt, self.spec.chat)
        return text.begun(loaded, before), text.answered(loaded, before, example.answer)
