"""HTML and SVG as text, escaped by construction: any string that is not Markup is escaped. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

VOID = {"meta", "link", "br"}


class Markup(str):
    """Text that is already markup. Only :func:`tag`, :func:`joined` and constants in this package create it."""

    __slots__ = ()


Child = str | Markup | None | Iterable["Child"]


def tag(name: str, /, *children: Child, **attributes: str | float | None) -> Markup:
    """Write an element. In attribute names `_` becomes `-`, a trailing one is dropped (`class_`); None omits one."""
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{pairs}>")
    return Markup(f"<{name}{pairs}>{joined(children)}</{name}>")


def joined(children: Iterable[Child]) -> Markup:
    """Write children one after another; None is empty."""
    return Markup("".join(_text(child) for child in children))


def _text(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    return escape(child) if isinstance(child, str) else joined(child)


def table(titles: Iterable[Child], rows: Iterable[Iterable[Child]], caption: str) -> Markup:
    """Write a table whose first column is text and whose others are numbers. caption: for screen readers."""
    head = tag("tr", *(tag("th", title, scope="col") for title in titles))
    body = [tag("tr", *(tag("td", cell) for cell in row)) for row in rows]
    # A wide table scrolls, so the keyboard must be able to reach it.
    return tag(
        "div",
        tag("table", tag("caption", caption, class_="unseen"), tag("thead", head), tag("tbody", *body)),
        class_="scroll",
        tabindex=0,
        role="region",
        aria_label=caption,
    )
