"""Models on other devices and on several: accelerate's hooks and ours get along, what cannot work is refused.

No second device is at hand where these run: accelerate's hooks are tried on the CPU, and the rules that no two
devices mix on torch's fake tensors, which know devices but hold no numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import pytest
import torch
from accelerate.hooks import AlignDevicesHook
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from modelshapley import load_task
from modelshapley.architectures.anatomy import Site
from modelshapley.errors import ModelShapleyError, OutOfMemory
from modelshapley.interventions.gates import factors_of, hook, treated
from modelshapley.interventions.suffix import suffix_reuse
from modelshapley.interventions.verify import verify
from modelshapley.interventions.weights import magnitudes
from modelshapley.methods import load_method
from modelshapley.models import loading
from modelshapley.models.catalog import ASSETS, inspect_folder
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.loading import load, refuse_offloaded
from modelshapley.models.memory import AdaptiveBatcher, recompute_activations
from modelshapley.scoring.job import Scoring, score
from modelshapley.signals.observe import PARTS, Observer, Signals, signals_of
from modelshapley.tasks.base import Split
from modelshapley.units import Deactivation, UnitKind
from tests.support.toys import CONFIGS, ToyTask, tiny
from tests.support.trialling import DEEP, Told, measured, states_of

DIGITS = ASSETS / "digits-vit"


def hooked(name: str) -> LoadedModel:
    """With accelerate's hooks at every module, as on several devices; all of them lead to the CPU."""
    loaded = tiny(CONFIGS[name])
    accelerate.dispatch_model(loaded.model, {"": "cpu"}, force_hooks=True)
    return loaded


def forwards(loaded: LoadedModel) -> list[Any]:
    return [vars(module).get("forward") for module in loaded.model.modules()]


def signals(loaded: LoadedModel) -> dict[UnitKind, Signals]:
    task, kinds = ToyTask(loaded), loaded.anatomy.shapes.kinds
    examples = task.examples(Split.PROBE)[:4]
    return dict(signals_of(loaded.model, loaded.anatomy, lambda: task.losses(loaded, examples), kinds))


@pytest.mark.parametrize("name", ["vit", "llama", "gpt2", "t5", "mixtral", "swin"])
def test_accelerates_hooks_change_nothing_and_stay(name: str) -> None:
    plain, loaded = tiny(CONFIGS[name]), hooked(name)
    before = forwards(loaded)
    assert sum(forward is not None for forward in before) > 10
    verify(loaded.model, loaded.anatomy)
    wanted, found = signals(plain), signals(loaded)
    with recompute_activations(loaded.model, loaded.anatomy):
        again = signals(loaded)
    assert forwards(loaded) == before
    for kind in wanted:
        for part in PARTS:
            for other in (found, again):
                torch.testing.assert_close(
                    getattr(other[kind], part), getattr(wanted[kind], part), rtol=1e-6, atol=1e-9
                )


def test_suffix_reuse_leaves_accelerates_hooks_where_they_were() -> None:
    plain, loaded = tiny(CONFIGS["vit"]), hooked("vit")
    before, task = forwards(loaded), ToyTask(loaded)
    examples = task.examples(Split.PROBE)[:3]
    off = Deactivation.of({UnitKind.LAYER: [(1,)]})
    with torch.no_grad(), suffix_reuse(loaded.model, loaded.anatomy) as suffix:
        task.losses(loaded, examples)
        suffix.start = 1
        with treated(loaded.model, loaded.anatomy, off):
            found = task.losses(loaded, examples)
    assert forwards(loaded) == before
    assert all(
        hasattr(module, "_hf_hook") == (forward is not None)
        for module, forward in zip(loaded.model.modules(), before, strict=True)
    )
    with torch.no_grad(), treated(plain.model, plain.anatomy, off):
        torch.testing.assert_close(found, task.losses(plain, examples))


# -- what lies outside the devices is refused ---------------------------------------------------


