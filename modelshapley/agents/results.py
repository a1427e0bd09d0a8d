"""Results of the tools. Each is bounded: lists are cut to what was asked for, and say how long they were."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from modelshapley.contracts import (
    Effort,
    Estimate,
    Finding,
    Interval,
    Mark,
    Measured,
    Progress,
    Run,
    Status,
    Trial,
)
from modelshapley.contracts.base import Contract, Modality
from modelshapley.contracts.task_files.descriptions import Kind
from modelshapley.units import UnitKind

MOST_NOTES = 5


class ModelSummary(Contract):
    """A model that can be scored, unless `problem` says why not. shapes: layers, and units of a layer, by kind."""

    id: str
    title: str
    family: str | None
    modality: Modality | None
    shapes: dict[UnitKind, list[int]]
    problem: str | None


class ModelList(Contract):
    """The first models that match; total: number of all that match."""

    models: list[ModelSummary]
    total: int


class TaskSummary(Contract):
    """A task: what the model is asked, on how many examples. classes: what a map per class would be of."""

    id: str
    title: str
    kind: Kind
    modality: Modality
    summary: str
    probe_examples: int | None
    test_examples: int | None
    classes: str | None


class TaskList(Contract):
    """The first tasks that match; total: number of all that match."""

    tasks: list[TaskSummary]
    total: int


class RunState(Contract):
    """A run as it is now. checks: state of the check of its maps; page: its address in the dashboard."""

    id: str
    model: str
    task: str
    methods: list[str]
    units: list[UnitKind]
    status: Status
    progress: Progress
    error: str | None
    notes: list[str]
    intact: Measured | None = Field(description="accuracy with every unit on")
    checks: Status | None
    page: str

    @classmethod
    def of(cls, run: Run, url: str) -> RunState:
        """Describe a run of the server at `url`."""
        names = set(cls.model_fields) - {"notes", "page"}
        fields = {name: getattr(run, name) for name in names}
        return cls(**fields, notes=run.notes[:MOST_NOTES], page=f"{url}/runs/{run.id}")


class RunList(Contract):
    """The newest runs that match; total: number of all that match."""

    runs: list[RunState]
    total: int


class Submitted(Contract):
    """A queued run with its estimated cost. run: null if only the estimate was asked for."""

    run: RunState | None
    estimate: Estimate


class ScoredUnit(Contract):
    """A unit with its score. index: [layer, index], or [layer]. share: of the sum of all magnitudes, signed."""

    index: list[int]
    name: str = Field(examples=["head 3.7"])
    score: float
    standard_error: float | None
    share: float


class LayerSum(Contract):
    """Sum of the scores of a layer's units. share: of the sum of all magnitudes, signed."""

    layer: int
    sum: float
    share: float


class MapVerdict(Contract):
    """How far one kind of unit of a map can be trusted, as a mark and a summary."""

    mark: Mark
    sentence: str


class MapSummary(Contract):
    """One kind of unit of a map. n: number of scored examples; units: number of units."""

    run: str
    model: str
    task: str
    method: str
    unit: UnitKind
    shape: list[int]
    units: int
    n: int
    quantity: str
    signed: bool
    most: list[ScoredUnit] = Field(description="the most important units, the highest score first")
    least: list[ScoredUnit] = Field(description="the least important units, the lowest score first")
    layers: list[LayerSum]
    verdict: MapVerdict


class TrialState(Contract):
    """A trial as it is now: accuracy with some units treated, against the intact model on the same n examples.

    Intervals are 95 %. The values change until status is done. ahead: number of jobs that it waits for.
    """

    id: str
    run: str
    status: Status
    counts: dict[UnitKind, int] = Field(description="number of treated units of each kind")
    treatment: str = Field(examples=["off"])
    n: int
    total: int
    accuracy: float | None
    interval: Interval | None
    intact: float | None
    intact_interval: Interval | None
    difference: float | None
    difference_interval: Interval | None
    predicted: dict[str, float] = Field(description="sum of the units' scores, by method")
    error: str | None
    ahead: int | None

    @classmethod
    def of(cls, trial: Trial) -> TrialState:
        names = set(cls.model_fields) - {"counts", "treatment", "ahead"}
        return cls(
            **{name: getattr(trial, name) for name in names},
            counts={kind: count for kind, count in trial.counts.items() if count},
            treatment=trial.treatment.describe(),
            ahead=None if trial.waiting is None else trial.waiting.ahead,
        )


class SharedTop(Contract):
    """Of the `share` most important units, the fraction that both maps have; by chance it is the share itself."""

    share: float
    shared: float


class KindComparison(Contract):
    """Rankings of one kind of unit. rho: Spearman's, with its 95 % interval; null if a map is constant."""

    unit: UnitKind
    units: int
    rho: float | None
    rho_interval: Interval | None
    tops: list[SharedTop]


class Compared(Contract):
    """Two maps. differences: conditions that differed when they were computed, as [first, second]."""

    runs: tuple[str, str]
    methods: tuple[str, str]
    differences: dict[str, tuple[Any, Any]]
    kinds: list[KindComparison]


class KindVerdict(MapVerdict):
    """The verdict on one kind of unit of the map by a method, with the findings behind it."""

    method: str
    unit: UnitKind
    findings: list[Finding]


class Verdicts(Contract):
    """Verdicts on the maps of a run; preliminary until status is done. effort: how thoroughly they are checked."""

    run: str
    effort: Effort
    status: Status
    progress: Progress
    verdicts: list[KindVerdict]


class Exported(Contract):
    """A map as a file or as text. bytes: its size."""

    run: str
    method: str
    unit: UnitKind
    bytes: int
    file: str | None = Field(default=None, description="where it was written, below the working directory")
    text: str | None = Field(default=None, description="the map as CSV, if no file was named")
