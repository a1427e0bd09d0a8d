"""Logs of the servers: lines of text, or one JSON object a line, each with the request and the job it belongs to."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

LogFormat = Literal["text", "json"]
FIELDS: ContextVar[dict[str, str]] = ContextVar("log_fields", default={})  # noqa: B039  # never changed in place
REQUEST = "request"  # name of the field with a request's id
REQUESTS = "modelshapley.requests"
TEXT = "%(asctime)s %(name)s: %(message)s"


@contextmanager
def log_fields(**fields: str) -> Iterator[None]:
    """Add fields, such as `request` or `run`, to everything that is logged meanwhile."""
    token = FIELDS.set(FIELDS.get() | fields)
    try:
        yield
    finally:
        FIELDS.reset(token)


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON: at, level, logger, message, and the fields of :func:`log_fields`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **FIELDS.get(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure(form: LogFormat, level: int = logging.INFO, text: str = TEXT) -> None:
    """Send all logs of this process to its standard error, and let libraries warn only."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else logging.Formatter(text))
    logging.basicConfig(level=level, handlers=[handler])
    logging.getLogger(REQUESTS).setLevel(logging.INFO if form == "json" else logging.WARNING)
    for noisy in ("rq.worker", "alembic", "httpx", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    for own in ("uvicorn", "uvicorn.error", "uvicorn.access"):  # uvicorn's own handlers would write a second form
        logging.getLogger(own).handlers.clear()
        logging.getLogger(own).propagate = True
