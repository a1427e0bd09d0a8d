"""Requests and answers: the one vocabulary of API, client, jobs and screens. No torch here."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, model_validator

from modelshapley.units import USUAL, Deactivation, UnitKind

MAX_UNITS_OFF = 500_000
Interval = tuple[float, float]
Harm = Annotated[float, Field(ge=0, le=100)] | Literal["signed"]
Modality = Literal["image", "text"]
Dtype = Literal["float32", "bfloat16", "float16"]


class Contract(BaseModel):
    """Frozen, and strict about names: a misspelt field is an error, not a shrug."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Status(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in {Status.DONE, Status.FAILED, Status.CANCELLED}


# -- what there is ------------------------------------------------------------------------------


class Health(Contract):
    """`status` is 'ok' when Redis and the database answer and a worker listens, else 'degraded'."""

    status: Literal["ok", "degraded"]
    redis: bool
    database: bool
    workers: int
    version: str


class Layout(Contract):
    """What a model's shapes leave open.

    `ragged`: units of each layer, for kinds of which layers have different numbers. `projections`: for each layer,
    the linear maps whose output rows are its units of kind 'row', one after the other, and how many rows each has.
    """

    ragged: dict[UnitKind, list[int]] = {}
    projections: list[dict[str, int]] = Field(default=[], examples=[[{"q": 16, "k": 16, "v": 16, "o": 16}]])


class ArchitectureInfo(Contract):
    """A family of models whose units we know where to find."""

    model_type: str = Field(description="as in config.json", examples=["llama"])
    title: str
    modality: Modality
    classes: list[str] = Field(
        description="what the checkpoint's class name may end with", examples=[["ForCausalLM"]]
    )
    units: list[UnitKind]


class ModelInfo(Contract):
    """A model that can be scored. `usable` is false where `problem` says why not."""

    id: str = Field(examples=["demo:digits-vit"])
    title: str
    family: str | None = Field(default=None, description="Hugging Face model_type", examples=["vit"])
    modality: Modality | None = None
    shapes: dict[UnitKind, list[int]] = Field(
        default_factory=dict, examples=[{"neuron": [4, 32], "head": [4, 4], "layer": [4]}]
    )
    layout: Layout = Layout()
    auto_class: str | None = Field(
        default=None, description="the transformers class that opens it", examples=["AutoModelForCausalLM"]
    )
    usable: bool = True
    problem: str | None = None


class ParameterInfo(Contract):
    """A number or word that a method can be given: `path-shapley,points=4`."""

    name: str = Field(examples=["points"])
    default: float | str
    minimum: float | None = None
    maximum: float | None = None
    whole: bool = Field(default=False, description="only whole numbers")
    choices: list[str] | None = Field(default=None, description="the words that are possible besides numbers")
    summary: str


class MethodInfo(Contract):
    """A way to score units. A run names it by its id, and parameters behind commas: `path-shapley,points=4`."""

    id: str = Field(examples=["two-sided"])
    title: str
    passes: int = Field(
        description="backward passes over the probe set with default parameters, at most; "
        "a method of several takes them for each kind of unit"
    )
    cost: str = Field(default="", description="where passes do not tell: what it costs, in words")
    largest: int | None = Field(default=None, description="most units of a kind that it can score")
    signed: bool = Field(description="scores may be negative: the unit hurts the task")
    quantity: str = Field(description="what a score is, with its unit", examples=["mean |dLoss/dgate|, nats"])
    summary: str
    formula: str
    source: str
    parameters: list[ParameterInfo] = []
    sided: bool = Field(default=False, description="keeps help and harm apart: `?harm=` weighs them anew")
    sums_up: bool = Field(
        default=False, description="signed scores are meant to sum to the loss that all units together save"
    )


class WorkerInfo(Contract):
    name: str
    state: str = Field(description="idle, busy, suspended or starting")
    queues: list[str]
    current: str | None = Field(
        default=None,
        description="what it has in hand: 'run:<id>', 'run:<id>:<shard>', 'trial:<id>', "
        "'check:<run id>', or 'task:<id>' for the check of a task",
    )
    pid: int | None = None
    host: str | None = None
    last_heartbeat: datetime | None = None


# -- runs ---------------------------------------------------------------------------------------


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
        default_factory=lambda: list(USUAL),
        min_length=1,
        max_length=len(UnitKind),
        description="left out: neurons, heads, layers and experts, those of them that the model has",
    )
    limit: int = Field(default=256, ge=1, le=1_000_000, description="at most this many probe examples")
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    faithfulness: Effort = Field(
        default="quick", description="how thoroughly the maps are checked by switching off, once they are there"
    )
    shards: int = Field(default=1, ge=1, le=64, description="parts that different workers can do at the same time")
    per_class: bool = Field(default=False, description="a map of every class of examples, too")

    @model_validator(mode="after")
    def _no_repeats(self) -> Self:
        for name, values in (("methods", self.methods), ("units", self.units)):
            if len(set(values)) != len(values):
                raise ValueError(f"{name} names one more than once: {', '.join(values)}")
        return self


