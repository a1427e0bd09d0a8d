"""How a map is looked at: what the colour says, on which scale, in which order. Pure.

In the address: `look=percentile,log,sorted`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Colour = Literal["score", "share", "percentile"]
LOG, SORTED = "log", "sorted"


@dataclass(frozen=True)
class Display:
    """colour: the score itself, its share of the sum of all magnitudes, or the share of units ranked no higher.

    log: colours by decades, for maps without negative scores. ordered: within each layer, highest score first.
    """

    colour: Colour = "score"
    log: bool = False
    ordered: bool = False


PLAIN = Display()


def parse(text: str) -> Display:
    """'percentile,sorted'. Raises ValueError with the word that it does not know."""
    words = [word for word in text.split(",") if word]
    unknown = [word for word in words if word not in (*get_args(Colour), LOG, SORTED)]
    if unknown:
        raise ValueError(unknown[0])
    colour: Colour = next((known for known in get_args(Colour) if known in words), "score")
    return Display(colour, LOG in words, SORTED in words)


def write(display: Display) -> str:
    """The reverse of :func:`parse`; nothing for the plain look."""
    colour = [] if display.colour == "score" else [display.colour]
    return ",".join([*colour, *([LOG] if display.log else []), *([SORTED] if display.ordered else [])])
