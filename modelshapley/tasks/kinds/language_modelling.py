"""Language modelling: every token of a text is predicted from those before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from modelshapley.contracts.task_files.descriptions import ExampleShown
from modelshapley.contracts.task_files.file import LanguageModellingTask
from modelshapley.errors import TaskMismatch
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.passes.prefix_tree import (
    Continuation,
    ContinuationScores,
    log_likelihoods,
    score_continuations,
)
from modelshapley.tasks.data import BadRow, RejectedRow, Row
from modelshapley.tasks.kinds.data_task import DataTask, text_of
from modelshapley.tasks.language import text
from modelshapley.tasks.order import shuffled

MAX_SHOWN_CHARACTERS = 2000  # of a text, in a display of it


@dataclass(frozen=True)
class Passage:
    """A text or, once a model is known, a window of its tokens, of which all but the first count."""

    text: str
    label: str | None
    where: str
    tokens: tuple[int, ...] = ()

    @property
    def continuation(self) -> Continuation:
        return Continuation(self.tokens, 1)


class LanguageModelling(DataTask[Passage, LanguageModellingTask]):
    """Loss: mean negative log-likelihood of the tokens of a window, nats; its exponential is the perplexity.

    Right: the share of its tokens that were the likeliest at their place, 0 to 1, since an example is rarely all right
    or all wrong.
    """

    probe_batch = 16
    test_chunk = 32
    single_pass = True

    def columns(self) -> list[str]:
        return [self.spec.text]

    def example(self, row: Row, where: str) -> Passage:
        return Passage(text_of(row, self.spec.text), self.label_of(row), where)

    def fit_all(self, loaded: LoadedModel, examples: Iterable[Passage], seed: int) -> Iterator[Passage | RejectedRow]:
        """Cut all texts into adjacent windows of `window` tokens, and yield these in an order drawn by the seed."""
        windows: list[Passage | RejectedRow] = []
        for passage in examples:
            try:
                windows += self._windows(loaded, passage)
            except BadRow as error:
                windows.append(RejectedRow(passage.where, str(error)))
        yield from (windows[i] for i in shuffled(len(windows), seed))

    def size(self, loaded: LoadedModel, example: Passage) -> int:
        return len(example.tokens)

    def check(self, loaded: LoadedModel) -> None:
        super().check(loaded)
        text.check_tokenizer(self.spec.name, loaded)
        limit = text.context_length(loaded)
        if limit is not None and self.spec.window > limit:
            raise TaskMismatch(
                f"Task {self.spec.name!r} has windows of {self.spec.window:,} tokens, but {loaded.id!r} can read "
                f"{limit:,}; set `window: {limit}`."
            )

    def display(self, loaded: LoadedModel | None, example: Passage) -> ExampleShown:
        return ExampleShown(
            row=example.where,
            tokens=text.display_tokens(loaded, example.continuation) if loaded and example.tokens else [],
            text=example.text[:MAX_SHOWN_CHARACTERS],
            right="every token from those before it",
            label=example.label,
        )

    def losses(self, loaded: LoadedModel, examples: Sequence[Passage]) -> Tensor:
        return -log_likelihoods(loaded, [[example.continuation] for example in examples])

    def teacher_forced(self, loaded: LoadedModel, examples: Sequence[Passage]) -> ContinuationScores:
        return score_continuations(loaded, [[example.continuation] for example in examples], guess=True)

    def correct(self, loaded: LoadedModel, examples: Sequence[Passage]) -> Tensor:
        scores = self.teacher_forced(loaded, examples)
        assert scores.right is not None
        return (scores.right.double() / scores.count).cpu()

    def _windows(self, loaded: LoadedModel, passage: Passage) -> list[Passage]:
        text.check_length(loaded, self.spec.window)
        tokens = text.tokenize(loaded, passage.text)
        starts = range(0, len(tokens) - 1, self.spec.window)
        windows = [tuple(tokens[start : start + self.spec.window]) for start in starts]
        if not windows:
            raise BadRow("a single token, with nothing before it to predict it from")
        return [Passage(passage.text, passage.label, passage.where, window) for window in windows]
