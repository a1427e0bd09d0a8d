"""What the line above the map says."""

from __future__ import annotations

from typing import Any

from frontend.pages.trust.summary import line
from modelshapley.contracts import (
    Agreement,
    Curve,
    CurvePoint,
    Faithfulness,
    HarmChoice,
    KindFaithfulness,
    RandomCurve,
)
from modelshapley.units import UnitKind


def report(**values: Any) -> Faithfulness:
    entry = KindFaithfulness(method="two-sided", unit=UnitKind.HEAD, halves=0.912, **values)
    other = KindFaithfulness(method="two-sided", unit=UnitKind.NEURON)
    chance = RandomCurve(
        unit=UnitKind.HEAD, fractions=[0.4], accuracy=[0.5], lowest=[0.4], highest=[0.6], draws=2, area=0.7
    )
    progress = {"done": 2, "total": 4}
    return Faithfulness(
        run="r", effort="quick", status="running", progress=progress, maps=[entry, other], random=[chance]
    )


def text(found: Any) -> str:
    *said, link, details = found
    assert link.href.startswith("/runs/r/trust?method=two-sided")
    figures = [] if details is None else [item.children for item in details.children[1].children]
    return "".join(part if isinstance(part, str) else part.children for part in said) + " · ".join(figures)


def test_everything_measured_is_told_with_its_n() -> None:
    interval = (0.0, 1.0)
    point = CurvePoint(
        n=48,
        accuracy=0.875,
        interval=interval,
        intact=0.9,
        intact_interval=interval,
        difference=-0.025,
        difference_interval=(-0.1, 0.05),
        fraction=0.4,
        units=6,
    )
    told = text(
        line(
            report(
                least=Curve(which="least", points=[point], area=0.9),
                agreement=Agreement(rho=-0.5, reliability=0.8, units=12, examples=16, coalitions=4),
                harm=HarmChoice(harms=[0, 0.75], areas=[0.5, 0.6], offered=0.75, n=48),
            ),
            "two-sided",
            "two-sided,harm=0.25",
            UnitKind.HEAD,
        )
    )
    assert told.replace("\u00a0", " ") == (
        "Trust in this head ranking: ○ unreliable. Preliminary (2 of 4 measurements). This ranking of heads is "
        "unreliable. Scores disagree with sampled Shapley values (ρ −0.50, reliability 0.80). "
        "ρ −0.50 with sampled Shapley values (12 units, reliability 0.80) · "
        "ρ 0.91 between two halves of the probe set · accuracy 87.5 % (48 examples) with the 40 % least important off, "
        "50.0 % in random order · best discount on the probe set: h = 0.75 · measured with the map as it was scored"
    )


def test_what_is_not_measured_is_left_out() -> None:
    assert "halves" in text(line(report(), "two-sided", "two-sided", UnitKind.HEAD))
    assert text(line(report(), "two-sided", "two-sided", UnitKind.NEURON)) == (
        "Trust in this neuron ranking: This ranking of neurons is not checked yet. The check is still in progress. "
    )