def test_weights_that_are_brought_in_for_each_pass_are_refused(tmp_path: Path) -> None:
    """As transformers itself lays them out, where a device map sends some to the disk."""
    folder = inspect_folder("demo:digits-vit", DIGITS)
    layout = {"vit.embeddings": "cpu", "vit.layers": "disk", "vit.layernorm": "cpu", "classifier": "cpu"}
    model, _ = loading._load_weights(folder, "float32", {"device_map": layout, "offload_folder": str(tmp_path)})
    with pytest.raises(OutOfMemory, match=r"not fit the devices here: \d\d tensors, such as vit\.layers.*bfloat16"):
        refuse_offloaded(folder.id, model)


def test_weights_kept_on_the_cpu_for_another_device_are_refused() -> None:
    loaded = tiny(CONFIGS["llama"])
    refuse_offloaded(loaded.id, loaded.model)
    accelerate.cpu_offload(loaded.model, "cpu")
    with pytest.raises(OutOfMemory, match="does not fit the devices"):
        refuse_offloaded(loaded.id, loaded.model)


def test_a_layout_within_one_device_is_that_device() -> None:
    """transformers' own way of loading by a device map, all parts of which lead to the CPU."""
    folder = inspect_folder("demo:digits-vit", DIGITS)
    model, _ = loading._load_weights(folder, "bfloat16", {"device_map": {"": "cpu"}})
    refuse_offloaded(folder.id, model)
    assert LoadedModel("x", "", folder.anatomy, model, None, torch.device("cpu")).places == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks what happens without CUDA")
def test_spreading_without_devices_is_an_error_in_words() -> None:
    with pytest.raises(
        ModelShapleyError, match="'spread' spreads a model over the CUDA devices, but this machine has none"
    ):
        load(inspect_folder("demo:digits-vit", DIGITS), "spread")


def test_a_model_that_does_not_fit_when_loaded_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.")

    monkeypatch.setattr(nn.Module, "to", full)
    with pytest.raises(OutOfMemory, match=r"Model 'demo:digits-vit' in float32 .*20 GiB.*'spread'.*'bfloat16'"):
        load(inspect_folder("demo:digits-vit", DIGITS))


# -- no two devices meet ------------------------------------------------------------------------


no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="torch's fakes open real devices where there are some")


@contextmanager
def fake_devices() -> Iterator[None]:
    """Tensors on devices that are not there; torch still refuses to mix them."""
    with FakeTensorMode(), torch.no_grad():
        with pytest.raises(RuntimeError, match="at least two devices"):
            torch.ones(2, device="cuda:0") + torch.ones(2, device="cuda:1")
        yield


@no_cuda
def test_signals_of_layers_on_different_devices_are_brought_together() -> None:
    loaded = tiny(CONFIGS["mixtral"])
    kinds = [UnitKind.HEAD, UnitKind.EXPERT]
    observer = Observer(loaded.anatomy, kinds)
    observer.examples = 2
    with fake_devices():
        for layer in (1, 0):  # as a backward pass comes by
            place = f"cuda:{layer}"
            (heads,), (experts,) = (loaded.anatomy.sites(kind, layer) for kind in kinds)
            z, routing = torch.ones((2, 6, 24), device=place), torch.ones((12, 2), device=place)
            index = torch.ones((12, 2), dtype=torch.long, device=place)
            # Weights elsewhere than their input, as for the ones of a layer.
            observer.sink(UnitKind.HEAD, layer, heads, lambda: torch.ones(24, device="cuda:0"))(z, z, None)
            observer.sink(UnitKind.EXPERT, layer, experts, lambda: torch.ones(4, device="cuda:0"))(
                routing, routing, index
            )
        for found in observer.take().values():
            assert {getattr(found, part).device for part in PARTS} == {torch.device("cuda:1")}


@no_cuda
def test_gates_go_to_the_device_of_their_site() -> None:
    holder, site = nn.ModuleDict({"here": nn.Identity()}), Site("here", "input", 0, 4, 6)
    with fake_devices():
        for gates in (torch.zeros((3, 4)), torch.zeros((3, 4), device="cuda:0")):

            def change(z: torch.Tensor, index: Any, gates: torch.Tensor = gates) -> torch.Tensor:
                return z * factors_of(site, gates, z, index)

            handle = hook(holder, site, change)
            for place in ("cuda:0", "cuda:1"):
                assert holder["here"](torch.ones((3, 6, 24), device=place)).device == torch.device(place)
            handle.remove()


