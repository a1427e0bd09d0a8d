"""Half precision: the same units matter, sums do not lose what the dtype can hold, and wrong units are caught."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.stats import spearmanr
from torch import nn

from backend.settings import Settings
from modelshapley import load_task
from modelshapley.architectures.anatomy import Site
from modelshapley.contracts import Dtype
from modelshapley.errors import NotFinite, UnknownName, UnsupportedModel
from modelshapley.interventions.gates import gated, gated_each
from modelshapley.interventions.verify import verify
from modelshapley.methods import load_method
from modelshapley.models.catalog import ASSETS, DIGITS_VIT, Catalog, inspect_folder
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.loading import load
from modelshapley.scoring.accumulator import ScoreAccumulator
from modelshapley.scoring.job import Scoring, score
from modelshapley.signals.observe import PARTS, Observer, Signals, observed, signals_of
from modelshapley.tasks.base import Split
from modelshapley.units import UnitKind
from tests.support.toys import CONFIGS, LLAMA, VIT, ToyTask, tiny
from workers.warm.models import Warm, pick_device

HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}
NAMES = ["llama", "vit", "mixtral", "gpt2", "t5"]


def in_half(name: str, dtype: str) -> LoadedModel:
    loaded = tiny(CONFIGS[name])
    loaded.model.to(HALF[dtype])
    return loaded


def task_of(loaded: LoadedModel, probe: int = 13) -> ToyTask:
    """In the dtype of the model, as a real task gives its images; losses in float32, as a real task's."""

    class Halved(ToyTask):
        def _logits(self, loaded: LoadedModel, examples: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor]:
            if loaded.anatomy.modality == "image":
                examples = [(pixels.to(getattr(torch, loaded.dtype)), label) for pixels, label in examples]
            logits, labels = super()._logits(loaded, examples)
            return logits.float(), labels

    return Halved(loaded, probe)


def signals(loaded: LoadedModel, factor: float = 1.0) -> dict[UnitKind, Signals]:
    task, anatomy = task_of(loaded), loaded.anatomy
    examples = task.examples(Split.PROBE)
    return dict(
        signals_of(loaded.model, anatomy, lambda: task.losses(loaded, examples) * factor, anatomy.shapes.kinds, PARTS)
    )


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("name", NAMES)
def test_signals_in_half_precision_are_those_in_full(name: str, dtype: str) -> None:
    """Within 8 roundings of the dtype, as a root mean square over examples and units of a kind.

    The model itself rounds at every step; 1.2 to 5.4 were measured.
    """
    full, half = signals(tiny(CONFIGS[name])), signals(in_half(name, dtype))
    for kind, wanted in full.items():
        for part in PARTS:
            a, b = getattr(wanted, part).double(), getattr(half[kind], part).double()
            assert half[kind].gate.dtype == torch.float32
            assert b.isfinite().all(), (kind, part)
            error = float((a - b).square().mean().sqrt() / a.square().mean().sqrt())
            assert error < 8 * torch.finfo(HALF[dtype]).eps, (kind, part, error)
        a, b = wanted.gate.abs().mean(0), half[kind].gate.abs().mean(0)
        there = a != 0
        if there.sum() > 5:
            assert spearmanr(a[there], b[there]).statistic > 0.99, kind


def test_sums_are_not_rounded_to_the_dtype() -> None:
    """1 + 1/128 is a number of bfloat16; its square is none, and neither is 4097 times that."""
    observer = Observer(tiny(VIT).anatomy, [UnitKind.NEURON], ("size",))
    observer.examples = 1
    z = torch.full((1, 4097, 12), 1 + 1 / 128, dtype=torch.bfloat16)
    dz = torch.full_like(z, 1 + 1 / 128)
    observer.sink(UnitKind.NEURON, 0, Site("", "input", 0, 12, 1), lambda: z)(z, dz, None)
    found = observer.take()[UnitKind.NEURON].gate[0, 0]
    torch.testing.assert_close(found, torch.full((12,), 4097 * (1 + 1 / 128) ** 2), rtol=1e-6, atol=0)


def test_small_gradients_do_not_vanish_in_float16() -> None:
    """Losses of a confident model: without the scale their gradients are below what float16 holds."""
    loaded, small = in_half("llama", "float16"), 1e-6
    wanted = signals(tiny(LLAMA), small)[UnitKind.NEURON].gate
    found = signals(loaded, small)[UnitKind.NEURON].gate
    task = task_of(loaded)
    with observed(loaded.model, loaded.anatomy, [UnitKind.NEURON], ()) as observer:
        observer.backward(task.losses(loaded, task.examples(Split.PROBE)) * small, scale=1.0)
        unscaled = observer.take()[UnitKind.NEURON].gate

    def error(values: torch.Tensor) -> float:
        return float((values - wanted).norm() / wanted.norm())

    assert error(found) < 0.1 < 0.5 < error(unscaled)


def test_a_gradient_too_large_for_the_scale_is_computed_with_a_smaller_one() -> None:
    large = 2e3
    wanted, found = (signals(m, large)[UnitKind.HEAD].gate for m in (tiny(LLAMA), in_half("llama", "float16")))
    assert found.isfinite().all()
    assert float((found - wanted).norm() / wanted.norm()) < 0.05


def test_what_float16_cannot_hold_is_an_error() -> None:
    with pytest.raises(NotFinite, match=r"gradient.*largest float16 number is 65504.*bfloat16"):
        signals(in_half("llama", "float16"), 1e9)
    loaded = in_half("llama", "float16")
    loaded.model.lm_head.weight.data.fill_(6e4)
    with pytest.raises(NotFinite, match=r"A loss is nan.*float16"):
        signals(loaded)


