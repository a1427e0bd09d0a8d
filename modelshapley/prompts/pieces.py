"""The text that each new token adds, although a token by itself need not be text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

CONTEXT = 8  # tokens before a new one that can influence how it is written: a space, or parts of a character
INCOMPLETE = "\ufffd"


class Pieces:
    """Splits a text that grows by tokens into what each adds.

    decode: texts of rows of tokens, without special ones. before: the tokens that the text follows.
    """

    def __init__(self, decode: Callable[[list[list[int]]], list[str]], before: Sequence[int]) -> None:
        self._decode = decode
        self._ids = list(before[-CONTEXT:])
        self._written = len(self._ids)  # tokens whose text has been handed out

    def add(self, token: int) -> str:
        """Return the text that a token completes: '' for special tokens, and for part of a character."""
        self._ids.append(token)
        earlier, text = self._decode([self._ids[: self._written], self._ids])
        if text.endswith(INCOMPLETE) and len(self._ids) - self._written < CONTEXT:
            return ""
        self._ids = self._ids[-CONTEXT:]
        self._written = len(self._ids)
        return text[len(earlier) :]
