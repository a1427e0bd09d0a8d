"""Runs and their maps."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, NonNegativeInt, StrictBool, model_validator

from modelshapley.contracts.about import Layout
from modelshapley.contracts.base import Contract, Interval, Status, Whole, refuse_repeats
from modelshapley.units import DEFAULT_KINDS, UnitKind

PRINTABLE = r"^[^\x00-\x1f]*[^\x00-\x20]$"
"""One line that does not end in a space."""
Effort = Literal["none", "quick", "full"]


class RunRequest(Contract):
    """One submission: a model on a task, scored by one or more methods."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "demo:digits-vit",
                    "task": "digits",
                    "methods": ["two-sided", "mean-abs"],
                    "units": ["neuron", "head", "layer"],
                    "limit": 256,
                    "seed": 0,
                }
            ]
        }
    )

    model: str = Field(min_length=1, max_length=200)
    task: str = Field(min_length=1, max_length=200)
    methods: list[str] = Field(default=["two-sided"], min_length=1, max_length=32)
    units: list[UnitKind] = Field(
        default_factory=lambda: list(DEFAULT_KINDS),
        min_length=1,
        max_length=len(UnitKind),
        description="default: neurons, heads, layers and experts, as far as the model has them",
    )
    limit: Whole = Field(default=256, ge=1, le=1_000_000, description="at most this many probe examples")
    seed: Whole = Field(default=0, ge=0, le=2**31 - 1)
    faithfulness: Effort = Field(
        default="quick", description="how thoroughly the finished maps are checked by switching units off"
    )
    shards: Whole = Field(default=1, ge=1, le=64, description="parts that different workers can score at the same time")
    per_class: StrictBool = Field(default=False, description="whether to compute a map of every class of examples, too")

    @model_validator(mode="after")
    def _no_repeats(self) -> Self:
        refuse_repeats("methods", self.methods)
        refuse_repeats("units", self.units)
        return self


Tag = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[^\x00-\x1f,]*[^\x00-\x20,]$")]


RunOrder = Literal["newest", "model", "tag", "owner"]


class RunLabels(Contract):
    """What people call a run. A field that is left out stays as it is; null or an empty list clears it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "baseline", "tags": ["paper", "seed study"]}]})

    name: Annotated[str, Field(min_length=1, max_length=120, pattern=PRINTABLE)] | None = None
    comment: Annotated[str, Field(max_length=4000, pattern=r"^[^\x00]*$")] | None = None
    tags: list[Tag] = Field(default=[], max_length=16)

    @model_validator(mode="after")
    def _no_repeats(self) -> Self:
        refuse_repeats("tags", self.tags)
        return self


class Progress(Contract):
    """Progress: `done` of `total` probe examples, over all shards; `eta_s`: seconds left, null until known."""

    done: NonNegativeInt
    total: NonNegativeInt
    eta_s: float | None = None
    rate: float | None = Field(default=None, description="examples a second, over all running shards")


class MapLink(Contract):
    """Link to one kind of unit of one map."""

    method: str
    unit: UnitKind
    shape: list[int]
    href: str


class Measured(Contract):
    """An accuracy on n held-out examples, with its 95 % interval: Wilson's, or Student's for answers partly right."""

    accuracy: float
    interval: Interval
    n: int


class Fetching(Contract):
    """Progress of fetching a model from the hub, in bytes."""

    done: int
    total: int = Field(description="size of all its files; grows while their sizes are requested")
    rate: float | None = Field(default=None, description="bytes a second")
    eta_s: float | None = None


class Run(Contract):
    """One submission and its state, from queued to done."""

    id: str
    model: str
    task: str
    methods: list[str]
    units: list[UnitKind]
    limit: int
    seed: int
    name: str | None = Field(default=None, description="given by its users")
    comment: str | None = Field(default=None, description="given by its users")
    tags: list[str] = Field(default=[], description="given by its users")
    shards: int = 1
    per_class: bool = False
    status: Status
    progress: Progress
    fetching: Fetching | None = Field(
        default=None, description="how much of its model has been fetched from the hub, while that lasts"
    )
    error: str | None = None
    maps: list[MapLink] = []
    classes: dict[str, int] = Field(
        default={},
        description="for a finished run per class: every class that has a map (`?class=`), and its n",
        examples=[{"Africa": 20, "Asia": 18}],
    )
    shapes: dict[UnitKind, list[int]] = {}
    layout: Layout = Layout()
    intact: Measured | None = Field(default=None, description="accuracy with every unit on")
    task_fingerprint: str | None = Field(
        default=None, description="sha256 of the examples and of what counts as right; null before scoring"
    )
    notes: list[str] = Field(
        default=[],
        description="remarks on the task's data",
        examples=[["3 rows left out: no answer found (train.jsonl, row 17, row 40, row 213)"]],
    )
    faithfulness: Effort = "none"
    checks: Status | None = Field(default=None, description="state of the check of its maps; null before they exist")
    worker: str | None = Field(default=None, description="the last worker that took it, or a shard of it")
    owner: str | None = Field(default=None, description="name of the key that submitted it; null without named keys")
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None
    deleted: datetime | None = Field(default=None, description="when it was deleted; it can be restored")

    def request(self) -> RunRequest:
        """Return the request of this run, to submit it again."""
        return RunRequest.model_validate(self.model_dump(include=set(RunRequest.model_fields)))


class RunPage(Contract):
    """Runs, newest first."""

    items: list[Run]
    total: int
    limit: int
    offset: int


class MapData(Contract):
    """One kind of unit of one importance map.

    With `?pool=maps`, for rows, `columns` names the linear maps, and a row of `scores` holds the mean over each map's
    rows (paper, Figure 1), null where a layer lacks the map; its standard error is the mean of the rows' standard
    errors, which bounds it from above.

    `scores[l][c]`: row = layer. With `?columns=` a row holds one value for each column, the score of
    largest magnitude among units `edges[c]` up to, not including, `edges[c+1]`, with that unit's
    standard error. A layer map has one column a row.
    """

    run: str
    method: str
    unit: UnitKind
    shape: list[int] = Field(description="of the whole map, before pooling")
    edges: list[int] | None = Field(default=None, description="column boundaries; null when nothing was pooled")
    columns: list[str] | None = Field(default=None, description="names of the linear maps, if rows were pooled by them")
    scores: list[list[float | None]] = Field(description="null where a narrower layer has no unit")
    standard_errors: list[list[float | None]] = Field(description="null where there is no unit, or no spread")
    quantity: str
    signed: bool
    provenance: dict[str, Any]


class PartialMap(Contract):
    """The map so far of a run that is being scored. It is no result: it changes until the run is done.

    n: number of examples that are in it, of `total`.
    """

    n: int
    total: int
    map: MapData
