"""Load a model for scoring: safetensors only, weights frozen, evaluation mode, anatomy verified."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import torch
import transformers
from torch import nn

from modelshapley.contracts import Dtype
from modelshapley.errors import ModelShapleyError, OutOfMemory, UnknownName, UnsupportedModel
from modelshapley.interventions.verify import verify
from modelshapley.models.catalog import ModelFolder
from modelshapley.models.confined.tokenizer import check_tokenizer_file
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.memory import first_line, ran_out_of_memory
from modelshapley.models.passes.prove import prove_shortcuts

SPREAD = "spread"


def load(folder: ModelFolder, device: str | torch.device = "cpu", dtype: Dtype = "float32") -> LoadedModel:
    """Load the model in ``folder`` in ``dtype``, frozen.

    device: a torch device, or 'spread': blocks over all CUDA devices, as many as each has memory for.
    dtype: of weights and activations; losses and signals are float32 whatever it is.

    Raises ModelShapleyError for a missing device, UnknownName for another dtype, OutOfMemory if the model does not fit,
    and UnsupportedModel if transformers cannot load the model or its anatomy fails
    verification (gating a sample of units must equal zeroing the matching weights).
    """
    if dtype not in get_args(Dtype):
        raise UnknownName("dtype", str(dtype), list(get_args(Dtype)))
    if device == SPREAD and not torch.cuda.is_available():
        raise ModelShapleyError(
            f"Device {SPREAD!r} spreads a model over the CUDA devices, but this machine has none; use cpu."
        )
    target = _device("cuda" if device == SPREAD else device)
    try:
        model, unused = _load_weights(folder, dtype, {"device_map": "auto"} if device == SPREAD else {})
        model.eval().requires_grad_(False)
        if device == SPREAD:
            refuse_offloaded(folder.id, model)
            target = next(model.parameters()).device
        else:
            model.to(target)
        anatomy = verify(model, folder.anatomy)
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        raise OutOfMemory.of(f"Model {folder.id!r}", str(device), dtype, first_line(error)) from error
    processor = _image_processor(folder)
    tokenizer = _tokenizer(folder)
    stored = str(folder.config.get("dtype") or folder.config.get("torch_dtype") or "")
    loaded = LoadedModel(
        folder.id, folder.revision(), anatomy, model, tokenizer, target, processor, unused, stored_dtype=stored
    )
    return replace(loaded, shortcuts=prove_shortcuts(loaded))


def refuse_offloaded(model_id: str, model: nn.Module) -> None:
    """Raise OutOfMemory if accelerate keeps weights outside the devices and loads them for each use.

    Offloaded weights can be neither zeroed nor measured, and the backward pass would hold all of them anyway.
    """
    offloaded = [name for name, parameter in model.named_parameters() if parameter.is_meta]
    if offloaded:
        raise OutOfMemory(
            f"{model_id!r} does not fit the devices here: {len(offloaded)} tensors, such as {offloaded[0]}, would stay "
            "outside and be brought in for each pass, which scoring cannot work with. Use more or larger devices, "
            "dtype 'bfloat16', or device 'cpu'."
        )


def _load_weights(folder: ModelFolder, dtype: Dtype, options: dict[str, Any]) -> tuple[Any, tuple[str, ...]]:
    """Load the transformers model, every tensor of which came from the folder; also name what it left there."""
    anatomy = folder.anatomy
    transformers.utils.logging.disable_progress_bar()
    try:
        model, report = getattr(transformers, anatomy.opened_by or anatomy.auto_class).from_pretrained(
            folder.path,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            dtype=getattr(torch, dtype),
            output_loading_info=True,
            **options,
        )
    except Exception as error:  # transformers raises anything on a folder it did not write
        if ran_out_of_memory(error):
            raise
        raise UnsupportedModel(
            f"{folder.id!r} cannot be loaded by transformers {transformers.__version__}: {first_line(error)}"
        ) from error
    if report["missing_keys"]:
        # transformers fills these with random numbers and only warns: every score would be meaningless.
        some = ", ".join(sorted(report["missing_keys"])[:3])
        raise UnsupportedModel(
            f"The weights of {folder.id!r} lack {len(report['missing_keys'])} tensor(s) that a "
            f"{anatomy.model_type} model for this use needs, such as {some}."
        )
    return model, _unused_tensors(folder, sorted(report["unexpected_keys"]))


OF_OTHER_WEIGHTS = re.compile(r"lora_|adapter|(?:weight_)?scale|qweight|qzeros|g_idx|absmax|zero_point|quant_state")


def _unused_tensors(folder: ModelFolder, names: Sequence[str]) -> tuple[str, ...]:
    """Return the tensors of the folder that the model does not use, where the weights mean the same without them.

    Raises UnsupportedModel for those without which they do not: layers past the config's number, scales of quantised
    weights, adapters that were never merged.
    """
    blocks: dict[str, int] = {}
    for layer in folder.anatomy.layers:
        stack, _, number = layer.block.rpartition(".")
        blocks[stack] = max(blocks.get(stack, 0), int(number) if number.isdigit() else 0)
    for name in names:
        for stack, last in blocks.items():
            number = name.removeprefix(f"{stack}.").partition(".")[0]
            if name.startswith(f"{stack}.") and number.isdigit() and int(number) > last:
                raise UnsupportedModel(
                    f"The weights of {folder.id!r} hold {name}, a layer past the last one that its config names "
                    f"({stack}.{last}). Correct the number of layers in config.json, or save the shorter model again."
                )
        if OF_OTHER_WEIGHTS.search(name):
            raise UnsupportedModel(
                f"The weights of {folder.id!r} hold {name}, which the model does not use: they are quantised, or come "
                "with an adapter. Merge or dequantise them, and save the model again with save_pretrained."
            )
    return tuple(names)


def _tokenizer(folder: ModelFolder) -> Any | None:
    if folder.anatomy.modality != "text":
        return None
    check_tokenizer_file(folder.id, folder.path)
    try:
        return transformers.AutoTokenizer.from_pretrained(folder.path, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # the tokenizers library raises Exception itself
        raise UnsupportedModel(f"The tokenizer of {folder.id!r} cannot be loaded: {first_line(error)}") from error


def _image_processor(folder: ModelFolder) -> Any | None:
    """Load the model's image processor, always the Pillow version: results must not depend on torchvision."""
    file = folder.path / "preprocessor_config.json"
    if folder.anatomy.modality != "image" or not file.exists():
        return None
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        class_name = str(config.get("image_processor_type") or config.get("feature_extractor_type"))
        base_name = class_name.replace("FeatureExtractor", "ImageProcessor").removesuffix("Fast").removesuffix("Pil")
        if not base_name.endswith("ImageProcessor") or not hasattr(transformers, f"{base_name}Pil"):
            raise UnsupportedModel(
                f"preprocessor_config.json of {folder.id!r} names {class_name!r}, which transformers "
                f"{transformers.__version__} does not have."
            )
        return getattr(transformers, f"{base_name}Pil").from_pretrained(folder.path, local_files_only=True)
    except UnsupportedModel:
        raise
    except Exception as error:  # as for the weights
        raise UnsupportedModel(f"The image processor of {folder.id!r} cannot be loaded: {error}") from error


def _device(name: str | torch.device) -> torch.device:
    """Return the device after testing that it works."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ModelShapleyError(f"Device {str(name)!r} cannot be used here ({reason}); try cpu.") from error
    return device
