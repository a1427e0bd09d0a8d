"""Display settings of a map: the quantity of the colours, their scale, the order of the units. Pure.

In the address: `look=percentile,log,sorted`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Colour = Literal["score", "share", "percentile"]
LOG, SORTED = "log", "sorted"


@dataclass(frozen=True)
class Display:
    """How a map is drawn.

    colour: the score itself, its share of the sum of absolute scores, or its percentile rank.
    log: a logarithmic colour scale, for maps without negative scores. ordered: the highest score of a layer first.
    """

    colour: Colour = "score"
    log: bool = False
    ordered: bool = False


PLAIN = Display()


def parse(text: str) -> Display:
    """Read settings such as 'percentile,sorted'. Raises ValueError with the first unknown one."""
    settings = [setting for setting in text.split(",") if setting]
    unknown = [setting for setting in settings if setting not in (*get_args(Colour), LOG, SORTED)]
    if unknown:
        raise ValueError(unknown[0])
    colour: Colour = next((known for known in get_args(Colour) if known in settings), "score")
    return Display(colour, LOG in settings, SORTED in settings)


def write(display: Display) -> str:
    """Write settings: the reverse of :func:`parse`; '' for the defaults."""
    colour = [] if display.colour == "score" else [display.colour]
    return ",".join([*colour, *([LOG] if display.log else []), *([SORTED] if display.ordered else [])])
