"""Faithfulness reports: two real ones of the digits ViT, and ones made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelshapley.contracts import (
    Agreement,
    Curve,
    CurvePoint,
    Faithfulness,
    KindFaithfulness,
    RandomCurve,
    Status,
)
from modelshapley.evaluation.intervals import accuracy_interval
from modelshapley.units import UnitKind

REPORTS = Path(__file__).parent / "reports_of_digits"


def real(effort: str) -> Faithfulness:
    """Of the digits ViT by two-sided, model-shapley, path-shapley,points=2 and random; 'quick' or 'full'."""
    return Faithfulness.model_validate_json((REPORTS / f"digits_{effort}.json").read_text())


def point(fraction: float, accuracy: float, n: int = 360, intact: float = 0.98, units: int = 6) -> CurvePoint:
    change = accuracy - intact
    return CurvePoint(
        n=n,
        accuracy=accuracy,
        interval=accuracy_interval(round(accuracy * n), n),
        intact=intact,
        intact_interval=accuracy_interval(round(intact * n), n),
        difference=change,
        difference_interval=(change - 2 / n**0.5, change + 2 / n**0.5),
        fraction=fraction,
        units=units,
    )


def curve(which: Any, accuracy: Mapping[float, float], n: int = 360, **changed: Any) -> Curve:
    points = [point(fraction, value, n, **changed) for fraction, value in accuracy.items()]
    return Curve(which=which, points=points, area=0.9)


def chance(ranges: Mapping[float, tuple[float, float]], draws: int = 5) -> RandomCurve:
    """ranges: {fraction: (lowest, highest)}."""
    return RandomCurve(
        unit=UnitKind.HEAD,
        fractions=list(ranges),
        accuracy=[(low + high) / 2 for low, high in ranges.values()],
        lowest=[low for low, _ in ranges.values()],
        highest=[high for _, high in ranges.values()],
        draws=draws,
        area=0.6,
    )


def agreement(rho: float | None, units: int = 48, reliability: float | None = 0.9) -> Agreement:
    return Agreement(rho=rho, reliability=reliability, units=units, examples=64, coalitions=8)


def made(
    random: RandomCurve | None = None, status: Status = Status.DONE, error: str | None = None, **entry: Any
) -> Faithfulness:
    """A report of one map of heads by two-sided."""
    return Faithfulness(
        run="r",
        effort="full",
        status=status,
        progress={"done": 1, "total": 2},
        error=error,
        maps=[KindFaithfulness(method="two-sided", unit=UnitKind.HEAD, **entry)],
        random=[] if random is None else [random],
    )
