"""Rules that extract the answer from generated text. Torch-free."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

import regex

PATTERN_TIMEOUT_S = 1.0  # a user's pattern may backtrack without end, and must not keep a worker busy
NUMBER = r"-?\$?\s?-?(?:\d[\d,]*(?:\.\d+)?|\.\d+)"
LETTER = r"[Aa]nswer is:?\s*\(?([A-Z])\b\)?"


@dataclass(frozen=True)
class AnswerRule:
    """A rule that finds an answer in a text and tells when it is complete.

    pattern: group 1 of its last match is the answer; None: the whole text is. ended: matches at the end of a text
    whose answer is complete, so that generation may stop there; None: only the model's own end of text stops it.
    plain: brings an answer into the form in which answers are compared.
    """

    pattern: str | None
    ended: str | None
    plain: Callable[[str], str] = str.strip

    def find(self, text: str) -> str | None:
        """Return the answer, in the form in which answers are compared; None where there is none."""
        if self.pattern is None:
            return self.plain(text) or None
        try:
            matches = list(regex.finditer(self.pattern, text, timeout=PATTERN_TIMEOUT_S))
        except TimeoutError:
            return None
        return self.plain(matches[-1].group(1)) if matches and matches[-1].group(1) else None

    def complete(self, text: str) -> bool:
        """Return whether the answer in `text` is complete, so that later text cannot belong to it."""
        return self.ended is not None and re.search(self.ended, text) is not None


def number(text: str) -> str:
    """Normalise a number: no commas, no dollar sign, no trailing zeros. Other text stays as it is."""
    digits = "".join(text.replace(",", "").replace("$", "").split()).rstrip(".")
    try:
        plain = format(Decimal(digits), "f")
    except InvalidOperation:
        return digits
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return "0" if plain in ("-0", "-", "") else plain


RULES = {
    # Paper, section 5: the last "#### number", commas and $ stripped.
    "gsm8k": AnswerRule(rf"####\s*({NUMBER})", rf"####\s*{NUMBER}(?:[^\d,.$]|\.\D)", number),
    # Paper, section 5: "answer is (X)".
    "mmlu": AnswerRule(LETTER, r"[Aa]nswer is:?\s*(\([A-Z]\)|[A-Z]\W)"),
    "number": AnswerRule(rf"({NUMBER})", None, number),
    "exact": AnswerRule(None, None),
}


def get_rule(name: str, pattern: str | None = None) -> AnswerRule:
    """Return a rule by its name in a task file; `pattern` is used by 'regex' only."""
    return AnswerRule(pattern, None) if name == "regex" else RULES[name]
