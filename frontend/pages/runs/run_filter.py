"""The filter of the list of runs, and how its address writes it: `/?search=vit&status=failed&page=2`. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs

from modelshapley.contracts import Status

DELETED = "deleted"
LONGEST, LAST_PAGE = 200, 100_000
STATUSES = ("", *(status.value for status in Status), DELETED)


@dataclass(frozen=True)
class RunFilter:
    """Which runs to list. search: text in model, task or methods. status: one of STATUSES; '' is all. page: from 1."""

    search: str = ""
    status: str = ""
    page: int = 1

    @property
    def everything(self) -> bool:
        return not self.search and not self.status

    def query(self) -> dict[str, object]:
        """Return the API's parameters, without limit and offset."""
        deleted = self.status == DELETED
        status = Status(self.status) if self.status and not deleted else None
        return {"search": self.search, "status": status, "deleted": deleted}


def parse(search: str) -> RunFilter:
    """Read the query part of an address; a part that is not valid is ignored."""
    query = {key: values[-1] for key, values in parse_qs(search.removeprefix("?")).items()}
    return create(query.get("search"), query.get("status"), query.get("page"))


def create(search: object, status: object, page: object) -> RunFilter:
    """Build a filter from values of fields or of an address."""
    text = str(search or "").replace("\0", "").strip()[:LONGEST]
    number = int(str(page)) if str(page).isdecimal() else 1
    return RunFilter(text, str(status) if status in STATUSES else "", min(max(number, 1), LAST_PAGE))
