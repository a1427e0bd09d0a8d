"""The benchmark of training and quantising on a GPU, as a toy on the CPU; and its packing, counted by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.gpu_applications import TOY, Bench, from_4_bits, measure_bytes, one_step, to_4_bits, to_fp8
from tests.support.packages import run_alone

GPU = ("-m", "benchmarks.gpu_applications")


@pytest.mark.slow  # imports torch in fresh processes
def test_it_runs_with_torch_and_transformers_alone(tmp_path: Path) -> None:
    run = run_alone(tmp_path, "torch", "transformers")
    answer = run(*GPU, "--device", "cpu", "--rounds", "1", "--json")
    assert answer.returncode == 0, answer.stderr
    *lines, last = map(json.loads, answer.stdout.splitlines())
    assert [*lines[0], *lines[1], *lines[2]] == ["bytes", "gradients", "training"]
    assert last["training"]["targeted"]["ratio"] > 0
    assert last["training"]["full"]["trained"] == last["parameters"]
    assert last["gradients"]["gradient_max_relative"] <= 0.01
    assert last["skipped"] == []
    late = json.loads(run(*GPU, "--device", "cpu", "--minutes", "0").stdout)
    assert late["skipped"] == ["bytes", "gradients", "training"]
    without = run(*GPU)
    assert without.returncode == 2
    assert "--device cpu" in without.stderr


def test_four_bits_are_the_nearest_values_and_weigh_what_is_counted() -> None:
    weight = torch.randn(6, 128, generator=torch.Generator().manual_seed(0)).bfloat16()
    packed, scales = to_4_bits(weight, 64)
    assert (packed.shape, scales.shape) == ((6, 16), (6, 2))
    for row in range(6):
        for group in range(2):
            part = weight[row, 64 * group : 64 * group + 64].float()
            scale = float((part.abs().max() * 2 / 15).bfloat16())
            expected = [min(7, max(-8, round(float(value) / scale))) * scale for value in part]
            ours = from_4_bits(packed, scales, 64)[row, 64 * group : 64 * group + 64]
            assert ours.tolist() == pytest.approx(expected, abs=1e-6)
    values, row_scales = to_fp8(weight)
    assert (values.float() * row_scales.float() - weight.float()).abs().max() < 0.07 * weight.float().abs().max()
    found = measure_bytes(Bench(TOY, "cpu"))
    maps = 3 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 128)
    rows = 3 * (64 + 2 * 32 + 64 + 2 * 128 + 64)
    assert found["fp8"] == found["bfloat16"] - maps + 2 * rows
    assert found["w4"] == found["bfloat16"] - 2 * maps + maps // 2 + 2 * maps // 64 + 16 * 7 * 3


@pytest.mark.parametrize("arm", ["targeted", "lora", "full"])
def test_an_arm_trains_its_own_parameters_and_leaves_the_model_frozen(arm: str) -> None:
    bench = Bench(TOY, "cpu")
    measured = one_step(bench, arm)
    assert not any(parameter.requires_grad for parameter in bench.model.parameters())
    whole = sum(parameter.numel() for parameter in bench.model.parameters())
    tenth = 3 * 12 * 3 * 64  # rows of gate and up, columns of down
    assert measured["trained"] == {"targeted": tenth, "full": whole}.get(arm, measured["trained"])
    if arm == "lora":
        assert abs(measured["trained"] - tenth) < 3 * 3 * (64 + 128)  # less than one rank more or less
