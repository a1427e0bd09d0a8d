"""Generation tasks: the model writes an answer, and a rule extracts it from the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

import torch
from torch import Tensor

from modelshapley.contracts.task_files.descriptions import ExampleShown
from modelshapley.contracts.task_files.file import GenerationTask
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.passes.greedy import greedy, never_complete
from modelshapley.models.passes.prefix_tree import (
    Continuation,
    ContinuationScores,
    log_likelihoods,
    score_continuations,
)
from modelshapley.tasks.answers import AnswerRule, get_rule
from modelshapley.tasks.data import BadRow, Row
from modelshapley.tasks.kinds.choices import get_question, needed_columns
from modelshapley.tasks.kinds.data_task import DataTask, fill_template
from modelshapley.tasks.language import text
from modelshapley.tasks.language.encoded import Encoded

COMPLETION_TAIL = (
    48  # last tokens in which the end of an answer is searched for; an answer with its announcement is shorter
)


@dataclass(frozen=True)
class Question:
    """A question with its full reference answer; `expected` is what the rule extracts from it.

    tokens: the answer in token numbers; empty where the tokenizer is to split it.
    """

    prompt: str
    answer: str
    expected: str
    label: str | None
    where: str
    tokens: tuple[int, ...] = ()


class Generation(DataTask[Question, GenerationTask]):
    """Loss: mean negative log-likelihood of the reference answer's tokens, nats, each given those before it.

    Right: what the rule finds in the greedily generated text equals what it finds in the reference. By rule 'tokens'
    nothing is generated: right is that each token of the reference is the likeliest at its place (LAMBADA).
    """

    probe_batch = 16
    test_chunk = 32
    answer_tokens = 2**15  # a step generates one token of each: reading the weights takes the time, not the texts

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._by_tokens = self.spec.rule == "tokens"
        self.rule: AnswerRule = get_rule("exact" if self._by_tokens else self.spec.rule, self.spec.pattern)
        self._encoded: Encoded[Question, tuple[list[int], Continuation]] = Encoded(self._encode)

    def columns(self) -> list[str]:
        columns = needed_columns(self.spec, self.spec.answer)
        return columns if self.spec.answer_tokens is None else [*columns, self.spec.answer_tokens]

    def example(self, row: Row, where: str) -> Question:
        prompt, _, right = get_question(self.spec, row)
        letter = None if right is None else ascii_uppercase[right]
        answer = fill_template(self.spec.answer, row, lambda name: letter if name == "letter" else None)
        expected = self.rule.find(answer)
        if expected is None:
            raise BadRow(f"rule {self.spec.rule!r} finds no answer in the reference")
        return Question(prompt, answer, expected, self.label_of(row), where, self._tokens_of(row))

    def _tokens_of(self, row: Row) -> tuple[int, ...]:
        """Return the answer's token numbers in a row. Raises BadRow."""
        if self.spec.answer_tokens is None:
            return ()
        values: Any = row.get(self.spec.answer_tokens)
        if not isinstance(values, list) or not values or any(type(v) is not int or v < 0 for v in values):
            raise BadRow(f"column {self.spec.answer_tokens!r} holds no list of token numbers")
        return tuple(values)

    def fit(self, loaded: LoadedModel, example: Question) -> None:
        prompt, whole = self._encoded.of(loaded, example)
        text.check_length(loaded, max(len(whole.tokens), len(prompt) + 1))

    def size(self, loaded: LoadedModel, example: Question) -> int:
        return len(self.continuation(loaded, example).tokens)

    def check(self, loaded: LoadedModel) -> None:
        super().check(loaded)
        text.check_tokenizer(self.spec.name, loaded)

    def display(self, loaded: LoadedModel | None, example: Question) -> ExampleShown:
        return ExampleShown(
            row=example.where,
            tokens=text.display_tokens(loaded, self.continuation(loaded, example)) if loaded else [],
            text=f"{example.prompt}\n\n{example.answer}",
            right=example.expected,
            label=example.label,
        )

    def continuation(self, loaded: LoadedModel, example: Question) -> Continuation:
        """Return the prompt with the reference answer."""
        return self._encoded.of(loaded, example)[1]

    def prompt(self, loaded: LoadedModel, example: Question) -> list[int]:
        """Return the tokens of the prompt alone, for the model to continue."""
        return self._encoded.of(loaded, example)[0]

    def losses(self, loaded: LoadedModel, examples: Sequence[Question]) -> Tensor:
        return -log_likelihoods(loaded, [[self.continuation(loaded, example)] for example in examples])

    def teacher_forced(self, loaded: LoadedModel, examples: Sequence[Question]) -> ContinuationScores:
        return score_continuations(loaded, [[self.continuation(loaded, example)] for example in examples], guess=True)

    def correct(self, loaded: LoadedModel, examples: Sequence[Question]) -> Tensor:
        if self._by_tokens:
            scores = self.teacher_forced(loaded, examples)
            assert scores.right is not None
            return torch.eq(scores.right, scores.count).cpu()
        texts = self.generate(loaded, examples)
        hits = [self.rule.find(text) == e.expected for text, e in zip(texts, examples, strict=True)]
        return torch.tensor(hits)

    def predicted_text(self, loaded: LoadedModel, examples: Sequence[Question]) -> list[str]:
        """Return the whole generated texts."""
        return self.generate(loaded, examples)

    def generate(self, loaded: LoadedModel, examples: Sequence[Question]) -> list[str]:
        """Generate texts greedily, with at most `max_new_tokens` or until the context is full.

        A text ends with the model's own end of text or where its answer is complete, so that the rule sees only the
        first of several answers.
        """
        prompts = [self.prompt(loaded, example) for example in examples]
        context_length = text.context_length(loaded)
        limits = [min(self.spec.max_new_tokens, (context_length or text.UNBOUNDED) - len(prompt)) for prompt in prompts]
        if self._by_tokens:
            wholes = [self.continuation(loaded, example) for example in examples]
            limits = [min(limit, len(whole.tokens) - whole.start) for limit, whole in zip(limits, wholes, strict=True)]

        def complete(rows: list[list[int]]) -> list[bool]:
            return [self.rule.complete(end) for end in text.decode(loaded, [ids[-COMPLETION_TAIL:] for ids in rows])]

        generated = greedy(loaded, prompts, limits, complete if self.rule.stops else never_complete)
        return text.decode(loaded, generated, skip_special=True)

    def _encode(self, loaded: LoadedModel, example: Question) -> tuple[list[int], Continuation]:
        prompt = text.render_prompt(loaded, self.spec.system, example.prompt, self.spec.chat)
        before = text.tokenize_prompt(loaded, prompt)
        if example.tokens:
            return before, Continuation((*before, *text.check_ids(loaded, list(example.tokens))), len(before))
        return before, text.tokenize_answer(loaded, prompt, example.answer)
