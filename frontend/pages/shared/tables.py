"""Tables of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc


def table(titles: Sequence[Any], rows: Sequence[Sequence[Any]], here: int | None = None) -> Any:
    """Numbers in rows; the first column is text, `here` a row that stands out."""
    head = dmc.TableTr([dmc.TableTh(t, className="number" if n else "") for n, t in enumerate(titles)])
    body = [
        dmc.TableTr(
            [dmc.TableTd(cell, className="number" if n else "") for n, cell in enumerate(row)],
            className="current" if number == here else "",
        )
        for number, row in enumerate(rows)
    ]
    return dmc.Table([dmc.TableThead(head), dmc.TableTbody(body)], verticalSpacing=4)
