"""Faithfulness: how far maps can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal, Self

from pydantic import Field

from modelshapley.contracts.base import Contract, Status
from modelshapley.contracts.runs import Effort, Progress, Run
from modelshapley.contracts.trials import Comparison
from modelshapley.units import UnitKind

Which = Literal["least", "most"]
Outcome = Literal["passed", "inconclusive", "failed"]


class CheckRequest(Contract):
    """Request to check the maps of a finished run, or to check them again."""

    effort: Literal["quick", "full"] = Field(default="quick", description="how thoroughly", examples=["full"])


class CurvePoint(Comparison):
    """Accuracy with this fraction of a kind's units off, `units` of them."""

    fraction: float
    units: int


class Curve(Contract):
    """Accuracy on held-out examples as the least or the most important units are switched off.

    `area`: mean accuracy over the fractions from 0 to the last, with straight lines between the points; a better map
    has a higher area for 'least' and a lower one for 'most'.
    """

    which: Which
    points: list[CurvePoint]
    area: float


class Agreement(Contract):
    """Spearman correlation of the scores with sampled Shapley values on a random subset of the units.

    The sampled values are marginal utilities in random coalitions, by switching units off, on probe examples.
    `reliability` is that of the sampled values (their halves' correlation stepped up to full length by Spearman and
    Brown): rho is not expected above its square root. Values are null where they are undefined, as when all scores
    are equal.
    """

    rho: float | None
    reliability: float | None
    units: int
    examples: int
    coalitions: int = Field(description="of each example")


class Efficiency(Contract):
    """Efficiency: Shapley values of a kind sum to U(all on) - U(all off), nats; U is minus the mean loss when
    scoring.
    """

    scores: float = Field(description="sum of the scores")
    measured: float = Field(description="U(all on) - U(all off), by switching off")
    gap: float = Field(description="(sum of the scores - measured) / |measured|")


class HarmChoice(Contract):
    """Choice of the weight of harm that keeps most accuracy as the least important units go, on probe examples.

    `areas`: area under the curve of each of `harms`. `offered`: the best of them; among equals, the nearest to the
    method's own. It is chosen on the scored examples, so the curves on held-out ones are an unbiased test.
    """

    harms: list[float]
    areas: list[float]
    offered: float
    n: int


class Mark(StrEnum):
    """How far a map can be trusted."""

    RELIABLE = "reliable"
    PRELIMINARY = "preliminary"
    PARTLY = "partly reliable"
    UNRELIABLE = "unreliable"
    UNCHECKED = "not checked"

    @property
    def shape(self) -> str:
        """A symbol that distinguishes the marks without colour."""
        return {"reliable": "●", "preliminary": "◌", "partly reliable": "◐", "unreliable": "○", "not checked": "?"}[
            self.value
        ]


class Finding(Contract):
    """A test and its outcome, as a short sentence and as a full one with n and intervals."""

    name: str = Field(examples=["Removing the least important"])
    outcome: Outcome
    short: str
    full: str


class Verdict(Contract):
    """A mark and a short summary with the finding that decides, and all findings."""

    mark: Mark
    sentence: str
    findings: list[Finding] = []


class KindFaithfulness(Contract):
    """Measurements for one kind of unit of one map; null where not measured yet, or not applicable."""

    method: str
    unit: UnitKind
    halves: float | None = Field(default=None, description="Spearman correlation of two halves of the probe set")
    least: Curve | None = None
    most: Curve | None = None
    agreement: Agreement | None = None
    efficiency: Efficiency | None = Field(default=None, description="null for scores that need not sum to the loss")
    harm: HarmChoice | None = Field(
        default=None, description="null for methods that do not store help and harm separately"
    )
    verdict: Verdict | None = Field(
        default=None,
        description="judgement on the map from the measurements so far; the API fills it in, stored reports lack it",
    )


class RandomCurve(Contract):
    """Accuracy as units are switched off in random order, which a map has to beat; mean over `draws` orders."""

    unit: UnitKind
    fractions: list[float]
    accuracy: list[float]
    lowest: list[float]
    highest: list[float]
    draws: int
    area: float


class Faithfulness(Contract):
    """Report on how faithful the maps of a run are, measured by switching units off.

    Measurements use held-out examples, except `agreement` and `efficiency`, which concern the loss on the scored ones.
    """

    run: str
    effort: Effort
    status: Status
    progress: Progress = Field(description="measurements made, and their total")
    error: str | None = None
    maps: list[KindFaithfulness] = []
    random: list[RandomCurve] = []

    @classmethod
    def unmeasured(cls, run: Run, halves: Mapping[tuple[str, UnitKind], float | None]) -> Self:
        """Return the report of a run before its check: its scope, and how two halves of the probe set agree."""
        requested = run.faithfulness != "none"
        return cls(
            run=run.id,
            effort=run.faithfulness,
            status=Status.QUEUED if requested else Status.DONE,
            progress=Progress(done=0, total=len(run.units) * (len(run.methods) + 1) if requested else 0),
            maps=[
                KindFaithfulness(method=method, unit=kind, halves=halves.get((method, kind)))
                for method in run.methods
                for kind in run.units
            ],
        )

    def answering(self, run: Run) -> Self:
        """Return this report if it belongs to the check that the run now requests; else an unmeasured one of that
        check.
        """
        if self.effort == run.faithfulness:
            return self
        return self.unmeasured(run, {(entry.method, entry.unit): entry.halves for entry in self.maps})
