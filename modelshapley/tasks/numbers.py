"""Numbers as people write them, read as exact values (docs/tasks.md, "Rules"). Torch-free."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

MINUS = "-\u2212\u2013"  # hyphen, minus sign, en dash
GROUP = r",|\{,\}|[\u0020\u00a0\u2009\u202f]|['\u2019]"  # between thousands
VULGAR = "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
MAX_DIGITS = 1000  # a longer number stays text: Python refuses to print it, and nobody means it
MAX_EXPONENT = 400

# Repeats are possessive (++): a text of digits alone must not be tried from every digit again.
_QUANTITY = re.compile(
    rf"""
    (?<!\d/) (?: (?P<whole>\d++) [ ] )? (?P<above>\d++) [ ]? / [ ]? (?P<below>\d++) (?! /\d )   # 1/2, 1 1/2
  | (?P<whole_tex>\d*+) [ ]? \\[dt]?frac \{{ (?P<above_tex>\d++) \}} \{{ (?P<below_tex>\d++) \}}
  | (?P<whole_vulgar>\d*+) [ ]? (?P<vulgar>[{VULGAR}])
  | (?: (?P<thousands> (?<!\d) \d{{1,3}} (?P<group>{GROUP}) \d{{3}} (?: (?P=group) \d{{3}} )* (?!\d) (?: \.\d++ )? )
      | (?P<lakh> (?<!\d) \d{{1,2}} (?: ,\d\d )+ ,\d{{3}} (?!\d) (?: \.\d++ )? )  # 1,00,000
      | (?P<points> (?<!\d) \d{{1,3}} (?: (?: \.\d{{3}} )+ ,\d++ | (?: \.\d{{3}} ){{2,}} (?![\d.]) ) )
      | (?P<plain> \d++ (?: \.\d++ )? | (?<!\d) \.\d++ )
    )
    (?: [eE] (?P<exponent> [{MINUS}+]?+ \d++ ) (?!\w)
      | [ ]? (?: [x×*·] | \\times | \\cdot ) [ ]? 10 [ ]? \^ [ ]?
        (?: \{{ (?P<braced>[{MINUS}+]?+\d++) \}} | (?P<power>[{MINUS}+]?+\d++) )
    )?
    """,
    re.VERBOSE,
)
_LEAD = re.compile(rf"\s*+([{MINUS}]?)[ ]?\$?[ ]?([{MINUS}]?)[ ]?")
_DECIMAL_COMMA = re.compile(r"(\d++),(\d{1,2}|\d{4,})(?![\d,])")


@dataclass(frozen=True)
class Number:
    """A number in a text: its exact value, and where it starts (without sign and dollar) and ends."""

    value: Fraction
    start: int
    end: int

    def __str__(self) -> str:
        """Its one spelling: '1234.5' where the decimals end, '1/3' where they do not."""
        below = self.value.denominator
        twos = fives = 0
        while below % 2 == 0:
            below, twos = below // 2, twos + 1
        while below % 5 == 0:
            below, fives = below // 5, fives + 1
        if below != 1:
            return str(self.value)
        places = max(twos, fives)
        digits = str(abs(int(self.value * 10**places))).rjust(places + 1, "0")
        text = f"{digits[:-places]}.{digits[-places:]}" if places else digits
        return f"-{text}" if self.value < 0 else text


def numbers(text: str) -> Iterator[Number]:
    """Yield the numbers of a running text, in order.

    A minus counts where it touches the number and separates it from nothing: `-5`, `-$5`, but not `10-15`, `- 18`
    (a bullet or a dash) or `2024-05-06`.
    """
    for match in _QUANTITY.finditer(text):
        value = _value(match)
        if value is not None:
            yield Number(-value if _touching_minus(text, match.start()) else value, match.start(), match.end())


def number_at(text: str, start: int) -> Number | None:
    """Return the number that stands alone at `start`, behind spaces, a sign and a dollar sign; None where none does.

    Here `- 3` is negative, and `1,5` is one and a half: nothing else can be meant where one number is announced.
    """
    lead = _LEAD.match(text, start)
    assert lead is not None  # it may be empty
    decimal = _DECIMAL_COMMA.match(text, lead.end())
    if decimal:
        value: Fraction | None = _exact(f"{decimal[1]}.{decimal[2]}")
        end = decimal.end()
    else:
        match = _QUANTITY.match(text, lead.end())
        if match is None:
            return None
        value, end = _value(match), match.end()
    if value is None:
        return None
    return Number(-value if lead[1] or lead[2] else value, lead.end(), end)


def _touching_minus(text: str, start: int) -> bool:
    place = start - 1
    if place >= 0 and text[place] == "$":  # -$5
        place -= 1
    if place < 0 or text[place] not in MINUS:
        return False
    return _separates_nothing(text, place)


def _separates_nothing(text: str, place: int) -> bool:
    """Whether nothing stands before the minus at `place` that it could separate from the number."""
    return place == 0 or not (text[place - 1].isalnum() or text[place - 1] in ")]}%°\"'")


def _value(match: re.Match[str]) -> Fraction | None:
    """The value of a quantity without its sign; None where it has none (a division by zero) or is out of bounds."""
    part = match.groupdict()
    if match.end() - match.start() > MAX_DIGITS:
        return None
    whole = part["whole"] or part["whole_tex"] or part["whole_vulgar"] or "0"
    if part["vulgar"]:
        value = Fraction(unicodedata.numeric(part["vulgar"])).limit_denominator(10)
        return int(whole) + value
    above, below = part["above"] or part["above_tex"], part["below"] or part["below_tex"]
    if above and below:
        return int(whole) + Fraction(int(above), int(below)) if int(below) else None
    digits = part["thousands"] or part["lakh"]
    if digits:
        digits = re.sub(GROUP, "", digits)
    elif part["points"]:
        digits = part["points"].replace(".", "").replace(",", ".")
    return _exact(digits or part["plain"], part["exponent"] or part["braced"] or part["power"])


def _exact(digits: str, exponent: str | None = None) -> Fraction | None:
    power = int(re.sub(f"[{MINUS}]", "-", exponent)) if exponent and len(exponent) < 10 else 0
    if abs(power) > MAX_EXPONENT or (exponent and len(exponent) >= 10):
        return None
    return Fraction(digits) * Fraction(10) ** power
