"""Rules that find answers: what they find, and that no text is cut off before its answer is whole."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelshapley.tasks.answers import PATTERN_TIMEOUT_S, RULES, AnswerRule, get_rule, number
from modelshapley.tasks.numbers import number_at, numbers
from tests.conftest import ROOT

GSM8K, MMLU = RULES["gsm8k"], RULES["mmlu"]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("... #### 18", "18"),
        ("#### 18.00", "18"),
        ("#### 18.50", "18.5"),
        ("#### 18.", "18"),
        ("#### 1,234,567", "1234567"),
        ("#### $1,234.50", "1234.5"),
        ("#### $ 20", "20"),
        ("#### -3", "-3"),
        ("#### -$3", "-3"),
        ("#### $-3", "-3"),
        ("#### - 3", "-3"),
        ("#### -0", "0"),
        ("#### 007", "7"),
        ("#### .5", "0.5"),
        ("####18", "18"),
        ("####\n18", "18"),
        ("#### 1 and then #### 2", "2"),
        ("#### 2 apples", "2"),
        ("#### 100000000000000000000000000000001", "100000000000000000000000000000001"),
        ("#### 5%", "5"),
        ("### 18", None),
        ("#### none", None),
        ("18", None),
        ("", None),
    ],
)
def test_gsm8k_takes_the_last_number_behind_the_marks(text: str, answer: str | None) -> None:
    assert GSM8K.find(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is (C).", "C"),
        ("the answer is (C)", "C"),
        ("The correct Answer is: (D)", "D"),
        ("answer is B.", "B"),
        ("answer is B", "B"),
        ("The answer is (A). No, the answer is (B).", "B"),
        ("The answer is Boron.", None),
        ("The answer is not here", None),
        ("(C)", None),
        ("", None),
    ],
)
def test_mmlu_takes_the_letter_that_the_answer_is(text: str, answer: str | None) -> None:
    assert MMLU.find(text) == answer


@pytest.mark.parametrize(("text", "answer"), [("3 and 4, so 7.", "7"), ("1,000 or $2.50", "2.5"), ("none", None)])
def test_number_takes_the_last_one(text: str, answer: str | None) -> None:
    assert RULES["number"].find(text) == answer


TASKS_PAGE = (ROOT / "docs" / "tasks.md").read_text()
RULE_ROWS = re.findall(r"^\| `(gsm8k|mmlu|number)` \| `(.+?)` \| (?:`(.+?)`|nothing) \|$", TASKS_PAGE, re.MULTILINE)


@pytest.mark.parametrize(("rule", "text", "answer"), RULE_ROWS)
def test_rules_read_what_the_page_about_tasks_says(rule: str, text: str, answer: str) -> None:
    assert RULES[rule].find(text) == (answer or None)


def test_the_page_about_tasks_has_a_table_of_rules() -> None:
    assert len(RULE_ROWS) >= 50


@given(st.text(alphabet="0123456789,. /-eE$x^{}\\'\u2212\u00a0½#", max_size=40))
def test_no_text_makes_reading_a_number_fail(text: str) -> None:
    for number_found in numbers(text):
        again = number_at(str(number_found), 0)
        assert again is not None
        assert again.value == number_found.value
    assert GSM8K.find(text) is None or number(GSM8K.find(text) or "") == GSM8K.find(text)


def test_reading_numbers_takes_time_in_proportion_to_the_text() -> None:
    for piece in ("1", "1,", "1 ", "-1/", "1.", "#### 1 "):
        seconds = []
        for times in (10_000, 40_000):
            start = time.process_time()
            RULES["number"].find(piece * times)
            RULES["gsm8k"].find(piece * times)
            seconds.append(time.process_time() - start)
        assert seconds[1] < 10 * seconds[0] + 0.05, piece  # sixteen times, if it grew with the square


@pytest.mark.parametrize(("text", "answer"), [(" yes\n", "yes"), ("yes, no", "yes, no"), ("  ", None)])
def test_exact_takes_all(text: str, answer: str | None) -> None:
    assert RULES["exact"].find(text) == answer


@settings(deadline=None)
@given(st.integers(-(10**40), 10**40), st.integers(0, 5), st.booleans())
def test_a_number_has_one_spelling(value: int, zeros: int, dollar: bool) -> None:
    sign, digits = "-" if value < 0 else "", f"{abs(value):,}"
    assert number(f"{sign}{'$' if dollar else ''}{digits}{'.' + '0' * zeros if zeros else ''}") == str(value)
    assert number(f"{value}.5{'0' * zeros}") == f"{value}.5"


def test_a_pattern_of_ones_own() -> None:
    assert get_rule("regex", r"= (\w+)").find("x = a, y = b ") == "b"
    assert get_rule("regex", r"= (\w+)").find("none") is None
    assert get_rule("regex", r"(a)|b").find("a b") is None  # the last match has no answer in it


def test_a_pattern_that_never_ends_is_given_up() -> None:
    start = time.monotonic()
    assert get_rule("regex", r"((a+)+)+c$").find("a" * 5000 + "b") is None
    assert time.monotonic() - start < 60 * PATTERN_TIMEOUT_S  # it would take longer than the sun lasts


@pytest.mark.parametrize(
    "text",
    [
        *["#### 1", "#### 18", "#### 1,", "#### 1.", "#### $", "#### -", "####", "#### 18.5", "18 "],
        *["#### 18 ", "#### 1 0", "#### 18. ", "#### 18. Add", "#### 1e", "#### 1 /", "#### 1\u202f"],
    ],
)
def test_gsm8k_is_not_complete_while_digits_may_follow(text: str) -> None:
    assert not GSM8K.complete(text)


@pytest.mark.parametrize(
    "text", ["#### 18\n", "#### 18 \n", "#### 18. \n", "#### 18.\n", "#### 1,800 apples", "#### 5%"]
)
def test_gsm8k_is_complete_behind_the_number(text: str) -> None:
    assert GSM8K.complete(text)


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("answer is", False),
        ("answer is (C", False),
        ("answer is C", False),
        ("answer is Cu", False),
        ("answer is (C)", True),
        ("answer is C.", True),
        ("answer is (C) or", True),
    ],
)
def test_mmlu_is_complete_behind_the_letter(text: str, complete: bool) -> None:
    assert MMLU.complete(text) == complete


def test_the_other_rules_read_to_the_end() -> None:
    for rule in (RULES["exact"], RULES["number"], get_rule("regex", "(x)")):
        assert not rule.complete("x 1 #### 18\nanswer is (C)\n")


PIECES = ["#### ", "answer is ", *"(C),.$- #_\n1", "18", "5", "apples", "A", "is"]


@settings(max_examples=600, deadline=None)
@given(st.sampled_from([GSM8K, MMLU]), st.lists(st.sampled_from(PIECES), max_size=12))
def test_stopping_where_the_answer_is_complete_finds_what_the_whole_text_has(
    chosen: AnswerRule, pieces: list[str]
) -> None:
    text = f"So {'#### ' if chosen is GSM8K else 'the answer is '}{''.join(pieces)}"
    if text.count("####") > 1 or text.count("nswer is") > 1:
        return
    stops = [i for i in range(len(text) + 1) if chosen.complete(text[:i])]
    if stops:
        assert chosen.find(text[: stops[0]]) == chosen.find(text) is not None
