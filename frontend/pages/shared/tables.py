"""Tables of numbers for pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc


def table(titles: Sequence[Any], rows: Sequence[Sequence[Any]], current: int | None = None) -> Any:
    """A table whose first column is text and whose others are numbers. current: the index of a highlighted row."""
    head = dmc.TableTr([dmc.TableTh(t, className="number" if n else "") for n, t in enumerate(titles)])
    body = [
        dmc.TableTr(
            [dmc.TableTd(cell, className="number" if n else "") for n, cell in enumerate(row)],
            className="current" if number == current else "",
        )
        for number, row in enumerate(rows)
    ]
    return dmc.Table([dmc.TableThead(head), dmc.TableTbody(body)], verticalSpacing=4)
