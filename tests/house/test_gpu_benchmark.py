"""The benchmark for GPUs runs where nothing but torch and transformers is installed; here at toy sizes on the CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.support.on_device import agreeing
from tests.support.packages import run_alone


@pytest.mark.slow  # imports torch in fresh processes
def test_it_runs_with_torch_and_transformers_alone(tmp_path: Path) -> None:
    run = run_alone(tmp_path, "torch", "transformers")
    assert run("-c", "import scipy").returncode == 1
    answer = run("-m", "benchmarks.gpu", "--device", "cpu", "--rounds", "1", "--json")
    assert answer.returncode == 0, answer.stderr
    *lines, last = map(json.loads, answer.stdout.splitlines())
    assert {name: part for line in lines for name, part in line.items()}.items() <= last.items()
    parts = {name: part for name, part in last.items() if isinstance(part, dict)}
    assert {*parts} == {"equality_toy", "cuda_tests", "scoring_toy", "trials_toy", "writing_toy"}
    assert not [part for part in parts.values() if "error" in part]
    assert last["skipped"] == []
    for dtype in ("float32", "bfloat16"):
        assert parts["equality_toy"][dtype]["within_bounds"]
    assert 0.5 < parts["scoring_toy"]["overhead"] < 5
    assert parts["scoring_toy"]["peak_ratio"] < 2
    assert parts["trials_toy"]["refused"] is None
    assert parts["trials_toy"]["max_difference"] == 0 < parts["trials_toy"]["min_effect"]
    assert parts["writing_toy"]["equal_tokens"] == 1
    late = run("-m", "benchmarks.gpu", "--device", "cpu", "--minutes", "0")
    assert json.loads(late.stdout)["skipped"] == ["equality_toy", "cuda_tests", "toy"]
    without = run("-m", "benchmarks.gpu")
    assert without.returncode == 2
    assert "--device cpu" in without.stderr


def test_tokens_agree_up_to_the_first_that_differs() -> None:
    assert agreeing([1, 2, 3], [1, 2, 3]) == 3
    assert agreeing([1, 2, 3], [1, 4, 3]) == 1
    assert agreeing([1, 2], [1, 2, 3]) == 2
