"""A verdict trusts what is clear, doubts what is not, and says what it rests on."""

from __future__ import annotations

from typing import Any

import pytest

from modelshapley.contracts import Mark, RandomCurve, Status, Verdict
from modelshapley.evaluation.intervals import accuracy_interval
from modelshapley.evaluation.verdict import LEAST_TEST, SHAPLEY_TEST, random_ranges, verdict
from modelshapley.units import UnitKind
from tests.support.reports import agreement, chance, curve, made, real

HEAD = UnitKind.HEAD
GOOD = {0.2: 0.98, 0.4: 0.96, 0.6: 0.94}
RANDOM = {0.2: (0.8, 0.9), 0.4: (0.4, 0.5), 0.6: (0.1, 0.2)}


def of_heads(random: RandomCurve | None = None, **values: Any) -> Verdict:
    return verdict(made(random, **values), "two-sided", HEAD)


def outcomes(found: Verdict) -> dict[str, str]:
    return {finding.name: finding.outcome for finding in found.findings}


def test_real_maps_that_are_known_to_be_good_and_bad() -> None:
    report = real("full")
    heads = {m: verdict(report, m, HEAD).mark for m in ("two-sided", "path-shapley,points=2", "random")}
    assert heads == {"two-sided": Mark.RELIABLE, "path-shapley,points=2": Mark.RELIABLE, "random": Mark.PARTLY}
    neurons = {m: verdict(report, m, UnitKind.NEURON).mark for m in ("two-sided", "model-shapley", "random")}
    assert neurons == {"two-sided": Mark.RELIABLE, "model-shapley": Mark.UNRELIABLE, "random": Mark.UNRELIABLE}


def test_a_sentence_rests_on_the_numbers_of_the_report() -> None:
    report = real("full")
    entry = next(e for e in report.maps if (e.method, e.unit) == ("two-sided", HEAD))
    point = next(p for p in entry.least.points if p.fraction == 0.4)
    random = next(r for r in report.random if r.unit is HEAD)
    at = random.fractions.index(0.4)
    assert verdict(report, "two-sided", HEAD).sentence == (
        f"This ranking of heads is reliable. Accuracy {100 * point.accuracy:.1f} % ({point.n} examples) with the "
        f"40 % least important off, compared with {100 * random.accuracy[at]:.1f} % in random order."
    )


def test_random_order_is_never_reliable() -> None:
    for effort in ("quick", "full"):
        for kind in (HEAD, UnitKind.NEURON, UnitKind.LAYER):
            found = verdict(real(effort), "random", kind)
            assert found.mark is not Mark.RELIABLE
            assert "is reliable" not in found.sentence


def test_few_examples_turn_reliable_into_partly_reliable() -> None:
    """The same accuracies on 360 and on 24 examples: then the intervals overlap."""
    values = {"agreement": agreement(0.9)}
    random = chance(dict.fromkeys(GOOD, (0.78, 0.82)), draws=3)
    many = of_heads(random, least=curve("least", GOOD), **values)
    few = of_heads(random, least=curve("least", GOOD, n=24), **values)
    assert (many.mark, few.mark) == (Mark.RELIABLE, Mark.PARTLY)
    assert outcomes(few)[LEAST_TEST] == "inconclusive"


def test_random_draws_that_lie_far_apart_turn_reliable_into_partly_reliable() -> None:
    wide = chance(dict.fromkeys(GOOD, (0.2, 0.94)))
    found = of_heads(wide, least=curve("least", GOOD), agreement=agreement(0.9))
    assert found.mark is Mark.PARTLY
    assert "not clearly higher" in found.sentence


def test_a_sentence_is_true_of_the_share_it_quotes_where_shares_disagree() -> None:
    """Clear at the 40 % that are quoted, open at the other two; and the other way round."""
    random = chance({0.2: (0.8, 0.94), 0.4: (0.4, 0.5), 0.6: (0.6, 0.8)})
    mostly_open = of_heads(random, least=curve("least", {0.2: 0.95, 0.4: 0.9, 0.6: 0.75}))
    assert "higher than in random order (45.0 %), but clearly so at only 1 of 3 shares" in mostly_open.sentence
    mostly_bad = of_heads(random, least=curve("least", {0.2: 0.8, 0.4: 0.9, 0.6: 0.6}))
    assert "compared with 45.0 % in random order, but no better at 2 of 3 shares" in mostly_bad.sentence
    assert mostly_bad.mark is Mark.UNRELIABLE


def test_few_units_turn_agreement_into_doubt() -> None:
    random = chance(RANDOM)
    least = curve("least", GOOD)
    assert of_heads(random, least=least, agreement=agreement(0.75)).mark is Mark.RELIABLE
    few = of_heads(random, least=least, agreement=agreement(0.75, units=5))
    assert few.mark is Mark.PARTLY
    assert outcomes(few)[SHAPLEY_TEST] == "inconclusive"
    assert outcomes(of_heads(random, least=least, agreement=agreement(1.0, units=4)))[SHAPLEY_TEST] == "inconclusive"


