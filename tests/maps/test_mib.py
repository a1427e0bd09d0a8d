"""A map in the node format of MIB's circuit track, against a reading of that format written here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelshapley.errors import ModelShapleyError
from modelshapley.maps.importance import ImportanceMap
from modelshapley.maps.mib import mib_graph
from modelshapley.units import UnitKind
from tests.support.command_line import run

CONFIG = {"model_type": "llama", "num_hidden_layers": 3, "num_attention_heads": 4, "hidden_size": 32}


def made(**changes: Any) -> ImportanceMap:
    generator = np.random.default_rng(0)
    scores = {UnitKind.HEAD: generator.normal(size=(3, 4)), UnitKind.NEURON: generator.normal(size=(3, 20))}
    scores[UnitKind.NEURON][1, 15:] = np.nan
    scores |= {UnitKind(kind): array for kind, array in changes.items()}
    scores = {kind: array for kind, array in scores.items() if array is not None}
    errors = {kind: np.full(array.shape, 0.1) for kind, array in scores.items()}
    return ImportanceMap("two-sided", "loss increase (nats)", True, scores, errors, {"model": "demo:digits-vit"})


def place_of(name: str, heads: int, layers: int) -> int:
    """Number of a node in the order of a forward pass: input, then the heads and the MLP of each layer."""
    if name == "input":
        return 0
    if name == "logits":
        return 1 + layers * (heads + 1)
    layer, _, head = name[1:].partition(".h")
    return 1 + int(layer) * (heads + 1) + (int(head) if name[0] == "a" else heads)


def test_every_node_has_its_score_and_the_order_is_that_of_the_map() -> None:
    importance_map = made()
    graph = json.loads(json.dumps(mib_graph(importance_map, CONFIG), allow_nan=False))
    assert graph["cfg"] == {"n_layers": 3, "n_heads": 4, "parallel_attn_mlp": False, "d_model": 32}
    assert graph["edges"] == {}
    assert [place_of(name, 4, 3) for name in sorted(graph["nodes"], key=lambda n: place_of(n, 4, 3))] == [*range(17)]
    assert all(isinstance(node["in_graph"], bool) for node in graph["nodes"].values())
    assert "score" not in graph["nodes"]["input"], "a node without a score stays"
    heads = importance_map.scores[UnitKind.HEAD]
    for layer in range(3):
        neurons = importance_map.scores[UnitKind.NEURON][layer]
        assert graph["nodes"][f"m{layer}"]["score"] == pytest.approx(sum(neurons[np.isfinite(neurons)]))
        assert [graph["nodes"][f"a{layer}.h{head}"]["score"] for head in range(4)] == heads[layer].tolist()


def test_parallel_blocks_and_other_names_of_sizes() -> None:
    gpt2 = {"model_type": "gpt2", "n_layer": 3, "n_head": 4, "n_embd": 16}
    assert mib_graph(made(), gpt2)["cfg"] == {"n_layers": 3, "n_heads": 4, "parallel_attn_mlp": False, "d_model": 16}
    assert mib_graph(made(), CONFIG | {"model_type": "gpt_neox"})["cfg"]["parallel_attn_mlp"]
    serial = {"model_type": "gpt_neox", "use_parallel_residual": False}
    assert not mib_graph(made(), CONFIG | serial)["cfg"]["parallel_attn_mlp"]


def test_what_has_no_such_graph_is_refused() -> None:
    with pytest.raises(ModelShapleyError, match="no scores of neurons"):
        mib_graph(made(neuron=None), CONFIG)
    heads = np.ones((3, 4))
    heads[2, 3] = np.nan
    with pytest.raises(ModelShapleyError, match="same number of heads"):
        mib_graph(made(head=heads), CONFIG)
    with pytest.raises(ModelShapleyError, match="config is of 8 heads in a layer, the map of 4"):
        mib_graph(made(), CONFIG | {"num_attention_heads": 8})


def test_on_the_command_line(tmp_path: Path) -> None:
    made(head=np.ones((4, 4)), neuron=np.ones((4, 40))).save(tmp_path / "map.safetensors")
    answer = run("mib", "map.safetensors", "--out", "importances.json", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    graph = json.loads((tmp_path / "importances.json").read_text())
    assert len(graph["nodes"]) == 4 * 5 + 2
    assert graph["nodes"]["m3"]["score"] == 40
