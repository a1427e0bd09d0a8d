"""Tables for pages. On small screens each row becomes a card (`.cards` in assets/style.css)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc

CARDS = "cards"  # the class of such a table


def table(titles: Sequence[str], rows: Sequence[Sequence[Any]], current: int | None = None) -> Any:
    """A table whose first column is text and whose others are numbers. current: the index of a highlighted row."""
    head = dmc.TableTr([dmc.TableTh(t, className="number" if n else "") for n, t in enumerate(titles)])
    body = [
        dmc.TableTr(
            [dmc.TableTd(row[0]), *(labelled(cell, title) for title, cell in zip(titles[1:], row[1:], strict=True))],
            className="current" if number == current else "",
        )
        for number, row in enumerate(rows)
    ]
    return dmc.Table([dmc.TableThead(head), dmc.TableTbody(body)], verticalSpacing=4, className=CARDS)


def labelled(content: Any, title: str, css: str = "number") -> Any:
    """A cell that shows the title of its column where the row is a card."""
    return dmc.TableTd(content, className=css, **{"data-label": title})
