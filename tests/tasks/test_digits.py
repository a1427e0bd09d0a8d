"""The digits task and the ViT shipped for it."""

from __future__ import annotations

import copy
from collections import Counter

import numpy as np
import pytest
import torch
from torch.nn import functional

from modelshapley import load_task
from modelshapley.errors import TaskMismatch
from modelshapley.evaluation.trials import all_answers
from modelshapley.models.catalog import ASSETS
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split
from modelshapley.tasks.builtin.digits import split_digits
from modelshapley.units import Deactivation
from tests.support.toys import VIT, tiny

TASK = load_task("digits")


def test_train_probe_and_test_share_no_image() -> None:
    parts = {name: {digit.pixels.numpy().tobytes() for digit in part} for name, part in split_digits().items()}
    assert sum(len(part) for part in split_digits().values()) == 1797
    # A handful of the 1,797 images are equal to the pixel; none may be in two parts by our doing.
    for one, other in (("train", "test"), ("train", "probe"), ("probe", "test")):
        assert len(parts[one] & parts[other]) <= 1, (one, other)


def test_counts_are_those_that_are_listed() -> None:
    assert len(TASK.examples(Split.PROBE)) == TASK.info.probe_examples
    assert len(TASK.examples(Split.TEST)) == TASK.info.test_examples


@pytest.mark.parametrize("n", [50, 100, 200, 288])
def test_every_prefix_of_the_probe_set_is_stratified(n: int) -> None:
    counts = Counter(digit.label for digit in TASK.examples(Split.PROBE, seed=4)[:n])
    assert len(counts) == 10
    assert max(counts.values()) - min(counts.values()) <= 3


def test_the_seed_changes_the_order_and_nothing_else() -> None:
    for split in Split:
        one, other = TASK.examples(split, 0), TASK.examples(split, 1)
        assert [d.label for d in one] != [d.label for d in other]
        assert [d.label for d in one] == [d.label for d in TASK.examples(split, 0)]
        assert {id(d) for d in one} == {id(d) for d in other}


def test_the_shipped_vit_is_right_and_its_neurons_matter(digits_vit: LoadedModel) -> None:
    intact = all_answers(digits_vit, TASK, Deactivation()).mean()
    assert intact >= 0.97
    costs = []
    for seed in range(10):
        model = copy.deepcopy(digits_vit.model)
        off = np.random.default_rng(seed).permutation(4 * 40)[:64]
        for unit in off:
            model.vit.layers[unit // 40].mlp.fc2.weight.data[:, unit % 40] = 0
        pixels = torch.stack([d.pixels for d in TASK.examples(Split.TEST)])
        labels = torch.tensor([d.label for d in TASK.examples(Split.TEST)])
        with torch.no_grad():
            costs.append(intact - (model(pixels).logits.argmax(-1) == labels).float().mean().item())
    assert np.mean(costs) >= 0.10
    assert sum(file.stat().st_size for file in (ASSETS / "digits-vit").iterdir()) < 1_000_000


def test_losses_are_the_cross_entropy_of_each_image(digits_vit: LoadedModel) -> None:
    examples = TASK.examples(Split.PROBE)[:7]
    together = TASK.losses(digits_vit, examples)
    for i, digit in enumerate(examples):
        with torch.no_grad():
            logits = digits_vit.model(digit.pixels[None]).logits
        alone = functional.cross_entropy(logits, torch.tensor([digit.label]))
        torch.testing.assert_close(together[i], alone, atol=1e-5, rtol=1e-4)


def test_a_model_for_other_images_is_refused_by_name() -> None:
    with pytest.raises(TaskMismatch, match="num_labels=10"):
        TASK.check(tiny(VIT))
