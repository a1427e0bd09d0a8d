"""Baselines for what to leave out, against computations by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity, linear, silu

from modelshapley.applications.baselines.block_influence import block_influence
from modelshapley.applications.baselines.outside import OUTSIDE
from modelshapley.applications.baselines.reap import reap
from modelshapley.applications.recommending.recommend import recommend
from modelshapley.errors import UnsupportedModel
from modelshapley.units import UnitKind
from tests.support.toys import CONFIGS, LLAMA, VIT, ToyTask, tiny

LAYER, EXPERT = UnitKind.LAYER, UnitKind.EXPERT


def test_block_influence_by_hand() -> None:
    loaded = tiny(VIT)
    task = ToyTask(loaded, probe=3)
    importance_map = block_influence(loaded, task)
    with torch.inference_mode():
        pixels = torch.stack([x for x, _ in task._data["probe"]])
        states = loaded.model(pixels, output_hidden_states=True).hidden_states
    cosines = cosine_similarity(states[0], states[1], dim=-1)
    assert importance_map.scores[LAYER][0] == pytest.approx(float((1 - cosines).mean()), abs=1e-6)


@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe"])
def test_reap_by_hand(name: str) -> None:
    """Router, choice and experts computed here from the weights, token by token."""
    loaded = tiny(CONFIGS[name])
    task = ToyTask(loaded, probe=9)
    importance_map = reap(loaded, task)
    block = loaded.model.model.layers[0].mlp
    entering: list[torch.Tensor] = []
    handle = block.register_forward_pre_hook(lambda _, args: entering.append(args[0].flatten(0, 1)))
    with torch.inference_mode():
        loaded.model(torch.stack([x for x, _ in task._data["probe"]]))
    handle.remove()
    values: list[list[float]] = [[], [], [], []]
    for token in entering[0]:
        likely = torch.softmax(block.gate.weight @ token, 0)
        chosen = likely.argsort(descending=True)[:2].tolist()
        for expert in chosen:
            gate, up = linear(token, block.experts.gate_up_proj[expert]).chunk(2)
            output = linear(silu(gate) * up, block.experts.down_proj[expert])
            values[expert].append(float(likely[expert] / likely[chosen].sum() * output.norm()))
    assert min(map(len, values)) > 0
    assert importance_map.scores[EXPERT][0] == pytest.approx([np.mean(v) for v in values], rel=1e-4)
    if name == "qwen3_moe":  # its second layer is dense
        assert np.isnan(importance_map.scores[EXPERT][1]).all()


def test_an_expert_that_no_token_reaches_has_nothing() -> None:
    loaded = tiny(CONFIGS["mixtral"])
    loaded.model.model.layers[0].mlp.gate.weight.data[3] = 0
    loaded.model.model.layers[0].mlp.gate.weight.data[:3] *= 100  # of three extreme numbers, two are positive or one
    task = ToyTask(loaded, probe=4)
    scores = reap(loaded, task).scores[EXPERT][0]
    assert (scores[:3] > 0).any()
    assert np.isfinite(scores).all()


def test_without_experts_it_is_said() -> None:
    loaded = tiny(LLAMA)
    with pytest.raises(UnsupportedModel, match="has no experts, which reap scores"):
        reap(loaded, ToyTask(loaded))


def test_recommendations_hold_reap_beside_our_scores() -> None:
    loaded = tiny(CONFIGS["mixtral"])
    found = recommend(loaded, ToyTask(loaded, probe=16), share=0.2, methods=["two-sided"], limit=16)
    ways = {(candidate.method, candidate.spend) for candidate in found.report.candidates}
    scored = {importance_map.method for importance_map in found.maps}
    assert ("two-sided", "expert") in ways
    assert scored <= {"two-sided", *OUTSIDE}
    same = {units.key() for units, m in zip(found.units, found.maps, strict=True) if m.method == "two-sided"}
    own = reap(loaded, ToyTask(loaded, probe=16), 8).least(EXPERT, 0.25)
    assert "reap" in scored or own.key() in same  # equal choices are measured once
