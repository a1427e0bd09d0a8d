"""How far maps can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field

from modelshapley.contracts.base import Contract, Status
from modelshapley.contracts.runs import Effort, Progress, Run
from modelshapley.contracts.trials import Comparison
from modelshapley.units import UnitKind

Which = Literal["least", "most"]


class CheckRequest(Contract):
    """Check the maps of a finished run, or check them anew."""

    effort: Literal["quick", "full"] = Field(default="quick", description="how thoroughly", examples=["full"])


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
    harm: HarmChoice | None = Field(default=None, description="null for methods that do not keep help and harm apart")


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

    @classmethod
    def unmeasured(cls, run: Run, halves: Mapping[tuple[str, UnitKind], float | None]) -> Self:
        """The report of a run before its check: what is asked for, and how two halves of the probe set agree."""
        asked = run.faithfulness != "none"
        return cls(
            run=run.id,
            effort=run.faithfulness,
            status=Status.QUEUED if asked else Status.DONE,
            progress=Progress(done=0, total=len(run.units) * (len(run.methods) + 1) if asked else 0),
            maps=[
                KindFaithfulness(method=method, unit=kind, halves=halves.get((method, kind)))
                for method in run.methods
                for kind in run.units
            ],
        )

    def answering(self, run: Run) -> Self:
        """This report where it is of the check that the run asks for now; else that check's, yet unmeasured."""
        if self.effort == run.faithfulness:
            return self
        return self.unmeasured(run, {(entry.method, entry.unit): entry.halves for entry in self.maps})
