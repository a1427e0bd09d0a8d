"""HTML and SVG as text, escaped by construction: whatever is no Markup yet is taken for words. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

VOID = {"meta", "link", "br"}


class Markup(str):
    """Text that is markup already. Only :func:`tag`, :func:`joined` and constants of ours make it."""

    __slots__ = ()


Child = str | Markup | None | Iterable["Child"]


def tag(name: str, /, *children: Child, **attributes: str | float | None) -> Markup:
    """An element. An attribute's `_` is written `-`, a last one is dropped (`class_`); None leaves it out."""
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{pairs}>")
    return Markup(f"<{name}{pairs}>{joined(children)}</{name}>")


def joined(children: Iterable[Child]) -> Markup:
    """One after another; None is nothing."""
    return Markup("".join(_text(child) for child in children))


def _text(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    return escape(child) if isinstance(child, str) else joined(child)


def table(titles: Iterable[Child], rows: Iterable[Iterable[Child]], caption: str) -> Markup:
    """The first column is text, the others are numbers. caption: what it is, for screen readers."""
    head = tag("tr", *(tag("th", title, scope="col") for title in titles))
    body = [tag("tr", *(tag("td", cell) for cell in row)) for row in rows]
    # Wide ones scroll; whoever uses the keyboard must be able to get there.
    return tag(
        "div",
        tag("table", tag("caption", caption, class_="unseen"), tag("thead", head), tag("tbody", *body)),
        class_="scroll",
        tabindex=0,
        role="region",
        aria_label=caption,
    )
