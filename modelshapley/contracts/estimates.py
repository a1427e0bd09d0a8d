"""Estimates of the cost of a run, before it is queued."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelshapley.contracts.base import Contract, Interval


class Pace(Contract):
    """Estimated duration of a run on one worker from start to end, in seconds, based on finished runs of this server.

    seconds: median of the predictions from each earlier run; between: the fastest and the slowest. runs: number of
    these runs; of: what they share with this one. Loading the model and measuring its intact accuracy do not grow
    with the work and are counted separately.
    """

    seconds: float
    between: Interval
    runs: int
    of: Literal["model and task", "model"]


class Memory(Contract):
    """Estimated memory, in bytes.

    weights: of all parameters in the worker's precision, null before the files are on the server. activations: of a
    full batch; batches that do not fit are halved. there: memory of the largest worker's device, null until one
    reports it.
    """

    weights: int | None
    activations: int
    there: int | None
    dtype: str


class Estimate(Contract):
    """Estimated cost of a run.

    examples: largest number of examples; `exact` if the task's number is known. passes: largest number of backward
    passes over each of them; forwards: additional forward passes. pace: null if this server has not scored this model,
    or if no passes are needed.
    """

    examples: int
    exact: bool
    passes: int
    forwards: int
    pace: Pace | None = None
    memory: Memory
    workers: int
    problems: list[str] = Field(default=[], description="reasons why it will fail or wait")
