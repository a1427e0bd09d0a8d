"""Cards of the page Apply: what they say of numbers, and where they draw them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from frontend.pages.apply.apply_view import cards
from frontend.pages.apply.use_views import Line, amplified, quantised, strips
from modelshapley.contracts import Comparison, Measured, Progress, Status
from modelshapley.contracts.applications.derived import Derived
from modelshapley.contracts.applications.quantising import QuantisedInfo
from modelshapley.contracts.applications.reports import AmplifiedPoint, AmplifyReport
from modelshapley.units import UnitKind

TRIAL = Comparison(
    n=40,
    accuracy=0.8,
    interval=(0.7, 0.9),
    intact=0.9,
    intact_interval=(0.8, 0.95),
    difference=-0.1,
    difference_interval=(-0.2, -0.01),
)


def text_of(component: Any) -> str:
    return json.dumps(component.to_plotly_json(), default=lambda part: part.to_plotly_json())


def point(factor: float, against_intact: float, against_random: float) -> AmplifiedPoint:
    chosen = TRIAL.model_copy(update={"difference_interval": (against_intact, against_intact + 0.1)})
    return AmplifiedPoint(
        factor=factor,
        chosen=chosen,
        random=[0.62, 0.7],
        random_mean=0.66,
        chosen_minus_random=0.1,
        random_interval=(against_random, against_random + 0.1),
    )


def test_a_factor_is_better_only_if_it_beats_the_intact_model_and_random_units() -> None:
    report = AmplifyReport(
        model="m",
        task="t",
        units={UnitKind.HEAD: 2},
        seed=0,
        intact=Measured(accuracy=0.9, interval=(0.8, 0.95), n=40),
        points=[point(1.1, 0.01, -0.05), point(1.2, 0.01, 0.01), point(1.3, -0.05, 0.01)],
    )
    assert "Better than intact and than random units: times 1.2." in text_of(amplified(report))
    worse = report.model_copy(update={"points": report.points[:1]})
    assert "No factor is better than both" in text_of(amplified(worse))


def test_lines_begin_below_the_lowest_number() -> None:
    shown = text_of(strips([Line("chosen", 0.9, (0.8, 1.0)), Line("random", 0.66, None, [0.62])]))
    assert '"60 %"' in shown
    assert '"left": "75.00%"' in shown  # 0.9 between 0.6 and 1
    assert '"width": "50.00%"' in shown  # of the interval
    assert '"left": "5.00%"' in shown  # the draw
    everywhere_right = text_of(strips([Line("all", 1.0, (1.0, 1.0))]))
    assert "inf" not in everywhere_right


def test_a_quantised_model_says_what_was_only_rounded() -> None:
    info = QuantisedInfo(
        parent="demo:smollm2-135m",
        parent_revision="0" * 40,
        family="llama",
        task="gsm8k",
        task_fingerprint="f",
        seed=0,
        versions={},
        created=datetime.now(UTC),
        scheme="paper-algorithm-1",
        group=64,
        calibration=64,
        maps=210,
        fallbacks=125,
        bytes=10,
        parent_bytes=40,
        reload_max_logit_difference=0.0,
        loss=2.5,
        parent_loss=2.0,
        loss_difference=0.5,
        loss_interval=(0.4, 0.6),
        trial=TRIAL,
    )
    shown = text_of(quantised(info))
    assert "125 of 210 maps were only rounded" in shown
    assert "+0.5000 (+0.4000 to +0.6000) against the parent's 2.00" in shown
    assert "Fallbacks" not in text_of(quantised(info.model_copy(update={"fallbacks": 0})))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"status": Status.QUEUED}, "Waiting for a worker \\u2026"),
        (
            {"status": Status.RUNNING, "step": "Training: random", "progress": Progress(done=5, total=9, eta_s=40.0)},
            "Training: random (5 of 9), about 40 s left \\u2026",
        ),
        (
            {"status": Status.RUNNING, "step": "Measuring the parent", "progress": Progress(done=5, total=9)},
            '"Measuring the parent \\u2026"',
        ),
        ({"status": Status.FAILED, "error": "It needs a GPU."}, "It needs a GPU."),
        ({"status": Status.CANCELLED}, "Delete"),
    ],
)
def test_a_card_says_how_far_it_is(values: dict[str, Any], sentence: str) -> None:
    derived = Derived(
        id="d",
        use="finetune",
        name="tuned",
        model="derived:tuned",
        run="r",
        parent="m",
        task="t",
        most={UnitKind.NEURON: 0.1},
        off={},
        created=datetime.now(UTC),
        **{"progress": Progress(done=0, total=0)} | values,
    )
    shown = text_of(cards([derived], {}, "http://127.0.0.1"))
    assert sentence in shown
    assert "fine-tuned, 10 % of the neurons" in shown
