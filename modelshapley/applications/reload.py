"""Load a saved model as anyone would, and write its logits: `python -m modelshapley.applications.reload`.

A process of its own, so that nothing of the model in memory can help: plain transformers, no code of this library.
Arguments: folder, transformers' auto class, device, dtype, safetensors file of inputs, file for the logits, and perhaps
the folder of an adapter for peft.
"""

from __future__ import annotations

import sys

import torch
import transformers
from safetensors.torch import load_file, save_file


def main(
    folder: str, auto_class: str, device: str, dtype: str, inputs: str, outputs: str, adapter: str | None = None
) -> None:
    model = getattr(transformers, auto_class).from_pretrained(
        folder, dtype=getattr(torch, dtype), use_safetensors=True, trust_remote_code=False, local_files_only=True
    )
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter)
    model = model.eval().to(device)
    with torch.inference_mode():
        logits = model(**{name: tensor.to(device) for name, tensor in load_file(inputs).items()}).logits
    save_file({"logits": logits.float().cpu().contiguous()}, outputs)


if __name__ == "__main__":
    main(*sys.argv[1:])