class Progress(Contract):
    """`done` of `total` probe examples, over all shards; `eta_s`: seconds left, null until it can be told."""

    done: NonNegativeInt
    total: NonNegativeInt
    eta_s: float | None = None


class MapLink(Contract):
    method: str
    unit: UnitKind
    shape: list[int]
    href: str


class Measured(Contract):
    """An accuracy with its 95 % Wilson interval, on n held-out examples."""

    accuracy: float
    interval: Interval
    n: int


class Run(Contract):
    id: str
    model: str
    task: str
    methods: list[str]
    units: list[UnitKind]
    limit: int
    seed: int
    shards: int = 1
    per_class: bool = False
    status: Status
    progress: Progress
    error: str | None = None
    maps: list[MapLink] = []
    classes: dict[str, int] = Field(
        default={},
        description="of a run per class that is done: every class that has a map (`?class=`), and its n",
        examples=[{"Africa": 20, "Asia": 18}],
    )
    shapes: dict[UnitKind, list[int]] = {}
    layout: Layout = Layout()
    intact: Measured | None = Field(default=None, description="accuracy with every unit on")
    task_fingerprint: str | None = Field(
        default=None, description="sha256 of what was asked, and what counts as right; null before it is scored"
    )
    notes: list[str] = Field(
        default=[],
        description="what to know of the task's data",
        examples=[["3 rows left out: no answer found (train.jsonl, row 17, row 40, row 213)"]],
    )
    faithfulness: Effort = "none"
    checks: Status | None = Field(
        default=None, description="how far its maps are checked; null before they are there"
    )
    worker: str | None = Field(default=None, description="the last that took it, or a shard of it, in hand")
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None


class RunPage(Contract):
    """Runs, newest first."""

    items: list[Run]
    total: int
    limit: int
    offset: int


class MapData(Contract):
    """One kind of unit of one importance map.

    With `?pool=maps`, for rows: `columns` names the linear maps, and a row of `scores` holds the mean over each
    map's rows (paper, Figure 1), null where a layer does not have the map; its standard error is the mean of the
    rows' own, which it does not exceed.

    `scores[l][c]`: row = layer. With `?columns=` a row holds one value for each column, the score of
    largest magnitude among units `edges[c]` up to, not including, `edges[c+1]`, with that unit's
    standard error. A layer map has one column a row.
    """

    run: str
    method: str
    unit: UnitKind
    shape: list[int] = Field(description="of the whole map, before pooling")
    edges: list[int] | None = Field(default=None, description="column boundaries; null when nothing was pooled")
    columns: list[str] | None = Field(default=None, description="the linear maps, where rows were pooled to them")
    scores: list[list[float | None]] = Field(description="null where a narrower layer has no unit")
    standard_errors: list[list[float | None]] = Field(description="null where there is no unit, or no spread")
    quantity: str
    signed: bool
    provenance: dict[str, Any]


# -- trials -------------------------------------------------------------------------------------

Pair = tuple[NonNegativeInt, NonNegativeInt]


class Off(Contract):
    """Units to switch off, by index from 0: a layer by its number, others by [layer, index]."""

    neuron: list[Pair] = Field(default=[], max_length=MAX_UNITS_OFF)
    head: list[Pair] = Field(default=[], max_length=MAX_UNITS_OFF)
    layer: list[NonNegativeInt] = Field(default=[], max_length=MAX_UNITS_OFF)
    expert: list[Pair] = Field(default=[], max_length=MAX_UNITS_OFF)
    row: list[Pair] = Field(default=[], max_length=MAX_UNITS_OFF)

    def deactivation(self) -> Deactivation:
        return Deactivation.of({kind: getattr(self, kind.value) for kind in UnitKind})

    @classmethod
    def from_deactivation(cls, deactivation: Deactivation) -> Self:
        pairs = {
            kind.value: [(u[0], u[1]) for u in deactivation.of_kind(kind)]
            for kind in UnitKind
            if kind is not UnitKind.LAYER
        }
        return cls(layer=[u[0] for u in deactivation.of_kind(UnitKind.LAYER)], **pairs)


