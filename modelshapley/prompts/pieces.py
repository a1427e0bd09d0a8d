"""The text that each new token adds, although a token by itself need not be text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

CONTEXT = 8  # tokens before a new one that can influence how it is written: a space, or parts of a character
INCOMPLETE = "\ufffd"


class Pieces:
    """Splits a text that grows by tokens into what each adds. before: the tokens that the text follows."""

    def __init__(self, tokenizer: Any, before: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._ids = list(before[-CONTEXT:])
        self._written = len(self._ids)  # tokens whose text has been handed out

    def add(self, token: int) -> str:
        """Return the text that a token completes: '' for special tokens, and for part of a character."""
        self._ids.append(token)
        earlier, text = self._decode(self._ids[: self._written]), self._decode(self._ids)
        if text.endswith(INCOMPLETE) and len(self._ids) - self._written < CONTEXT:
            return ""
        self._ids = self._ids[-CONTEXT:]
        self._written = len(self._ids)
        return text[len(earlier) :]

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text
