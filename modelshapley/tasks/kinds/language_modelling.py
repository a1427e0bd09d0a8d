"""Every token of a text from those before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from modelshapley.contracts.task_file import LanguageModellingTask
from modelshapley.contracts.tasks import ExampleShown
from modelshapley.errors import TaskMismatch
from modelshapley.models.loading import LoadedModel
from modelshapley.tasks.data import Bad, BadRow, Row
from modelshapley.tasks.kinds.data_task import DataTask, text_in
from modelshapley.tasks.language import text
from modelshapley.tasks.language.prefix_tree import Scored, Sequel, log_likelihoods, scored
from modelshapley.tasks.order import shuffled

SHOWN = 2000  # characters of a text


@dataclass(frozen=True)
class Passage:
    """A text; as a model is given it, a window of its tokens, of which all but the first count."""

    text: str
    label: str | None
    where: str
    tokens: tuple[int, ...] = ()

    @property
    def sequel(self) -> Sequel:
        return Sequel(self.tokens, 1)


class LanguageModelling(DataTask[Passage, LanguageModellingTask]):
    """Loss: mean negative log-likelihood of the tokens of a window, nats; its exponential is the perplexity.

    Right: the share of its tokens that were the likeliest at their place, 0 to 1: an example is not all right or
    all wrong here.
    """

    probe_batch = 16
    test_chunk = 32
    single_pass = True

    def columns(self) -> list[str]:
        return [self.spec.text]

    def example(self, row: Row, where: str) -> Passage:
        return Passage(text_in(row, self.spec.text), self.label_of(row), where)

    def fitting(self, loaded: LoadedModel, examples: Iterable[Passage], seed: int) -> Iterator[Passage | Bad]:
        """Windows of `window` tokens side by side, of all texts, in an order drawn by the seed."""
        windows: list[Passage | Bad] = []
        for passage in examples:
            try:
                windows += self._windows(loaded, passage)
            except BadRow as error:
                windows.append(Bad(passage.where, str(error)))
        yield from (windows[i] for i in shuffled(len(windows), seed))

    def size(self, loaded: LoadedModel, example: Passage) -> int:
        return len(example.tokens)

    def check(self, loaded: LoadedModel) -> None:
        super().check(loaded)
        text.check_tokenizer(self.spec.name, loaded)
        most = text.context(loaded)
        if most is not None and self.spec.window > most:
            raise TaskMismatch(
                f"Task {self.spec.name!r} has windows of {self.spec.window:,} tokens, but {loaded.id!r} can read "
                f"{most:,}; set `window: {most}`."
            )

    def shown(self, loaded: LoadedModel | None, example: Passage) -> ExampleShown:
        return ExampleShown(
            row=example.where,
            tokens=text.pieces(loaded, example.sequel) if loaded and example.tokens else [],
            text=example.text[:SHOWN],
            right="every token from those before it",
            label=example.label,
        )

    def losses(self, loaded: LoadedModel, examples: Sequence[Passage]) -> Tensor:
        return -log_likelihoods(loaded, [[example.sequel] for example in examples])

    def teacher_forced(self, loaded: LoadedModel, examples: Sequence[Passage]) -> Scored:
        return scored(loaded, [[example.sequel] for example in examples], guess=True)

    def correct(self, loaded: LoadedModel, examples: Sequence[Passage]) -> Tensor:
        found = self.teacher_forced(loaded, examples)
        assert found.right is not None
        return (found.right.double() / found.count).cpu()

    def _windows(self, loaded: LoadedModel, passage: Passage) -> list[Passage]:
        text.check_length(loaded, self.spec.window)
        tokens = text.tokens(loaded, passage.text)
        starts = range(0, len(tokens) - 1, self.spec.window)
        found = [tuple(tokens[start : start + self.spec.window]) for start in starts]
        if not found:
            raise BadRow("a single token, with nothing to tell it from")
        return [Passage(passage.text, passage.label, passage.where, window) for window in found]
