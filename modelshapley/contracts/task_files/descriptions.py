"""Descriptions and previews of tasks for API, screens and command line. Torch-free."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from modelshapley.contracts import Contract, Modality, Status
from modelshapley.contracts.task_files.file import TaskSpec
from modelshapley.errors import BadTreatment
from modelshapley.units import Treatment

Kind = Literal[
    "image-classification",
    "text-classification",
    "multiple-choice",
    "generation",
    "language-modelling",
    "counterfactual",
]


class TaskInfo(Contract):
    """A probe set and what counts as right."""

    id: str = Field(examples=["world-capitals"])
    title: str
    kind: Kind
    modality: Modality
    auto_class: str = Field(
        description="transformers class of the models that can do it", examples=["AutoModelForCausalLM"]
    )
    summary: str
    probe_examples: int | None = Field(
        default=None, description="examples available for scoring; null until the data are read"
    )
    test_examples: int | None = Field(
        default=None, description="held-out examples for the accuracy of trials; null until the data are read"
    )
    classes: str | None = Field(
        default=None,
        description="what its classes are, for a map of each (`per_class`); null without classes",
        examples=["continents"],
    )
    source: str = Field(default="", description="where its data come from")
    own: bool = Field(default=False, description="whether a user added it, by a task file or the form")

    def check_treatment(self, treatment: Treatment) -> None:
        """Raise BadTreatment if units cannot be treated so on this task."""
        if treatment.needs_pairs and self.kind != "counterfactual":
            raise BadTreatment.no_pairs(self.id)


class TaskCheckRequest(Contract):
    """Request to preview a task before a run: a known task by name, or a task file that is not added yet.

    model: the model for the task; without it, only the data are read.
    """

    task: str | None = Field(default=None, max_length=200)
    file: TaskSpec | None = None
    model: str | None = Field(default=None, max_length=200)
    seed: int = Field(default=0, ge=0, le=2**31 - 1)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.task is None) == (self.file is None):
            raise ValueError("give either 'task', the name of a known task, or 'file', a task file")
        return self


class Token(Contract):
    """A piece of an example as the model reads it. loss: whether it counts in the loss."""

    text: str
    loss: bool


class ExampleShown(Contract):
    """An example as the model sees it."""

    row: str = Field(description="where it comes from", examples=["train.jsonl, row 17"])
    tokens: list[Token] = Field(default=[], description="empty for images, and without a model")
    text: str = Field(default="", description="the question as text, before tokenisation")
    image: str | None = Field(default=None, description="the picture as a data URL")
    choices: list[str] = Field(default=[])
    right: str = Field(description="what counts as right")
    label: str | None = Field(default=None, description="its class, for a map of each")


class BadRows(Contract):
    """Rows that cannot be used, all for the same reason."""

    reason: str
    count: int
    rows: list[str] = Field(description="the first few")


class Labels(Contract):
    """Classes of the data and of the model, in order.

    numbers: the model's class of each class of the data, counted from 0; empty unless they match. problem: null if they
    match, or if there is no model.
    """

    data: list[str]
    model: list[str]
    numbers: list[int] = []
    problem: str | None = None


class TaskCheck(Contract):
    """Preview of a task, read from its data, before a run.

    problems: what would stop a run; empty if it can be scored. longest: tokens of the longest example that was tried;
    context: number of tokens that the model can read.
    """

    id: str
    status: Status
    error: str | None = None
    info: TaskInfo | None = None
    fingerprint: str | None = None
    classes: dict[str, int] = Field(default={}, description="number of probe examples of each class")
    examples: list[ExampleShown] = Field(default=[], description="the first three probe examples")
    bad: list[BadRows] = Field(default=[])
    labels: Labels | None = None
    longest: int | None = None
    context: int | None = None
    problems: list[str] = Field(default=[])
