"""What a run will take, before it is queued."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelshapley.contracts.base import Contract, Interval


class Pace(Contract):
    """Seconds that a run will take on one worker from start to end, as finished runs here tell.

    seconds: the median, if it went like each of them; between: like the fastest, and like the slowest. of: what
    those runs have in common with this one. What does not grow with the work is counted apart: loading the model,
    and its intact accuracy.
    """

    seconds: float
    between: Interval
    runs: int
    of: Literal["model and task", "model"]


class Memory(Contract):
    """Bytes. weights: of all parameters in the worker's precision, null before the files are here.

    activations: of a full batch, an estimate; batches that do not fit are halved. there: of the device of
    the worker that has most, null where none has told.
    """

    weights: int | None
    activations: int
    there: int | None
    dtype: str


class Estimate(Contract):
    """What a run will take.

    examples: at most; exact where the task's number is known. passes: backward passes over each of them, at most;
    forwards: forward passes besides. pace: null where nothing was scored with this model here, or none is made.
    """

    examples: int
    exact: bool
    passes: int
    forwards: int
    pace: Pace | None = None
    memory: Memory
    workers: int
    problems: list[str] = Field(default=[], description="what will stop it, or keep it waiting")
