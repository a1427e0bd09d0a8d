"""The benchmark of many workers, at a small size: every run once, keys in turns, figures that can be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.scale import fairness, measure


def begun(keys: str) -> list[dict[str, str]]:
    return [{"key": key} for key in keys]


def test_fairness_counts_until_a_key_has_nothing_waiting() -> None:
    assert fairness(begun("abababab")) == pytest.approx(1.0, abs=0.1)
    assert fairness(begun("aaaaaaaab" + "a")) == 0.5  # all to one of two
    assert fairness(begun("ab")) is None  # nobody had to wait


@pytest.mark.slow  # simulates seconds of work
def test_a_small_cluster(tmp_path: Path) -> None:
    found = measure(4, 60, 0.2, tmp_path, f"sqlite:///{tmp_path}/records.db")
    assert found["once"]
    assert found["workers_used"] == 4
    assert found["fairness"] > 0.8
    assert found["wait_s"]["others"]["p50"] < found["wait_s"]["first"]["p50"]
    assert 0.1 < found["used"] < 1
    assert 0 < found["between_ms"]["p50"] < 1000
    assert 20 < found["redis_commands"] < 1000
