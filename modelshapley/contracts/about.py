"""Descriptions of models, methods and workers."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from modelshapley.contracts.base import Contract, Modality
from modelshapley.units import UnitKind


class Health(Contract):
    """Health of the server: `status` is 'ok' if Redis and the database respond, a worker listens and the disk has
    space, else 'degraded'; `problem` is then the cause.
    """

    status: Literal["ok", "degraded"]
    redis: bool
    database: bool
    workers: int
    version: str
    problem: str | None = None


class Limits(Contract):
    """Limits of a server.

    max_body_bytes: size of one request. max_upload_bytes: size of an uploaded model, whose files match upload_files.
    max_data_bytes, max_data_rows: size of uploaded data, whose files end with data_files.
    deleted_kept_hours: time in which a deleted run can be restored.
    """

    max_body_bytes: int
    max_upload_bytes: int
    upload_files: list[str]
    max_data_bytes: int
    max_data_rows: int
    data_files: list[str]
    deleted_kept_hours: float
    hub: bool = Field(description="whether models of the Hugging Face hub are allowed")


class Layout(Contract):
    """Details of a model that its shapes do not hold.

    `ragged`: number of units of each layer, for kinds whose number differs between layers. `projections`: for each
    layer, the linear maps whose output rows are its units of kind 'row', in order, with their numbers of rows.
    """

    ragged: dict[UnitKind, list[int]] = {}
    projections: list[dict[str, int]] = Field(default=[], examples=[[{"q": 16, "k": 16, "v": 16, "o": 16}]])


class ArchitectureInfo(Contract):
    """A supported family of models."""

    model_type: str = Field(description="as in config.json", examples=["llama"])
    title: str
    modality: Modality
    classes: list[str] = Field(
        description="possible endings of the checkpoint's class name", examples=[["ForCausalLM"]]
    )
    units: list[UnitKind]


class ModelInfo(Contract):
    """A model. If it cannot be scored, `usable` is false and `problem` says why."""

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
    """A parameter of a method, a number or word: `path-shapley,points=4`."""

    name: str = Field(examples=["points"])
    default: float | str
    minimum: float | None = None
    maximum: float | None = None
    whole: bool = Field(default=False, description="only whole numbers")
    choices: list[str] | None = Field(default=None, description="allowed words besides numbers")
    summary: str


class MethodInfo(Contract):
    """A way to score units. A run names it by its id, with parameters after commas: `path-shapley,points=4`."""

    id: str = Field(examples=["two-sided"])
    title: str
    passes: int = Field(
        description="largest number of backward passes over the probe set with default parameters; "
        "a method of several passes needs them for each kind of unit"
    )
    cost: str = Field(default="", description="cost as text, where the number of passes does not describe it")
    largest: int | None = Field(default=None, description="largest number of units of a kind that it can score")
    signed: bool = Field(description="scores may be negative: the unit hurts the task")
    quantity: str = Field(description="what a score is, with its unit", examples=["mean |dLoss/dgate|, nats"])
    summary: str
    formula: str
    source: str
    parameters: list[ParameterInfo] = []
    sided: bool = Field(default=False, description="stores help and harm separately: `?harm=` sets the weight of harm")
    sums_up: bool = Field(
        default=False, description="signed scores should sum to the loss that all units together save"
    )


class WarmModel(Contract):
    """A model that a worker keeps loaded. bytes: size of its weights and buffers."""

    model: str
    device: str = Field(examples=["cpu", "cuda:0"])
    dtype: str
    bytes: int
    in_use: bool = Field(description="used by a run or check in progress; it is not unloaded before that ends")
    notes: list[str] = Field(
        default=[],
        description="what the checks at loading found: shortcuts that are not used, and unused tensors; empty if all "
        "checks passed",
    )


class WarmProbes(Contract):
    """Hidden states of a task's test examples that a worker keeps. bytes: size in host memory."""

    model: str
    task: str
    seed: int
    bytes: int
    refused: str | None = Field(default=None, description="why there are none, so that trials compute all layers")


class Warm(Contract):
    """What a worker keeps in memory between jobs, and its budgets, in bytes. memory: size of its device."""

    models: list[WarmModel] = []
    probes: list[WarmProbes] = []
    model_budget: int
    probe_budget: int
    device: str | None = Field(default=None, examples=["cpu", "cuda"])
    dtype: str | None = Field(default=None, description="dtype of the weights it loads")
    memory: int | None = None


class WorkerInfo(Contract):
    """A worker process and its state."""

    name: str
    state: str = Field(description="idle, busy, suspended or starting")
    queues: list[str]
    current: str | None = Field(
        default=None,
        description="its current job: 'run:<id>', 'run:<id>:<shard>', 'trial:<id>', "
        "'check:<run id>', 'derive:<id>' for a derived model, 'task:<id>' for the check of a task, "
        "'details:<trial id>', 'unit:<id>' for examples or 'size:<id>'",
    )
    since: datetime | None = Field(default=None, description="when its current job began")
    eta_s: float | None = Field(default=None, description="seconds left, if it scores a run that has told")
    pid: int | None = None
    host: str | None = None
    last_heartbeat: datetime | None = None
    warm: Warm | None = Field(default=None, description="what it keeps in memory; null until its first report")


class QueueInfo(Contract):
    """A queue of jobs that wait for a worker; each shard of a run is a job."""

    name: Literal["trials", "runs", "checks"]
    waiting: int


class Failure(Contract):
    """A failed run, trial or check. id: that of the run or trial; of the run, for a check. at: time of the failure."""

    kind: Literal["run", "trial", "check"]
    id: str
    run: str
    model: str
    task: str
    error: str
    at: datetime
