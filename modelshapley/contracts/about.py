"""What there is: models, methods, workers."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from modelshapley.contracts.base import Contract, Modality
from modelshapley.units import UnitKind


class Health(Contract):
    """`status` is 'ok' when Redis and the database answer and a worker listens, else 'degraded'."""

    status: Literal["ok", "degraded"]
    redis: bool
    database: bool
    workers: int
    version: str


class Limits(Contract):
    """What a server allows. max_body_bytes: of one request; max_upload_bytes: of an uploaded model, with files of
    names like upload_files; deleted_kept_hours: time to bring a deleted run back.
    """

    max_body_bytes: int
    max_upload_bytes: int
    upload_files: list[str]
    deleted_kept_hours: float
    hub: bool = Field(description="whether models of the Hugging Face hub may be named")


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
    classes: list[str] = Field(description="what the checkpoint's class name may end with", examples=[["ForCausalLM"]])
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


class WarmModel(Contract):
    """A model that a worker keeps loaded. bytes: of its weights and buffers."""

    model: str
    device: str = Field(examples=["cpu", "cuda:0"])
    dtype: str
    bytes: int
    in_use: bool = Field(description="by a run or check in hand; it is not dropped before that ends")


class WarmProbes(Contract):
    """Hidden states that a worker keeps of a task's test examples. bytes: in host memory."""

    model: str
    task: str
    seed: int
    bytes: int
    refused: str | None = Field(default=None, description="why there can be none: trials compute all layers")


class Warm(Contract):
    """What a worker keeps between jobs, and how much it may keep; bytes. memory: of its whole device."""

    models: list[WarmModel] = []
    probes: list[WarmProbes] = []
    model_budget: int
    probe_budget: int
    device: str | None = Field(default=None, examples=["cpu", "cuda"])
    dtype: str | None = Field(default=None, description="of the weights it loads")
    memory: int | None = None


class WorkerInfo(Contract):
    name: str
    state: str = Field(description="idle, busy, suspended or starting")
    queues: list[str]
    current: str | None = Field(
        default=None,
        description="what it has in hand: 'run:<id>', 'run:<id>:<shard>', 'trial:<id>', "
        "'check:<run id>', 'task:<id>' for the check of a task, 'details:<trial id>' or 'unit:<id>' for examples",
    )
    pid: int | None = None
    host: str | None = None
    last_heartbeat: datetime | None = None
    warm: Warm | None = Field(default=None, description="what it keeps; null before it has told")


class QueueInfo(Contract):
    """Jobs that wait for a worker; a run in shards is one for each."""

    name: Literal["trials", "runs", "checks"]
    waiting: int


class Failure(Contract):
    """id: of the run or trial that failed, of a check of maps, its run's. at: when that ended."""

    kind: Literal["run", "trial", "check"]
    id: str
    run: str
    model: str
    task: str
    error: str
    at: datetime