@pytest.mark.parametrize("dtype", HALF)
def test_gates_work_in_half_precision(dtype: str) -> None:
    for name, kind in (("llama", UnitKind.HEAD), ("mixtral", UnitKind.EXPERT), ("vit", UnitKind.NEURON)):
        loaded = in_half(name, dtype)
        task, shape = task_of(loaded), loaded.anatomy.shapes.of(kind)
        examples = task.examples(Split.PROBE)[:3]
        gates = torch.randint(0, 2, (3, *shape), generator=torch.Generator().manual_seed(4)).double()
        with torch.no_grad():
            intact = task.losses(loaded, examples)
            with gated_each(loaded.model, loaded.anatomy, kind, gates):
                together = task.losses(loaded, examples)
            for number, example in enumerate(examples):
                with gated(loaded.model, loaded.anatomy, {kind: gates[number].numpy()}):
                    alone = task.losses(loaded, [example])[0]
                torch.testing.assert_close(alone, together[number], rtol=0.02, atol=0.02)
        assert (together - intact).abs().max() > 0.01


# -- verification -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("name", ["vit", "llama", "gpt2", "swin", "bart", "t5", "mixtral", "gemma2", "gpt_neox"])
def test_honest_models_are_verified_in_half_precision(name: str, dtype: str) -> None:
    loaded = in_half(name, dtype)
    verify(loaded.model, loaded.anatomy)


@pytest.mark.parametrize("dtype", HALF)
def test_wrong_units_are_refused_in_half_precision(dtype: str) -> None:
    loaded = in_half("llama", dtype)
    mlp = loaded.model.model.layers[2].mlp
    # A bypass of a hundredth: what four roundings of bfloat16 (0.03) would have let through.
    mlp.down_proj.register_forward_hook(lambda _, args, output: output + 0.01 * args[0].sum(-1, keepdim=True))
    with pytest.raises(UnsupportedModel, match="not the same as zeroing"):
        verify(loaded.model, loaded.anatomy)
    loaded = in_half("phi3", dtype)
    loaded.model.model.layers[1].self_attn.qkv_proj.register_forward_hook(lambda _, __, output: output.roll(1, -1))
    with pytest.raises(UnsupportedModel, match="not the same as zeroing"):
        verify(loaded.model, loaded.anatomy)
    loaded = in_half("vit", dtype)
    loaded.model.vit.layers[1].register_forward_hook(lambda _, __, output: output + 0.1)
    with pytest.raises(UnsupportedModel, match="Layer 1 adds something"):
        verify(loaded.model, loaded.anatomy)


def test_a_model_that_never_repeats_itself_is_given_its_own_noise_but_no_more() -> None:
    """Kernels that add in changing order, faked: a last digit that moves is no wrong unit, a large change is."""
    for size, passes in ((0.001, True), (0.5, False)):
        loaded = in_half("llama", "bfloat16")

        def shake(_: nn.Module, __: object, output: torch.Tensor, size: float = size) -> torch.Tensor:
            return output + size * torch.randn_like(output)

        loaded.model.lm_head.register_forward_hook(shake)
        torch.manual_seed(0)
        if passes:
            verify(loaded.model, loaded.anatomy)
        else:
            with pytest.raises(UnsupportedModel):
                verify(loaded.model, loaded.anatomy)


# -- from a folder to a map ---------------------------------------------------------------------


@pytest.mark.parametrize("dtype", HALF)
def test_a_map_in_half_precision_ranks_like_one_in_full_and_says_so(dtype: Dtype) -> None:
    folder, task = inspect_folder("demo:digits-vit", ASSETS / "digits-vit"), load_task("digits")
    kinds = [UnitKind.NEURON, UnitKind.HEAD]
    dtypes: tuple[Dtype, Dtype] = (dtype, "float32")
    jobs = [Scoring(load(folder, "cpu", d), task, [load_method("two-sided")], kinds, 32) for d in dtypes]
    half, full = (score(job)["two-sided"] for job in jobs)
    assert half.provenance["dtype"] == dtype
    assert half.provenance["device"] == "cpu"
    for kind in kinds:
        assert spearmanr(half.scores[kind].ravel(), full.scores[kind].ravel()).statistic > 0.99
        assert np.isfinite(half.scores[kind]).all()
    # Sums of one dtype are never added to another's.
    sums = ScoreAccumulator(jobs[0].plan())
    next(jobs[0].steps(sums))
    assert ScoreAccumulator.resume(sums.to_bytes(), jobs[1].plan()).done == 0
    assert ScoreAccumulator.resume(sums.to_bytes(), jobs[0].plan()).done == 32


def test_the_setting_reaches_the_models_of_a_worker(tmp_path: Path) -> None:
    settings = Settings(dtype="bfloat16", data=tmp_path)
    warm = Warm(Catalog(settings.data), pick_device("cpu"), settings.dtype)
    assert warm.model(DIGITS_VIT).dtype == "bfloat16"
    assert Settings(data=tmp_path).dtype == "float32"
    with pytest.raises(ValidationError, match="float32"):
        Settings(dtype="float8")


def test_another_dtype_is_named() -> None:
    folder = inspect_folder("demo:digits-vit", ASSETS / "digits-vit")
    with pytest.raises(UnknownName, match=r"no dtype 'float8'.*float32, bfloat16, float16"):
        load(folder, "cpu", "float8")  # type: ignore[arg-type]
