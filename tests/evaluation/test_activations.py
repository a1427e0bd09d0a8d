"""Means and deviations of activations are those of a plain loop over the probe examples, without padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from modelshapley.evaluation.activations import activations_of
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.passes.prefix_tree import Continuation, log_likelihoods
from modelshapley.tasks.base import Split
from tests.support.toys import CONFIGS, ToyTask, tiny
from tests.support.trialling import untouched

# By names written down here: output projections of attention and MLP, and the map whose rows come first.
ATTENTION = {
    "vit": "vit.layers.{}.attention.o_proj",
    "gpt2": "transformer.h.{}.attn.c_proj",
    "llama": "model.layers.{}.self_attn.o_proj",
}
MLP = {
    "vit": "vit.layers.{}.mlp.fc2",
    "gpt2": "transformer.h.{}.mlp.c_proj",
    "llama": "model.layers.{}.mlp.down_proj",
}
QUERY = {
    "vit": "vit.layers.{}.attention.q_proj",
    "gpt2": "transformer.h.{}.attn.c_attn",
    "llama": "model.layers.{}.self_attn.q_proj",
}


@pytest.fixture(params=["vit", "gpt2", "llama"])
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    return tiny(CONFIGS[request.param])


class Ragged(ToyTask):
    """Texts of several lengths, padded where several go together."""

    def losses(self, loaded: LoadedModel, examples: Sequence[Any]) -> Tensor:
        return -log_likelihoods(
            loaded, [[Continuation(inputs[: 3 + label % 4].tolist(), 1)] for inputs, label in examples]
        )


def passes(loaded: LoadedModel, task: ToyTask, count: int) -> list[Tensor]:
    """What the model reads of each probe example, on its own, without padding."""
    chosen = task.examples(Split.PROBE)[:count]
    if isinstance(task, Ragged):
        return [inputs[None, : 2 + label % 4] for inputs, label in chosen]
    return [inputs[None] for inputs, _ in chosen]


def seen(loaded: LoadedModel, path: str, side: str, task: ToyTask, count: int = 128) -> np.ndarray:
    """(positions of all examples, channels) of the input or output of a module, by a plain loop."""
    found: list[Tensor] = []
    module = loaded.model.get_submodule(path)
    handle = (
        module.register_forward_pre_hook(lambda _, args: found.append(args[0][0]))
        if side == "input"
        else module.register_forward_hook(lambda _, __, output: found.append(output[0]))
    )
    with torch.no_grad():
        for inputs in passes(loaded, task, count):
            loaded.model(inputs)
    handle.remove()
    return torch.cat(found).double().numpy()


@pytest.mark.parametrize("kind", [ToyTask, Ragged])
def test_means_and_deviations_equal_a_plain_loop_without_padding(loaded: LoadedModel, kind: type[ToyTask]) -> None:
    if kind is Ragged and loaded.anatomy.modality == "image":
        pytest.skip("pictures have one size")
    task, family = kind(loaded), loaded.anatomy.model_type
    found = activations_of(loaded, task)
    assert found.examples == 13
    for paths, sides in ((ATTENTION, ("input", "output")), (MLP, ("input", "output")), (QUERY, ("output",))):
        for layer in range(2):
            for side in sides:
                path = paths[family].format(layer)
                z, statistics = seen(loaded, path, side, task), found.statistics[path, side]
                if kind is Ragged:
                    assert len(z) == sum(2 + int(label) % 4 for _, label in task.examples(Split.PROBE)) < 13 * 5
                np.testing.assert_allclose(statistics.mean.numpy(), z.mean(0), atol=1e-6)
                np.testing.assert_allclose(statistics.deviation.numpy(), z.std(0), atol=1e-6)
    assert untouched(loaded)


def test_only_the_first_examples_count_and_a_small_deviation_beside_a_large_mean_is_kept() -> None:
    loaded = tiny(CONFIGS["llama"])
    task, path = ToyTask(loaded), MLP["llama"].format(0)
    loaded.model.get_submodule(path).register_forward_pre_hook(lambda _, args: (args[0] + 1e6,))
    statistics = activations_of(loaded, task, examples=4).statistics[path, "input"]
    z = seen(loaded, path, "input", task, 4)
    assert len(z) == 4 * 6
    np.testing.assert_allclose(statistics.deviation.numpy(), z.std(0), rtol=1e-9)


def test_looking_can_be_stopped_and_leaves_nothing(loaded: LoadedModel) -> None:
    calls = []

    def stop() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        activations_of(loaded, ToyTask(loaded), pause=stop)
    assert untouched(loaded)
