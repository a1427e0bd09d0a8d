"""Answers written token by token, by the intact model and by the model with units off, both at the same time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from modelshapley.architectures.anatomy import Site
from modelshapley.contracts.prompts import Finish, PromptColumn, PromptSettings, PromptStep, PromptToken
from modelshapley.interventions.gates import Change, changed
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.passes.decoding import quick_attention
from modelshapley.models.passes.finite import require_finite
from modelshapley.models.passes.greedy import end_tokens
from modelshapley.models.passes.stepping import Growing, growing
from modelshapley.prompts.pieces import Pieces
from modelshapley.prompts.sampling import choose
from modelshapley.tasks.language import text

Changes = Sequence[tuple[Site, Change]]
NOTHING = PromptColumn()


@dataclass
class _Column:
    """One text being written. changes: what the model's units undergo in each of its passes."""

    changes: Changes
    growing: Growing
    pieces: Pieces | None
    tokens: list[PromptToken] = field(default_factory=list)
    finish: Finish | None = None

    def state(self) -> PromptColumn:
        return PromptColumn(tokens=self.tokens, finish=self.finish)


class Writing:
    """The answer to one prompt, in one column or two.

    prompt: its tokens, for which with `limit` more the model has room. changes: for the second column, from
    :func:`modelshapley.interventions.gates.changes_of`; None for one column only. written: columns that were written
    before; writing continues after them. Hooks are in place only during :meth:`step`, so that between two steps the
    model can be used for anything else.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        prompt: Sequence[int],
        limit: int,
        settings: PromptSettings,
        changes: Changes | None = None,
        written: Sequence[PromptColumn] = (),
    ) -> None:
        self._loaded, self._limit, self._settings = loaded, limit, settings
        self._longest, self._end = len(prompt) + limit, end_tokens(loaded)
        before = [*written, NOTHING, NOTHING]
        self._columns = [self._column((), prompt, before[0])]
        if changes is not None:
            self._columns.append(self._column(changes, prompt, before[1]))

    @property
    def finished(self) -> bool:
        """Whether every column has ended."""
        return all(column.finish is not None for column in self._columns)

    @property
    def intact(self) -> PromptColumn:
        """The column of the intact model, as far as it is written."""
        return self._columns[0].state()

    @property
    def changed(self) -> PromptColumn | None:
        """The column of the changed model, as far as it is written; None without changes."""
        return self._columns[1].state() if len(self._columns) > 1 else None

    def step(self) -> PromptStep:
        """Write the next token of each column that has not ended. Raises NotFinite, OutOfMemory."""
        own_attention = self._loaded.shortcuts.own_attention.covers(self._longest)
        with torch.inference_mode(), quick_attention(self._loaded.model) if own_attention else nullcontext():
            tokens = [self._write(column) if column.finish is None else None for column in self._columns]
        return PromptStep(intact=tokens[0], changed=tokens[1] if len(tokens) > 1 else None)

    def steps(self) -> Iterator[PromptStep]:
        """Yield step after step until every column has ended. Raises as :meth:`step` does."""
        while not self.finished:
            yield self.step()

    def _column(self, changes: Changes, prompt: Sequence[int], written: PromptColumn) -> _Column:
        ids = [token.id for token in written.tokens]
        decode = partial(text.decode, self._loaded, skip_special=True)
        pieces = Pieces(decode, [*prompt, *ids]) if self._loaded.tokenizer is not None else None
        texts = growing(self._loaded, [*prompt, *ids], self._longest)
        return _Column(changes, texts, pieces, list(written.tokens), written.finish)

    def _write(self, column: _Column) -> PromptToken:
        with changed(self._loaded.model, column.changes):
            logits: Any = column.growing.next_logits()[0].float()
        require_finite(self._loaded, logits, "A logit of a new token")
        number = choose(logits, self._settings.temperature, self._settings.seed, len(column.tokens))
        end = number in self._end
        piece = "" if end or column.pieces is None else column.pieces.add(number)
        token = PromptToken(id=number, text=piece, probability=float(logits.softmax(-1)[number]), end=end)
        column.tokens.append(token)
        if end or len(column.tokens) == self._limit:
            column.finish = "end" if end else "length"
        else:
            column.growing.append([number])
        return token
