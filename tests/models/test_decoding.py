"""Attention for one new token is transformers' own; texts that have ended leave the pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from modelshapley.interventions.gates import gated_each
from modelshapley.models.passes.decoding import NAME, attend, quick_attention
from modelshapley.models.passes.greedy import greedy
from modelshapley.units import UnitKind
from tests.support.toys import CONFIGS, LLAMA, tiny

PROMPTS = [[1, 2, 3], [4], [5, 6], [7, 8, 9, 10], [11]]
MOST = [2, 3, 4, 30, 30]


@pytest.mark.parametrize(("heads", "shared"), [(6, 3), (4, 4), (4, 1)])
@pytest.mark.parametrize("new", [1, 5])
@pytest.mark.parametrize("masked", [True, False])
def test_it_is_the_attention_it_takes_the_place_of(heads: int, shared: int, new: int, masked: bool) -> None:
    torch.manual_seed(heads * shared * new)
    module: Any = torch.nn.Module()
    module.num_key_value_groups = shared
    query = torch.randn(3, heads, new, 8)
    key, value = torch.randn(2, 3, heads // shared, 11, 8)
    mask = torch.rand(3, 1, new, 11) < 0.7
    mask[..., 0] = True
    given = (module, query, key, value, mask if masked else None)
    found, wanted = attend(*given, scaling=0.3)[0], sdpa_attention_forward(*given, scaling=0.3)[0]
    assert found.shape == wanted.shape
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)


def test_a_model_is_put_back_and_one_with_another_attention_left_alone() -> None:
    loaded = tiny(LLAMA)
    with quick_attention(loaded.model):
        assert loaded.model.config._attn_implementation == NAME
    assert loaded.model.config._attn_implementation == "sdpa"
    loaded.model.set_attn_implementation("eager")
    with quick_attention(loaded.model):
        assert loaded.model.config._attn_implementation == "eager"


@pytest.mark.parametrize("config", ["llama", "gpt2"])
def test_texts_that_have_ended_leave_but_where_each_has_its_own_gates(config: str) -> None:
    loaded, passes = tiny(CONFIGS[config]), []
    embeddings = loaded.model.get_input_embeddings()
    seen = embeddings.register_forward_hook(lambda _, args, __: passes.append(len(args[0])))
    with torch.inference_mode():
        texts = greedy(loaded, PROMPTS, MOST)
        assert passes[0] == 5
        assert passes[-1] < 5
        passes.clear()
        gates = torch.ones(5, *loaded.anatomy.shapes.table(UnitKind.HEAD))
        gates[:, 0, 0] = 0.999999
        with gated_each(loaded.model, loaded.anatomy, UnitKind.HEAD, gates):
            greedy(loaded, PROMPTS, MOST)
        assert set(passes) == {5}
        seen.remove()
        assert texts == [greedy(loaded, [p], [m])[0] for p, m in zip(PROMPTS, MOST, strict=True)]
    assert max(map(len, texts)) == 30