class TrialRequest(Contract):
    """Either `off`, or all of `method`, `unit`, `which` and `fraction` ("the 20 % least important heads").

    `session`: a name of the caller's choice; a newer trial of the same session supersedes older ones.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"run": "3f9c0a51", "off": {"head": [[0, 1], [2, 3]]}},
                {"run": "3f9c0a51", "method": "two-sided", "unit": "head", "which": "least", "fraction": 0.2},
            ]
        }
    )

    run: str = Field(min_length=1, max_length=64)
    off: Off | None = None
    method: str | None = None
    unit: UnitKind | None = None
    which: Literal["least", "most"] | None = None
    fraction: Annotated[float, Field(ge=0, le=1)] | None = None
    session: str | None = Field(default=None, max_length=64)

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        ranked = {"method": self.method, "unit": self.unit, "which": self.which, "fraction": self.fraction}
        missing = [name for name, value in ranked.items() if value is None]
        if self.off is not None and len(missing) < len(ranked):
            raise ValueError("give either 'off', or 'method', 'unit', 'which' and 'fraction', not both")
        if self.off is None and missing:
            raise ValueError(
                f"give 'off', or all of 'method', 'unit', 'which' and 'fraction' (missing: {', '.join(missing)})"
            )
        return self


class Comparison(Contract):
    """Accuracy now against the intact model on the same n examples, with 95 % intervals (docs/methods.md)."""

    n: int
    accuracy: float
    interval: Interval
    intact: float
    intact_interval: Interval
    difference: float
    difference_interval: Interval


class Trial(Contract):
    """The accuracy of one deactivation, measured chunk by chunk.

    `accuracy`, `interval` (95 %, Wilson) and `difference` (now minus intact, on the same `n` examples, with
    its 95 % interval for paired proportions) move until `status` is done; then n = total.
    """

    id: str
    run: str
    status: Status
    off: Off
    counts: dict[UnitKind, int]
    n: int
    total: int
    accuracy: float | None = None
    interval: Interval | None = None
    intact: float | None = Field(default=None, description="accuracy of the intact model on the same n examples")
    intact_interval: Interval | None = None
    difference: float | None = None
    difference_interval: Interval | None = None
    error: str | None = None
    created: datetime
    finished: datetime | None = None


# -- faithfulness -------------------------------------------------------------------------------

Which = Literal["least", "most"]


class CurvePoint(Comparison):
    """Accuracy with this fraction of a kind's units off: `units` of them."""

    fraction: float
    units: int


class Curve(Contract):
    """Accuracy as the least or the most important units go off, on held-out examples.

    `area`: mean accuracy over the fractions from 0 to the last, straight lines between the points; for 'least'
    the higher the better the map, for 'most' the lower.
    """

    which: Which
    points: list[CurvePoint]
    area: float


class Agreement(Contract):
    """Spearman correlation of the scores with sampled Shapley values on a random subset of the units.

    Truth: marginal utilities in random coalitions, by switching off, on probe examples. `reliability` is the
    truth's own (its halves' correlation stepped up to full length by Spearman and Brown): rho cannot be expected
    above its square root. Null where it cannot be told, as where all scores are equal.
    """

    rho: float | None
    reliability: float | None
    units: int
    examples: int
    coalitions: int = Field(description="of each example")


class Efficiency(Contract):
    """Shapley values of a kind sum to U(all on) - U(all off), nats; U: minus the mean loss of scored examples."""

    scores: float = Field(description="sum of the scores")
    measured: float = Field(description="U(all on) - U(all off), by switching off")
    gap: float = Field(description="(sum of the scores - measured) / |measured|")


class HarmChoice(Contract):
    """Which weight of harm keeps most accuracy as the least important units go, on examples of the probe set.

    `areas`: under the curve of each of `harms`. `offered`: the best of them; of equals, the nearest to the
    method's own. Chosen on the examples that were scored, so the curves on held-out ones are fair to it.
    """

    harms: list[float]
    areas: list[float]
    offered: float
    n: int


class KindFaithfulness(Contract):
    """How far one kind of unit of one map can be trusted; what is not measured yet, or does not apply, is null."""

    method: str
    unit: UnitKind
    halves: float | None = Field(default=None, description="Spearman correlation of two halves of the probe set")
    least: Curve | None = None
    most: Curve | None = None
    agreement: Agreement | None = None
    efficiency: Efficiency | None = Field(default=None, description="null for scores that are not meant to sum up")
    harm: HarmChoice | None = Field(
        default=None, description="null for methods that do not keep help and harm apart"
    )


class RandomCurve(Contract):
    """What switching units off in random order does: the line that a map has to beat. Mean over `draws` orders."""

    unit: UnitKind
    fractions: list[float]
    accuracy: list[float]
    lowest: list[float]
    highest: list[float]
    draws: int
    area: float


class Faithfulness(Contract):
    """Is the map true? Measured by switching off, never on the examples that the scores were computed on, save for
    `agreement` and `efficiency`, which ask about the loss on just these."""

    run: str
    effort: Effort
    status: Status
    progress: Progress = Field(description="checks made, of those to be made")
    error: str | None = None
    maps: list[KindFaithfulness] = []
    random: list[RandomCurve] = []


# -- errors -------------------------------------------------------------------------------------


class FieldError(Contract):
    field: str
    message: str


class Problem(BaseModel):
    """RFC 9457 problem details: the one shape of every error."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldError] = []


# -- events -------------------------------------------------------------------------------------


class RunEvent(Contract):
    """One server-sent event of a run: `event` is 'progress' or 'status'; `data` is the run as it is now."""

    id: str
    event: Literal["progress", "status"]
    data: Run


class TrialEvent(Contract):
    """One server-sent event of a trial: `event` is 'progress' or 'status'; `data` is the trial as it is now."""

    id: str
    event: Literal["progress", "status"]
    data: Trial
