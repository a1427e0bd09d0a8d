"""A map as `importances.json` of MIB's circuit track (Mechanistic Interpretability Benchmark), by nodes. Torch-free.

The format is that of EAP-IG's Graph.from_json: nodes `input`, `a0.h0`, `m0` and `logits` with a score, no edges. The
score of a head is its own; that of an MLP is the sum of its neurons', since the track has one node for each MLP. The
embedding has none, so that it always stays. Higher is more important, as there. What differs: our scores say what
happens when a unit goes, the track puts a unit's value for another prompt in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from modelshapley.errors import ModelShapleyError
from modelshapley.maps.importance import ImportanceMap
from modelshapley.units import UnitKind

PARALLEL = {"gptj", "phi", "codegen", "cohere", "cohere2"}  # model types whose MLP reads what the attention reads


def mib_graph(importance_map: ImportanceMap, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of importances.json. config: the model's config.json.

    Raises ModelShapleyError for a map without heads or neurons, for layers of unequal numbers of heads, and for a
    config of another model.
    """
    for kind in (UnitKind.HEAD, UnitKind.NEURON):
        if kind not in importance_map.scores:
            raise ModelShapleyError(
                f"This map has no scores of {kind.value}s; MIB's nodes are heads and MLPs, so score both kinds."
            )
    heads, neurons = importance_map.scores[UnitKind.HEAD], importance_map.scores[UnitKind.NEURON]
    if np.isnan(heads).any():
        raise ModelShapleyError("MIB's graphs have the same number of heads in every layer, which this model has not.")
    layers, width = heads.shape
    if (config.get("num_hidden_layers", config.get("n_layer")), _heads(config)) != (layers, width):
        raise ModelShapleyError(
            f"The config is of {_heads(config)} heads in a layer, the map of {width} in each of {layers} layers; "
            "give the model that the map was computed for."
        )
    scored = {f"a{layer}.h{head}": heads[layer, head] for layer in range(layers) for head in range(width)}
    scored |= {f"m{layer}": np.nansum(neurons[layer]) for layer in range(layers)}
    nodes = {name: {"in_graph": False, "score": float(score)} for name, score in scored.items()}
    return {
        "cfg": {
            "n_layers": layers,
            "n_heads": width,
            "parallel_attn_mlp": _is_parallel(config),
            "d_model": config.get("hidden_size", config.get("n_embd")),
        },
        "nodes": {"input": {"in_graph": False}, **nodes, "logits": {"in_graph": True}},
        "edges": {},
    }


def _heads(config: Mapping[str, Any]) -> Any:
    return config.get("num_attention_heads", config.get("n_head"))


def _is_parallel(config: Mapping[str, Any]) -> bool:
    if config.get("model_type") == "gpt_neox":
        return bool(config.get("use_parallel_residual", True))
    return config.get("model_type") in PARALLEL or bool(config.get("parallel_attn"))
