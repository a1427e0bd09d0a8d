"""The demo language model without most of its layers: all its words and sizes, in a third of the time."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

LAYERS = 6
SHORT = "local:smollm2-short"


def put_short_model(data: Path) -> str:
    """Put the first layers of the demo model into the models of a data directory. Returns the model's id.

    Its answers are worth nothing; what it costs is that of a real model, so that work can be seen while it goes on.
    """
    source, folder = data / "demo" / "smollm2-135m", data / "models" / SHORT.removeprefix("local:")
    if folder.exists():
        return SHORT
    folder.mkdir(parents=True)
    config = json.loads((source / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": LAYERS}))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((source / name).read_bytes())
    with safe_open(source / "model.safetensors", "pt") as weights:
        names = [name for name in weights.keys() if _layer(name) < LAYERS]  # noqa: SIM118  # not a dict
        save_file({name: weights.get_tensor(name) for name in names}, folder / "model.safetensors", {"format": "pt"})
    return SHORT


def _layer(name: str) -> int:
    """The layer of a weight; -1 for the weights of none."""
    _, found, rest = name.partition(".layers.")
    return int(rest.partition(".")[0]) if found else -1
