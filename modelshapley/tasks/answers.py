"""Rules that extract the answer from generated text; docs/tasks.md, "Rules", specifies them. Torch-free."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod

import regex

from modelshapley.tasks.numbers import Number, number_at, numbers

PATTERN_TIMEOUT_S = 1.0  # a user's pattern may backtrack without end, and must not keep a worker busy


class AnswerRule(ABC):
    """A rule that finds an answer in a text and tells when it is complete.

    stops: whether an answer has an end that :meth:`complete` can tell; else only the model's own end of text stops it.
    """

    stops = False

    @abstractmethod
    def find(self, text: str) -> str | None:
        """Return the answer, in the form in which answers are compared; None where there is none."""

    def complete(self, text: str) -> bool:
        """Return whether the answer in `text` is complete, so that later text cannot belong to it."""
        return False


class MarkedNumber(AnswerRule):
    """The number behind the last "####" (paper, section 5; GSM8K's own form)."""

    stops = True
    _HEADING = re.compile(r"\.[ \t]+[^\W\d_]")  # "#### 1. Add them up" numbers a step
    _CONTINUES = re.compile(r"[ \t]*+(?:\Z|[\u00a0\u2009\u202f\d.,/\\{}^eExX×*·'’$+\-\u2212\u2013¼½¾⅐-⅞])")

    def find(self, text: str) -> str | None:
        marks = [match.end() for match in re.finditer("####", text)]
        last = next(filter(None, (self._answer(text, end) for end in reversed(marks))), None)
        return None if last is None else str(last)

    def complete(self, text: str) -> bool:
        answers = filter(None, (self._answer(text, match.end()) for match in re.finditer("####", text)))
        return any(
            text.find("\n", answer.end) >= 0 or not self._CONTINUES.match(text, answer.end) for answer in answers
        )

    def _answer(self, text: str, start: int) -> Number | None:
        answer = number_at(text, start)
        return None if answer is None or self._HEADING.match(text, answer.end) else answer


class LastNumber(AnswerRule):
    """The last number of the text."""

    def find(self, text: str) -> str | None:
        found = None
        for found in numbers(text):  # noqa: B007  # the last one
            pass
        return None if found is None else str(found)


class Letter(AnswerRule):
    """The letter that "the answer is" announces (paper, section 5: "answer is (X)").

    A bare A or I may be a word ("the answer is A good question"), so it counts only where the sentence, the line or
    the text ends, or a reason follows.
    """

    stops = True
    _ANNOUNCED = r"[Aa]nswer is:?\s*[*_]{0,2}"
    _FIND = re.compile(
        rf"{_ANNOUNCED}(?:\(([A-Z])\b(?![-'’+])"
        r"|([AI])(?=[*_]{0,2}(?:\s*\Z|[ \t]*\n|[.,;:!?)](?!\w)|\s(?:because|since|as)\b))"
        r"|([B-HJ-Z])\b(?![-'’+]))"
    )
    _COMPLETE = re.compile(rf"{_ANNOUNCED}(?:\([A-Z]\)|[AI](?:\n|[.,;:!?)]\W)|[B-HJ-Z](?:\n|[^\w'’+\-]))")

    def find(self, text: str) -> str | None:
        last = None
        for last in self._FIND.finditer(text):  # noqa: B007  # the last one
            pass
        return None if last is None else last[1] or last[2] or last[3]

    def complete(self, text: str) -> bool:
        return self._COMPLETE.search(text) is not None


class WholeText(AnswerRule):
    """The whole text, without the white space around it."""

    def find(self, text: str) -> str | None:
        return text.strip() or None


class Pattern(AnswerRule):
    """Group 1 of the last match of a pattern of the task's own, which may take PATTERN_TIMEOUT_S."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern

    def find(self, text: str) -> str | None:
        try:
            matches = list(regex.finditer(self.pattern, text, timeout=PATTERN_TIMEOUT_S))
        except TimeoutError:
            return None
        return matches[-1].group(1).strip() if matches and matches[-1].group(1) else None


RULES: dict[str, AnswerRule] = {
    "gsm8k": MarkedNumber(),
    "mmlu": Letter(),
    "number": LastNumber(),
    "exact": WholeText(),
}


def number(text: str) -> str:
    """Return the one spelling of a text that is a number; other text as it is, without the white space around it."""
    value = number_at(text, 0)
    return str(value) if value is not None and not text[value.end :].strip(" .") else text.strip()


def get_rule(name: str, pattern: str | None = None) -> AnswerRule:
    """Return a rule by its name in a task file; `pattern` is used by 'regex' only."""
    return Pattern(pattern or "") if name == "regex" else RULES[name]
