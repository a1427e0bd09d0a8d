"""Maps are compared, and never silently across tasks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from modelshapley.errors import ModelShapleyError
from modelshapley.maps.compare import (
    Tops,
    compare_maps,
    correlation_interval,
    differences,
    rank_at,
    rank_correlation,
    shares,
    top_places,
)
from modelshapley.maps.importance import ImportanceMap
from modelshapley.units import UnitKind
from tests.support.command_line import run

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(4, 50))
PROVENANCE = {"model": "m", "task": "t", "task_fingerprint": "f", "seed": 0, "n": 8, "method": "two-sided"}


def a_map(scores: np.ndarray = SCORES, kind: UnitKind = UnitKind.NEURON, **changed: object) -> ImportanceMap:
    return ImportanceMap(
        method="two-sided",
        quantity="nats",
        signed=False,
        scores={kind: scores},
        standard_errors={kind: np.zeros_like(scores)},
        provenance=PROVENANCE | changed,
    )


def test_a_map_is_like_itself_and_unlike_its_reverse() -> None:
    (same,) = compare_maps(a_map(), a_map())
    assert same.rho == pytest.approx(1)
    assert (same.units, set(same.overlap.values())) == (200, {1.0})
    (reverse,) = compare_maps(a_map(), a_map(-SCORES))
    assert reverse.rho == pytest.approx(-1)
    assert reverse.overlap[0.05] == 0


def test_overlap_by_chance_is_the_share() -> None:
    pairs = [compare_maps(a_map(RNG.normal(size=(4, 50))), a_map())[0].overlap[0.20] for _ in range(300)]
    assert np.mean(pairs) == pytest.approx(0.20, abs=0.02)


def test_places_without_a_unit_do_not_count() -> None:
    ragged = SCORES.copy()
    ragged[0, 40:] = np.nan
    (found,) = compare_maps(a_map(ragged), a_map())
    assert found.units == 190
    assert found.rho == pytest.approx(1)


def test_maps_of_different_fingerprints_are_refused_unless_asked_for() -> None:
    other = a_map(task_fingerprint="g", seed=1)
    with pytest.raises(ModelShapleyError, match=r"seed 0 and 1.*--anyway"):
        compare_maps(a_map(), other)
    assert compare_maps(a_map(), other, anyway=True)[0].rho == pytest.approx(1)
    assert differences(a_map(), other) == {"task_fingerprint": ("f", "g"), "seed": (0, 1)}


def test_what_cannot_be_compared_is_named() -> None:
    with pytest.raises(ModelShapleyError, match=r"\(4, 50\) and \(4, 10\)"):
        compare_maps(a_map(), a_map(SCORES[:, :10]))
    with pytest.raises(ModelShapleyError, match="neurons in the first, heads in the second"):
        compare_maps(a_map(), a_map(kind=UnitKind.HEAD))
    assert compare_maps(a_map(), a_map(np.ones((4, 50))))[0].rho is None


def test_on_the_command_line(tmp_path: Path) -> None:
    a_map().save(tmp_path / "a.safetensors")
    replace(a_map(task_fingerprint="g"), method="mean-abs").save(tmp_path / "b.safetensors")
    refused = run("compare", str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors"), cwd=tmp_path)
    assert refused.returncode == 1
    assert "different tasks" in refused.stderr
    told = run("compare", str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors"), "--anyway", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert "200 neurons: Spearman 1.000" in told.stdout


def test_the_interval_of_a_correlation_holds_the_truth_and_is_wide_for_few_units() -> None:
    """Pairs with a known rank correlation: 95 % intervals hold it in about as many samples."""
    true = 6 / np.pi * np.arcsin(0.6 / 2)  # Spearman's, of a normal pair with Pearson's 0.6
    for n in (8, 50):
        held = 0
        for _ in range(400):
            a = RNG.normal(size=n)
            rho = rank_correlation(a, 0.6 * a + 0.8 * RNG.normal(size=n))
            assert rho is not None
            low, high = correlation_interval(rho, n)
            held += low <= true <= high
        assert held >= 0.92 * 400
    assert correlation_interval(1.0, 4)[0] < 0
    assert correlation_interval(1.0, 3) == (-1.0, 1.0)
    assert correlation_interval(1.0, 48)[0] > 0.9


def test_what_is_shared_by_chance() -> None:
    pairs = [Tops.of(RNG.normal(size=(4, 50)), SCORES, 0.1).overlap for _ in range(300)]
    (low, high) = pairs[0].by_chance
    assert np.mean([p.both for p in pairs]) == pytest.approx(pairs[0].expected, abs=0.3)
    assert np.mean([low <= p.both <= high for p in pairs]) >= 0.95
    assert (pairs[0].k, pairs[0].expected) == (20, 2.0)
    assert Tops.of(SCORES, SCORES, 0.001).overlap.k == 1


def test_units_of_one_map_only() -> None:
    a = np.array([[9.0, 8, 1, 2], [7, 3, np.nan, 0]])
    b = np.array([[9.0, 0, 1, 2], [8, 7, np.nan, 3]])
    assert top_places(a, 0.5).tolist() == [0, 1, 4, 5]
    found = Tops.of(a, b, 3 / 7)
    assert [places.tolist() for places in (found.both, found.only_first, found.only_second, found.neither)] == [
        [0, 4],
        [1],
        [5],
        [2, 3, 7],
    ]
    assert Tops.of(a, a, 0.5).only_first.tolist() == []


def test_ranks_of_equal_scores_follow_unit_order() -> None:
    assert [rank_at(np.array([[2.0, 3], [2, np.nan]]), place) for place in range(3)] == [2, 1, 3]


def test_shares_add_up_to_one_and_keep_signs() -> None:
    found = shares(np.array([3.0, -1.0, np.nan]))
    assert found[:2].tolist() == [0.75, -0.25]
    assert np.isnan(found[2])
    assert shares(np.zeros(3)).tolist() == [0, 0, 0]