def test_magnitudes_are_means_over_all_weights_of_a_layer() -> None:
    """Summed up map by map, since maps of a layer may lie apart: the same as over all weights at once."""
    loaded = tiny(CONFIGS["llama"])
    found = magnitudes(loaded.model, loaded.anatomy, UnitKind.LAYER)
    block = loaded.model.model.layers[1]
    together = torch.cat([block.self_attn.o_proj.weight.flatten(), block.mlp.down_proj.weight.flatten()])
    np.testing.assert_allclose(found[1, 0], together.double().abs().mean().item(), rtol=1e-12)


# -- where there is a GPU -----------------------------------------------------------------------

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def maps(loaded: LoadedModel) -> Any:
    return score(Scoring(loaded, load_task("digits"), [load_method("two-sided")], [UnitKind.NEURON], 64))["two-sided"]


@needs_cuda
@pytest.mark.parametrize("device", ["cuda", "spread"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_scores_on_cuda_are_those_on_the_cpu(device: str, dtype: Any) -> None:
    folder = inspect_folder("demo:digits-vit", DIGITS)
    wanted, found = maps(load(folder)), maps(load(folder, device, dtype))
    assert found.provenance["device"].startswith("cuda")
    correlation = np.corrcoef(wanted.scores[UnitKind.NEURON].ravel(), found.scores[UnitKind.NEURON].ravel())
    assert correlation[0, 1] > (0.9999 if dtype == "float32" else 0.98)


@needs_cuda
def test_blocks_on_two_devices_give_the_signals_of_one() -> None:
    """The second block on the GPU, the others on the CPU, by accelerate's own hooks."""
    plain, loaded = tiny(CONFIGS["llama"]), tiny(CONFIGS["llama"])
    accelerate.hooks.add_hook_to_module(loaded.model, AlignDevicesHook(io_same_device=True))
    for number, layer in enumerate(loaded.anatomy.layers):
        place = "cuda" if number == 1 else "cpu"
        block = loaded.model.get_submodule(layer.block)
        accelerate.hooks.add_hook_to_module(block, AlignDevicesHook(place, place_submodules=True))
    accelerate.hooks.add_hook_to_module(loaded.model.model.norm, AlignDevicesHook("cpu"))
    verify(loaded.model, loaded.anatomy)
    wanted, found = signals(plain), signals(loaded)
    for kind in wanted:
        for part in PARTS:
            torch.testing.assert_close(
                getattr(found[kind], part).cpu(), getattr(wanted[kind], part), rtol=1e-3, atol=1e-6
            )


@needs_cuda
def test_what_runs_out_of_memory_on_cuda_is_halved_and_freed() -> None:

    loaded = tiny(CONFIGS["vit"])
    free, _ = torch.cuda.mem_get_info()
    each = free // 3
    batcher = AdaptiveBatcher(loaded, 8)

    def work(size: int) -> int:
        blocks = [torch.empty(each, dtype=torch.uint8, device="cuda") for _ in range(size)]
        return len(blocks)

    assert batcher.run(work, 8) == (2, 2)
    assert torch.cuda.memory_allocated() < each


@needs_cuda
def test_trials_on_cuda_read_stored_states_from_the_device() -> None:
    loaded = tiny(DEEP)
    loaded.model.to("cuda")
    loaded = replace(loaded, device=torch.device("cuda"))
    task, off = Told(loaded), Deactivation.of({UnitKind.HEAD: [(5, 0)]})
    states = states_of(loaded, task)
    assert states.refused is None
    plain, wanted = measured(loaded, task, off)
    measured(loaded, task, off, states)
    assert loaded.device_tier.bytes == 0, "the first trial stores states"
    for _ in range(2):
        found, logits = measured(loaded, task, off, states)
        assert (found == plain).all()
        torch.testing.assert_close(logits, wanted, atol=1e-4, rtol=0)
    assert 0 < loaded.device_tier.bytes < states.bytes
