"""Quantise a model folder: `python -m modelshapley.applications.quantising.compress REQUEST`.

A process of its own, since llm-compressor changes the model, transformers and the logging of the process it runs in.
REQUEST: a JSON file (:class:`Request`). It writes the compressed folder, and a report as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import torch
import transformers
from pydantic import BaseModel
from safetensors.torch import load_file, save_file

RECIPE = "recipe.yaml"  # llm-compressor's, with tags of Python objects that run code where they are read


class Request(BaseModel):
    """What to quantise. calibration: safetensors file of token sequences. inputs: of model inputs, for `logits`."""

    parent: Path
    auto_class: str
    dtype: str
    device: str
    scheme: str
    group: int
    beta: float
    ignore: list[str]
    calibration: Path
    inputs: Path
    logits: Path
    folder: Path
    report: Path


class Report(BaseModel):
    """What was done. maps: linear maps that were quantised. fallbacks: paths of those rounded to the nearest value
    instead, because their Hessian was not positive definite.
    """

    maps: int
    fallbacks: list[str]


def main(file: str) -> None:
    huggingface_hub.constants.HF_HUB_OFFLINE = True  # everything is in the folder; nothing is looked up elsewhere
    request = Request.model_validate_json(Path(file).read_bytes())
    model = getattr(transformers, request.auto_class).from_pretrained(
        request.parent,
        dtype=getattr(torch, request.dtype),
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
    )
    model = model.eval().to(request.device)
    modifier = _modifier(request)
    _oneshot(model, modifier, list(load_file(request.calibration).values()), request)
    inputs = {name: tensor.to(request.device) for name, tensor in load_file(request.inputs).items()}
    with torch.inference_mode():
        logits = model(**inputs).logits
    save_file({"logits": logits.float().cpu().contiguous()}, request.logits)
    model.save_pretrained(request.folder, save_compressed=True)
    (request.folder / RECIPE).unlink(missing_ok=True)
    report = Report(maps=_count(model), fallbacks=list(getattr(modifier, "failed", [])))
    request.report.write_text(report.model_dump_json(), encoding="utf-8")


def _modifier(request: Request) -> Any:
    from llmcompressor.modifiers.quantization import QuantizationModifier

    from modelshapley.applications.quantising.algorithm1 import Gptq, Printed, Released

    if request.scheme == "fp8":
        return QuantizationModifier(targets="Linear", scheme="FP8_DYNAMIC", ignore=request.ignore)
    if request.scheme == "gptq-w8a8":
        return Gptq(targets="Linear", scheme="W8A8", ignore=request.ignore)
    weights = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": request.group}
    groups = {"config_groups": {"weights": {"targets": ["Linear"], "weights": weights}}, "ignore": request.ignore}
    if request.scheme == "rtn-w4":
        return QuantizationModifier(**groups)
    if request.scheme == "paper-algorithm-1":
        return Printed(**groups, beta=request.beta)
    return (Released if request.scheme == "paper-released" else Gptq)(**groups)


def _oneshot(model: Any, modifier: Any, sequences: list[torch.Tensor], request: Request) -> None:
    from datasets import Dataset
    from llmcompressor import oneshot

    rows = [sequence.tolist() for sequence in sequences]
    columns = {"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]}
    oneshot(
        model=model,
        tokenizer=transformers.AutoTokenizer.from_pretrained(
            request.parent, trust_remote_code=False, local_files_only=True
        ),
        dataset=Dataset.from_dict(columns),
        recipe=[modifier],
        num_calibration_samples=len(rows),
        max_seq_length=max(map(len, rows)),
        shuffle_calibration_samples=False,
    )


def _count(model: torch.nn.Module) -> int:
    """Return how many linear maps have a scheme of their own; the one of the logits has none."""
    return sum(getattr(module, "quantization_scheme", None) is not None for module in model.modules())


if __name__ == "__main__":
    main(*sys.argv[1:])
    json.dump({"done": True}, sys.stdout)
