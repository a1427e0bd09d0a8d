"""Load a model for scoring: safetensors only, weights frozen, evaluation mode, anatomy verified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import nn

from modelshapley.anatomy import Anatomy
from modelshapley.catalog import ModelFolder
from modelshapley.errors import ModelShapleyError, UnsupportedModel
from modelshapley.verify import verify


@dataclass(frozen=True)
class LoadedModel:
    """A live model with what its tasks need. `tokenizer` is None for image models."""

    id: str
    revision: str
    anatomy: Anatomy
    model: nn.Module
    tokenizer: Any | None
    device: torch.device


def load(folder: ModelFolder, device: str | torch.device = "cpu") -> LoadedModel:
    """Load the model in ``folder`` onto ``device`` in float32, frozen.

    Raises ModelShapleyError for a device that is not there, and UnsupportedModel where transformers cannot load
    the model or its anatomy fails verification
    (gating a sample of units must equal zeroing the matching weights).
    """
    anatomy = folder.anatomy
    place = _device(device)
    transformers.utils.logging.disable_progress_bar()
    auto_class = getattr(transformers, anatomy.auto_class)
    try:
        model, report = auto_class.from_pretrained(
            folder.path,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
        tokenizer = None
        if anatomy.modality == "text":
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                folder.path, trust_remote_code=False, local_files_only=True
            )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise UnsupportedModel(f"{folder.id!r} cannot be loaded: {error}") from error
    if report["missing_keys"]:
        # transformers fills these with random numbers and only warns: every score would be nonsense.
        some = ", ".join(sorted(report["missing_keys"])[:3])
        raise UnsupportedModel(
            f"The weights of {folder.id!r} lack {len(report['missing_keys'])} tensor(s) that a "
            f"{anatomy.model_type} model for this use needs, such as {some}."
        )
    model.eval().requires_grad_(False).to(place)
    loaded = LoadedModel(folder.id, folder.revision(), folder.anatomy, model, tokenizer, place)
    verify(model, folder.anatomy)
    return loaded


def _device(name: str | torch.device) -> torch.device:
    """The device, once it has been seen to work."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ModelShapleyError(f"Device {str(name)!r} cannot be used here ({reason}); try cpu.") from error
    return device
