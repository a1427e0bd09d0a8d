"""A batch that does not fit is halved, then recomputed, and the maps stay what they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from modelshapley.errors import OutOfMemory
from modelshapley.evaluation.trials import all_answers, answers
from modelshapley.methods import load_method
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.memory import AdaptiveBatcher, ran_out_of_memory, recompute_activations
from modelshapley.scoring.accumulator import ScoreAccumulator
from modelshapley.scoring.job import Scoring, score
from modelshapley.signals.observe import PARTS, observed
from modelshapley.tasks.base import Split
from modelshapley.units import Deactivation, UnitKind
from tests.support.toys import CONFIGS, LLAMA, VIT, ToyTask, tiny

LOADED = tiny(VIT)
# One of each way to use a batch: its signals, its place, draws of its own.
METHODS = [
    "two-sided",
    "model-shapley-paper,alpha=0.5,batch=3",
    "coalition-shapley,passes=4",
    "path-shapley,points=2",
]
KINDS = [UnitKind.HEAD, UnitKind.LAYER]
Raise = Callable[[], None]


def as_cuda_does() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore about it")


def on_the_cpu() -> None:
    """A real one: a thousand terabytes."""
    torch.empty(2**50, dtype=torch.uint8)


def as_python_does() -> None:
    raise MemoryError


class FakeShortage(ToyTask):
    """Pretends that a pass of more than `fits` examples runs out of memory; `asked`: sizes of all passes."""

    def __init__(self, loaded: LoadedModel, fits: int, fail: Raise = as_cuda_does) -> None:
        super().__init__(loaded)
        self.fits, self.fail = fits, fail
        self.asked: list[int] = []

    def _logits(self, loaded: LoadedModel, examples: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor]:
        found = super()._logits(loaded, examples)  # after the forward pass, as when the loss does not fit
        self.asked.append(len(examples))
        if len(examples) > self.fits:
            self.fail()
        return found


def scoring(task: ToyTask, loaded: LoadedModel = LOADED, methods: Sequence[str] = METHODS) -> Scoring:
    return Scoring(loaded, task, [load_method(m) for m in methods], KINDS, 100)


@pytest.mark.parametrize(("fits", "fail"), [(1, as_cuda_does), (2, on_the_cpu), (3, as_python_does)])
def test_a_batch_that_does_not_fit_is_halved_and_maps_stay(fits: int, fail: Raise) -> None:
    whole = score(scoring(ToyTask(LOADED)))
    task = FakeShortage(LOADED, fits, fail)
    found = score(scoring(task))
    for method in METHODS:
        assert found[method].provenance["n"] == 13
        for kind in KINDS:
            np.testing.assert_allclose(found[method].scores[kind], whole[method].scores[kind], rtol=1e-4, atol=1e-7)
            np.testing.assert_allclose(
                found[method].standard_errors[kind], whole[method].standard_errors[kind], rtol=1e-4, atol=1e-7
            )
    # 5, then 2, then 1: each size fails at most once, since what fitted is kept.
    assert [size for size in task.asked if size > fits] == [size for size in (5, 2) if size > fits]


def test_nothing_is_counted_twice_where_a_later_method_fails() -> None:
    """The signals fit, the passes at coalitions do not: what came before the failure must not be added."""

    class FailsLater(FakeShortage):
        def _logits(self, loaded: LoadedModel, examples: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor]:
            self.fits = 5 if len(self.asked) == 0 else 2
            return super()._logits(loaded, examples)

    job = scoring(FailsLater(LOADED, 5))
    sums = ScoreAccumulator(job.plan())
    assert [done for done, _ in job.steps(sums)] == [2, 4, 6, 8, 10, 12, 13]
    assert {moments.n for moments in sums.finish().moments.values()} == {13}


def test_an_example_that_never_fits_is_an_error_in_words() -> None:
    job = scoring(FakeShortage(LOADED, 0))
    sums = ScoreAccumulator(job.plan())
    with pytest.raises(OutOfMemory, match=r"One example on 'toy' in float32 .* cpu \(CUDA out of memory.*bfloat16"):
        list(job.steps(sums))
    assert (sums.done, sums.moments) == (0, {})
    assert not any("forward" in vars(module) for module in LOADED.model.modules())


@pytest.mark.parametrize("error", [RuntimeError("size mismatch"), ValueError("x"), KeyError("y")])
def test_another_error_is_not_swallowed(error: Exception) -> None:
    def fail() -> None:
        raise error

    task = FakeShortage(LOADED, 0, fail)
    with pytest.raises(type(error)):
        score(scoring(task))
    assert task.asked == [5]


def test_the_last_short_batch_is_halved_from_its_own_size() -> None:
    batcher, asked = AdaptiveBatcher(LOADED, 64), []

    def work(size: int) -> int:
        asked.append(size)
        if size > 1:
            as_cuda_does()
        return size

    assert batcher.run(work, left=3) == (1, 1)
    assert asked == [3, 1]


def test_one_example_is_tried_again_with_activations_recomputed() -> None:
    blocks = [LOADED.model.get_submodule(layer.block) for layer in LOADED.anatomy.layers]

    class FitsRecomputed(FakeShortage):
        def _logits(self, loaded: LoadedModel, examples: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor]:
            self.fits = 1 if all("forward" in vars(block) for block in blocks) else 0
            return super()._logits(loaded, examples)

    whole = score(scoring(ToyTask(LOADED)))
    found = score(scoring(FitsRecomputed(LOADED, 0)))
    for method in METHODS:
        np.testing.assert_allclose(
            found[method].scores[UnitKind.HEAD], whole[method].scores[UnitKind.HEAD], rtol=1e-4, atol=1e-7
        )


@pytest.mark.parametrize("fail", [as_cuda_does, on_the_cpu])
def test_trials_halve_their_chunks(fail: Raise) -> None:
    off = Deactivation.of({UnitKind.HEAD: [(0, 1), (1, 2)]})
    whole = all_answers(LOADED, ToyTask(LOADED), off)
    task = FakeShortage(LOADED, 3, fail)
    *_, (found, total) = answers(LOADED, task, off)
    assert np.array_equal(found, whole)
    assert total == len(found) == 30
    assert [size for size in task.asked if size > 3] == [7]
    with pytest.raises(OutOfMemory):
        all_answers(LOADED, FakeShortage(LOADED, 0, fail), off)


def test_what_a_lack_of_memory_is() -> None:
    with pytest.raises(RuntimeError) as caught:
        on_the_cpu()
    assert ran_out_of_memory(caught.value)
    assert not ran_out_of_memory(RuntimeError("out of range"))


# -- recomputing --------------------------------------------------------------------------------


@contextmanager
def counted(loaded: LoadedModel, path: str) -> Iterator[list[int]]:
    calls = [0]

    def count(*_: object) -> None:
        calls[0] += 1

    handle = loaded.model.get_submodule(path).register_forward_hook(count)
    yield calls
    handle.remove()


@pytest.mark.parametrize("name", ["vit", "llama", "gpt2", "t5", "bart", "mixtral", "swin", "gemma2"])
def test_recomputing_changes_no_signal(name: str) -> None:
    loaded = tiny(CONFIGS[name])
    task, kinds = ToyTask(loaded), loaded.anatomy.shapes.kinds
    examples = task.examples(Split.PROBE)[:4]
    gates = {
        kind: torch.rand((4, *loaded.anatomy.shapes.table(kind)), generator=torch.Generator().manual_seed(2))
        for kind in kinds
    }
    inside = loaded.anatomy.layers[-1].attentions[0].output

    def signals() -> tuple[dict[UnitKind, Any], int]:
        with (
            observed(loaded.model, loaded.anatomy, kinds, PARTS, gates) as observer,
            counted(loaded, inside) as calls,
        ):
            observer.backward(task.losses(loaded, examples))
            return dict(observer.take()), calls[0]

    plain, once = signals()
    with recompute_activations(loaded.model, loaded.anatomy):
        again, twice = signals()
    assert (once, twice) == (1, 2)
    for kind in kinds:
        for part in PARTS:
            torch.testing.assert_close(getattr(again[kind], part), getattr(plain[kind], part), rtol=1e-6, atol=1e-9)
    assert not any("forward" in vars(module) for module in loaded.model.modules())


def test_recomputing_keeps_less() -> None:
    """Bytes that autograd keeps from the forward to the backward pass, outside of what is computed again."""
    loaded = tiny(LLAMA)
    task = ToyTask(loaded)
    weights = {parameter.data_ptr() for parameter in loaded.model.parameters()}

    def kept() -> int:
        seen: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.data_ptr() not in weights:
                seen[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with (
            observed(loaded.model, loaded.anatomy, [UnitKind.NEURON]),
            torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        ):
            losses = task.losses(loaded, task.examples(Split.PROBE))
            assert losses.requires_grad
            return sum(seen.values())

    plain = kept()
    with recompute_activations(loaded.model, loaded.anatomy):
        assert kept() < plain / 3


def test_blocks_are_put_back_after_an_error() -> None:
    before = [vars(module).get("forward") for module in LOADED.model.modules()]
    with pytest.raises(RuntimeError, match="midway"), recompute_activations(LOADED.model, LOADED.anatomy):
        raise RuntimeError("midway")
    assert [vars(module).get("forward") for module in LOADED.model.modules()] == before
