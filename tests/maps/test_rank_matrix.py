"""Several maps: the correlations are scipy's, pair by pair, and a map that cannot be compared is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from modelshapley.maps.rank_matrix import rank_correlations, rank_matrix
from modelshapley.units import UnitKind
from tests.maps.test_compare import a_map
from tests.support.command_line import run

RNG = np.random.default_rng(1)
# Rounded, so that there are ties.
SCORES = [np.round(RNG.normal(size=(4, 50)), 1) for _ in range(4)]


def test_correlations_are_those_of_scipy() -> None:
    found = np.array(rank_correlations(SCORES), dtype=float)
    expected = spearmanr(np.stack([scores.reshape(-1) for scores in SCORES], axis=1)).statistic
    assert found == pytest.approx(expected, abs=1e-12)
    assert np.diag(found).tolist() == [1.0] * 4


def test_units_that_one_map_lacks_count_in_its_pairs_only() -> None:
    ragged = SCORES[0].copy()
    ragged[2, 30:] = np.nan
    there = np.isfinite(ragged)
    found = rank_correlations([ragged, SCORES[1], SCORES[2]])
    assert found[0][1] == pytest.approx(spearmanr(ragged[there], SCORES[1][there]).statistic)
    assert found[1][2] == pytest.approx(spearmanr(SCORES[1].reshape(-1), SCORES[2].reshape(-1)).statistic)


def test_a_constant_map_has_no_correlation() -> None:
    assert rank_correlations([SCORES[0], np.ones((4, 50))]) == [[1.0, None], [None, None]]


def test_maps_of_another_shape_or_kind_are_left_out_with_the_reason() -> None:
    maps = {
        "wide": a_map(np.ones((4, 60))),
        "one": a_map(SCORES[0]),
        "two": a_map(SCORES[1]),
        "heads": a_map(SCORES[2], kind=UnitKind.HEAD),
        "absent": None,
    }
    matrix = rank_matrix(maps, UnitKind.NEURON)
    assert matrix.names == ["one", "two"]
    assert matrix.refused == {
        "wide": "its neurons are 4 x 60 (layers x units), not 4 x 50",
        "heads": "it has no scores of neurons",
        "absent": "it has no scores of neurons",
    }
    assert matrix.rho[0][1] == pytest.approx(spearmanr(SCORES[0].reshape(-1), SCORES[1].reshape(-1)).statistic)


def test_on_the_command_line(tmp_path: Path) -> None:
    for name, importance_map in (
        ("a", a_map(SCORES[0])),
        ("b", a_map(SCORES[1])),
        ("c", a_map(SCORES[2], task_fingerprint="g")),
        ("wide", a_map(np.ones((4, 60)))),
    ):
        importance_map.save(tmp_path / name)
    refused = run("compare", "a", "b", "c", cwd=tmp_path)
    assert refused.returncode == 1
    assert "[1] a and [3] c are of different tasks" in refused.stderr
    answer = run("compare", "a", "b", "c", "wide", "--anyway", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    rho = spearmanr(SCORES[0].reshape(-1), SCORES[1].reshape(-1)).statistic
    assert f"[1] a  1.000{rho:7.3f}" in answer.stdout
    assert "[4] wide is left out: its neurons are 4 x 60" in answer.stdout
    few = run("compare", "a", cwd=tmp_path)
    assert "Name two to 8 files of maps, not 1." in few.stderr
