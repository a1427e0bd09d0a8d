"""What is told about single examples: of a deactivation, and of a unit. Torch-free."""

from __future__ import annotations

from pydantic import Field

from modelshapley.contracts import Comparison, Contract, Status
from modelshapley.contracts.tasks import ExampleShown
from modelshapley.units import UnitKind


class ClassChange(Comparison):
    """Accuracy on the examples of one class, before and after, as :class:`Comparison`."""

    label: str


class Flip(Contract):
    """A test example whose answer is not as right as it was. before, after: how right it was, 0 to 1; said: the
    model's answer in words, null for tasks whose answers are no words."""

    example: ExampleShown
    before: float
    after: float
    said_before: str | None = None
    said_after: str | None = None


class TrialDetails(Contract):
    """Behind a trial's accuracy: classes, and examples that flipped, on its first `n` test examples.

    classes: by how much they lost, most first; empty for tasks without classes. lost, gained: how many examples
    are less, or more, right than before; flips: the first of them, lost ones first.
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
    """A probe example, and what the unit did to its loss.

    help: minus dLoss/dgate, nats: positive where turning the unit down raises the loss. places: the same by
    position of the model, which add up to it; of a text the positions of `example.tokens`. grid: (rows, columns)
    of the last rows * columns places where they are the patches of a picture.
    """

    example: ExampleShown
    help: float
    places: list[float] = Field(default=[])
    grid: tuple[int, int] | None = None


class UnitExamplesRequest(Contract):
    """unit: indices of a unit of this kind, [layer] for layers, else [layer, index]."""

    kind: UnitKind
    unit: list[int] = Field(min_length=1, max_length=2, examples=[[3, 7]])


class UnitExamples(Contract):
    """Of the first `n` scored examples, those on which a unit did most, strongest first."""

    id: str
    status: Status
    error: str | None = None
    run: str
    kind: UnitKind
    unit: list[int]
    n: int = 0
    examples: list[UnitExample] = Field(default=[])
