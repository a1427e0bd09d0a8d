"""Counterfactual pairs: a clean and a corrupted prompt, and the difference between the right and the wrong logit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from modelshapley.contracts.task_files.descriptions import ExampleShown
from modelshapley.contracts.task_files.file import CounterfactualTask, placeholders
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.passes.prefix_tree import Continuation, next_logits
from modelshapley.tasks.data import BadRow, Row
from modelshapley.tasks.kinds.data_task import DataTask, fill_template
from modelshapley.tasks.language import text
from modelshapley.tasks.language.encoded import Encoded


@dataclass(frozen=True)
class Pair:
    """A pair of prompts. answer: what follows the clean one; wrong: what follows the corrupted one."""

    prompt: str
    corrupted: str
    answer: str
    wrong: str
    label: str | None
    where: str


@dataclass(frozen=True)
class Tokens:
    """A prompt as tokens, and the first token of either answer."""

    prompt: tuple[int, ...]
    answer: int
    wrong: int


class Counterfactual(DataTask[Pair, CounterfactualTask]):
    """Loss: minus the difference of the logits of the first tokens of the right and the wrong answer, after the prompt.

    This is the difference of their negative log-likelihoods, in nats, and negative where the model prefers the right
    answer. Right: it does.
    """

    probe_batch = 16
    test_chunk = 32
    single_pass = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._encoded: Encoded[Pair, Tokens] = Encoded(_encode)

    def columns(self) -> list[str]:
        templates = (self.spec.prompt, self.spec.corrupted, self.spec.answer, self.spec.wrong)
        return list(dict.fromkeys(name for template in templates for name in placeholders(template)))

    def example(self, row: Row, where: str) -> Pair:
        prompt, corrupted, answer, wrong = (
            fill_template(template, row)
            for template in (self.spec.prompt, self.spec.corrupted, self.spec.answer, self.spec.wrong)
        )
        if prompt == corrupted:
            raise BadRow("the clean and the corrupted prompt are the same")
        return Pair(prompt, corrupted, answer, wrong, self.label_of(row), where)

    def fit(self, loaded: LoadedModel, example: Pair) -> None:
        clean, corrupted = self._encoded.of(loaded, example), self._encoded.of(loaded, _swapped(example))
        text.check_length(loaded, len(clean.prompt))
        if len(clean.prompt) != len(corrupted.prompt):
            raise BadRow(
                f"the clean prompt has {len(clean.prompt)} tokens and the corrupted one {len(corrupted.prompt)}; "
                "units are patched position by position, so both need as many"
            )

    def size(self, loaded: LoadedModel, example: Pair) -> int:
        return len(self._encoded.of(loaded, example).prompt)

    def check(self, loaded: LoadedModel) -> None:
        super().check(loaded)
        text.check_tokenizer(self.spec.name, loaded)

    def corrupted(self, examples: Sequence[Pair]) -> Sequence[Pair]:
        """Return the examples with their prompts exchanged; what counts as right stays."""
        return [_swapped(example) for example in examples]

    def losses(self, loaded: LoadedModel, examples: Sequence[Pair]) -> Tensor:
        tokens = [self._encoded.of(loaded, example) for example in examples]
        logits = next_logits(loaded, [one.prompt for one in tokens])
        return torch.stack([row[one.wrong] - row[one.answer] for row, one in zip(logits, tokens, strict=True)])

    def correct(self, loaded: LoadedModel, examples: Sequence[Pair]) -> Tensor:
        return (self.losses(loaded, examples) < 0).cpu()

    def predicted_text(self, loaded: LoadedModel, examples: Sequence[Pair]) -> list[str]:
        right = self.correct(loaded, examples).tolist()
        return [pair.answer if is_right else pair.wrong for pair, is_right in zip(examples, right, strict=True)]

    def display(self, loaded: LoadedModel | None, example: Pair) -> ExampleShown:
        tokens = self._encoded.of(loaded, example).prompt if loaded else ()
        return ExampleShown(
            row=example.where,
            tokens=text.display_tokens(loaded, Continuation(tokens, len(tokens) - 1)) if loaded else [],
            text=f"{example.prompt}\n\nCorrupted: {example.corrupted}",
            choices=[example.answer, example.wrong],
            right=example.answer,
            label=example.label,
        )


def _swapped(example: Pair) -> Pair:
    return replace(example, prompt=example.corrupted, corrupted=example.prompt)


def _encode(loaded: LoadedModel, example: Pair) -> Tokens:
    """Raises BadRow where the answers are not told apart by their first tokens, or these depend on what follows."""
    rendered = (example.prompt, False)
    right, wrong = (text.tokenize_answer(loaded, rendered, answer) for answer in (example.answer, example.wrong))
    prompts = {tuple(one.tokens[: one.start]) for one in (right, wrong)}
    first, other = right.tokens[right.start], wrong.tokens[wrong.start]
    if len(prompts) > 1:
        raise BadRow("the tokens of the prompt depend on the answer after it")
    if first == other:
        raise BadRow(f"{example.answer!r} and {example.wrong!r} begin with the same token")
    return Tokens(prompts.pop(), first, other)
