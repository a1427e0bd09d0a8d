"""Rules that find the answer in what a model has written. Torch-free."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

import regex

PATIENCE_S = 1.0  # a pattern of a user's may not keep a worker busy
NUMBER = r"-?\$?\s?-?(?:\d[\d,]*(?:\.\d+)?|\.\d+)"
LETTER = r"[Aa]nswer is:?\s*\(?([A-Z])\b\)?"


@dataclass(frozen=True)
class AnswerRule:
    """How an answer is found, and when it is there.

    pattern: its last match's group 1 is the answer; None: the whole text is. ended: matches at the end of a text
    whose answer is complete, so that writing may stop there; None: only the model's own end is one.
    """

    pattern: str | None
    ended: str | None
    plain: Callable[[str], str] = str.strip

    def find(self, text: str) -> str | None:
        """The answer, in the form in which answers are compared; None where there is none."""
        if self.pattern is None:
            return self.plain(text) or None
        try:
            found = list(regex.finditer(self.pattern, text, timeout=PATIENCE_S))
        except TimeoutError:
            return None
        return self.plain(found[-1].group(1)) if found and found[-1].group(1) else None

    def complete(self, text: str) -> bool:
        """Whether nothing that is written behind `text` belongs to its answer any more."""
        return self.ended is not None and re.search(self.ended, text) is not None


def number(text: str) -> str:
    """A number in its one spelling: no commas, no dollar sign, no trailing zeros. Other text as it is."""
    told = "".join(text.replace(",", "").replace("$", "").split()).rstrip(".")
    try:
        plain = format(Decimal(told), "f")
    except InvalidOperation:
        return told
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


def rule_named(name: str, pattern: str | None = None) -> AnswerRule:
    """A rule by its name in a task file; `pattern` is that of 'regex'."""
    return AnswerRule(pattern, None) if name == "regex" else RULES[name]