def test_a_noisy_sample_of_shapley_values_tells_nothing() -> None:
    for reliability in (None, 0.3):
        found = of_heads(chance(RANDOM), least=curve("least", GOOD), agreement=agreement(-0.9, 48, reliability))
        assert outcomes(found)[SHAPLEY_TEST] == "inconclusive"


def test_disagreement_is_unreliable_unless_something_else_speaks_for_the_map() -> None:
    against = agreement(-0.2)
    assert of_heads(agreement=against).mark is Mark.UNRELIABLE
    assert of_heads(chance(RANDOM), least=curve("least", GOOD), agreement=against).mark is Mark.PARTLY


def test_an_order_no_better_than_random_is_unreliable_whatever_else_is_passed() -> None:
    bad = curve("least", {f: low - 0.05 for f, (low, _) in RANDOM.items()})
    found = of_heads(chance(RANDOM), least=bad, agreement=agreement(0.95))
    assert found.mark is Mark.UNRELIABLE
    assert "no better than in random order (45.0 %)" in found.sentence


def test_where_random_orders_cost_nothing_nothing_is_told() -> None:
    harmless = chance(dict.fromkeys(GOOD, (0.97, 0.98)))
    found = of_heads(harmless, least=curve("least", GOOD))
    assert found.mark is Mark.PARTLY
    assert "random orders cost nothing significant either" in found.sentence


def test_the_most_important_count_by_their_own_loss_where_random_orders_were_not_measured() -> None:
    random = chance(RANDOM)
    values = {"least": curve("least", GOOD), "agreement": None}
    lost = of_heads(random, most=curve("most", {0.05: 0.7}), **values)
    kept = of_heads(random, most=curve("most", {0.05: 0.97}), **values)
    assert (lost.mark, kept.mark) == (Mark.RELIABLE, Mark.PARTLY)


def test_too_few_units_for_a_share_are_said() -> None:
    found = of_heads(chance(RANDOM), least=curve("least", GOOD), most=curve("most", {0.05: 0.98}, units=0))
    assert "too few units to switch 5 % off" in found.sentence


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "This ranking of heads is not checked."),
        ({"halves": 0.5}, "Two halves of the probe set agree with ρ 0.50."),
        ({"status": Status.RUNNING}, "not checked yet. The check is still in progress."),
        ({"status": Status.FAILED, "error": "no"}, "The check stopped before it reached them."),
    ],
)
def test_what_is_not_checked_is_said_to_be_so(values: dict[str, Any], words: str) -> None:
    found = of_heads(**values)
    assert found.mark is Mark.UNCHECKED
    assert words in found.sentence
    assert verdict(made(), "mean-abs", HEAD).mark is Mark.UNCHECKED


def test_a_verdict_of_a_check_in_progress_is_preliminary() -> None:
    found = of_heads(agreement=agreement(0.9), status=Status.RUNNING)
    assert found.sentence.startswith("Preliminary (1 of 2 measurements). This ranking of heads is")


@pytest.mark.parametrize(
    ("draws", "reliability", "status", "reason"),
    [
        (1, 0.9, Status.DONE, "only one random order was measured"),
        (2, 0.9, Status.DONE, "only 2 random orders were measured"),
        (3, 0.0, Status.DONE, "the sampled Shapley values are too noisy to compare"),
        (3, 0.9, Status.RUNNING, "1 of 2 measurements"),
    ],
)
def test_thin_evidence_makes_a_reliable_map_preliminary(
    draws: int, reliability: float, status: Status, reason: str
) -> None:
    values = {"least": curve("least", GOOD), "most": curve("most", {0.05: 0.7}), "status": status}
    found = of_heads(chance(RANDOM, draws), agreement=agreement(0.9, reliability=reliability), **values)
    assert found.mark is Mark.PRELIMINARY
    assert reason in found.sentence
    assert "is reliable" not in found.sentence
    assert outcomes(found)[LEAST_TEST] == "passed"
    solid = of_heads(chance(RANDOM, 3), agreement=agreement(0.9), **(values | {"status": Status.DONE}))
    assert solid.mark is Mark.RELIABLE


def test_thin_evidence_excuses_nothing() -> None:
    bad = curve("least", {f: low - 0.05 for f, (low, _) in RANDOM.items()})
    assert of_heads(chance(RANDOM, 1), least=bad, agreement=agreement(0.95)).mark is Mark.UNRELIABLE


def test_the_reach_of_random_orders_holds_their_own_uncertainty() -> None:
    (found,) = random_ranges(chance({0.4: (0.5, 0.5)}, draws=1), curve("least", {0.4: 0.9}, n=48))
    assert (found.low, found.high) == accuracy_interval(24, 48)


def test_marks_differ_in_shape() -> None:
    assert len({mark.shape for mark in Mark}) == len(Mark)
