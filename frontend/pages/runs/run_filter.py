"""The filter of the list of runs, and how its address writes it: `/?search=vit&status=failed&page=2`. Pure.

`tag=paper` lists only runs with that tag, `order=model` groups them by model, `order=owner` by the key that submitted
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args
from urllib.parse import parse_qs

from modelshapley.contracts import RunOrder, Status

DELETED = "deleted"
LONGEST, LAST_PAGE = 200, 100_000
LONGEST_TAG = 40
ORDERS: tuple[RunOrder, ...] = get_args(RunOrder)
STATUSES = ("", *(status.value for status in Status), DELETED)


@dataclass(frozen=True)
class RunFilter:
    """Which runs to list, and in which order.

    search: text in name, model, task, methods, tags or comment. status: one of STATUSES; '' is all. page: from 1.
    """

    search: str = ""
    status: str = ""
    page: int = 1
    tag: str = ""
    order: RunOrder = "newest"

    @property
    def everything(self) -> bool:
        return not self.search and not self.status and not self.tag

    def query(self) -> dict[str, object]:
        """Return the API's parameters, without limit and offset."""
        deleted = self.status == DELETED
        status = Status(self.status) if self.status and not deleted else None
        return {
            "search": self.search,
            "status": status,
            "deleted": deleted,
            "tag": self.tag or None,
            "order": self.order,
        }


def parse(search: str) -> RunFilter:
    """Read the query part of an address; a part that is not valid is ignored."""
    query = {key: values[-1] for key, values in parse_qs(search.removeprefix("?")).items()}
    return create(**{name: query.get(name) for name in ("search", "status", "page", "tag", "order")})


def create(search: object, status: object, page: object, tag: object = None, order: object = None) -> RunFilter:
    """Build a filter from values of fields or of an address."""
    text = str(search or "").replace("\0", "").strip()[:LONGEST]
    number = int(str(page)) if str(page).isdecimal() else 1
    return RunFilter(
        text,
        str(status) if status in STATUSES else "",
        min(max(number, 1), LAST_PAGE),
        str(tag or "").replace("\0", "")[:LONGEST_TAG],
        next((known for known in ORDERS if known == order), "newest"),
    )
