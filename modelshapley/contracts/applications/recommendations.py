"""Which units to remove, by which importance, for a wanted size: candidates, measured."""

from __future__ import annotations

from pydantic import Field

from modelshapley.contracts.base import Contract, Interval
from modelshapley.contracts.trials import Comparison
from modelshapley.units import UnitKind


class Candidate(Contract):
    """One way to reach the wanted size, measured on probe examples that were not scored.

    method: of the map that chose the units; `layer_method`: of the map that chose the layers, if it is another.
    spend: how the parameters to remove are divided among kinds of unit, as planned; 'by value' where the map's value a
    parameter decides.
    """

    method: str
    layer_method: str | None = None
    spend: str = Field(examples=["neuron", "neuron 50 %, layer 50 %", "by value"])
    off: dict[UnitKind, int]
    parameters: int
    bytes: int
    milliseconds: float | None = Field(default=None, description="of a pass; null where no time was wanted")
    measured: Comparison
    loss: float = Field(description="mean loss, nats")

    @property
    def name(self) -> str:
        """What to call the candidate: 'two-sided: neuron 50 %, layer 50 %'."""
        layers = f", layers by {self.layer_method}" if self.layer_method else ""
        return f"{self.method}{layers}: {self.spend}"


class Rivalry(Contract):
    """The best candidate against the best of another kind, on the same examples: best minus rival, 95 % intervals.

    separates: whether the interval of the accuracy or of the loss lies on the better side of 0.
    """

    rival: int
    accuracy: float
    accuracy_interval: Interval
    loss: float
    loss_interval: Interval
    separates: bool


class Recommendation(Contract):
    """Candidates at one wanted size or time; `best` and `frontier` are places in `candidates`.

    frontier: candidates that none beats in both parameters (milliseconds, where a time is wanted) and accuracy,
    cheapest first. milliseconds: of the loss of up to 8 probe examples in one pass, on the worker's machine. rivalry:
    against the best candidate of another method; null if there is only one method. verdict: one sentence.
    """

    model: str
    task: str
    seed: int
    target_parameters: int | None = Field(default=None, description="null where a time was wanted")
    target_milliseconds: float | None = None
    parent_parameters: int
    parent_bytes: int
    parent_milliseconds: float | None = None
    scored: int = Field(description="probe examples that maps were computed on")
    measured: int = Field(description="probe examples that candidates were measured on")
    candidates: list[Candidate]
    best: int
    frontier: list[int]
    rivalry: Rivalry | None
    verdict: str
