"""Base class and common types of all contracts."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

MAX_UNITS_OFF = 500_000  # of one kind in one trial


def _refuse_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("should be a whole number, not true or false")
    return value


def refuse_repeats(name: str, values: Sequence[str]) -> None:
    """Raise ValueError if a list called `name` holds a value more than once."""
    if len(set(values)) != len(values):
        raise ValueError(f"{name} names one more than once: {', '.join(values)}")


Whole = Annotated[int, BeforeValidator(_refuse_boolean)]
"""A whole number in a request; pydantic takes true for 1."""
Interval = tuple[float, float]
Harm = Annotated[float, Field(ge=0, le=100)] | Literal["signed"]
Modality = Literal["image", "text"]
Dtype = Literal["float32", "bfloat16", "float16"]


class Contract(BaseModel):
    """Base of all contracts: frozen, and strict about names, so that a misspelt field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Status(StrEnum):
    """State of a run, trial or check."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in {Status.DONE, Status.FAILED, Status.CANCELLED}
