"""Single examples under a deactivation, and of a unit. Torch-free."""

from __future__ import annotations

from pydantic import Field

from modelshapley.contracts import Comparison, Contract, Status
from modelshapley.contracts.task_files.descriptions import ExampleShown
from modelshapley.units import UnitKind


class ClassChange(Comparison):
    """Accuracy on the examples of one class, before and after, as in :class:`Comparison`."""

    label: str


class Flip(Contract):
    """A test example whose answer became more or less right.

    before, after: how right it was, 0 to 1. said_before, said_after: the model's answer as text, null for tasks whose
    answers are not text.
    """

    example: ExampleShown
    before: float
    after: float
    said_before: str | None = None
    said_after: str | None = None


class TrialDetails(Contract):
    """Details of a trial's accuracy on its first `n` test examples: classes, and examples that flipped.

    classes: largest loss first; empty for tasks without classes. lost, gained: number of examples that are less, or
    more, right than before; flips: the first of them, lost ones first.
    """

    trial: str
    status: Status
    error: str | None = None
    n: int = 0
    classes: list[ClassChange] = Field(default=[])
    lost: int = 0
    gained: int = 0
    flips: list[Flip] = Field(default=[])


class UnitExample(Contract):
    """A probe example, and the unit's effect on its loss.

    help: minus dLoss/dgate, nats: positive if turning the unit down raises the loss. places: its parts by position of
    the model, which sum to it; for a text these are the positions of `example.tokens`. grid: (rows, columns) of the
    last rows * columns places, if these are the patches of a picture.
    """

    example: ExampleShown
    help: float
    places: list[float] = Field(default=[])
    grid: tuple[int, int] | None = None


class UnitExamplesRequest(Contract):
    """Request for the examples that a unit affects most. unit: its indices, [layer] for layers, else [layer, index]."""

    kind: UnitKind
    unit: list[int] = Field(min_length=1, max_length=2, examples=[[3, 7]])


class UnitExamples(Contract):
    """Examples that a unit affects most among the first `n` scored examples, strongest first."""

    id: str
    status: Status
    error: str | None = None
    run: str
    kind: UnitKind
    unit: list[int]
    n: int = 0
    examples: list[UnitExample] = Field(default=[])
