"""The Hugging Face hub: whether it answers, and models out of it or its cache. Torch-free."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
from huggingface_hub import constants, snapshot_download

from modelshapley.errors import UnsupportedModel

PATIENCE_S = 5.0
NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?")
# Weights as safetensors alone, and what configures model, tokenizer and image processor.
FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]


def reachable() -> bool:
    """Whether the hub answers; the libraries would try for half a minute."""
    try:
        httpx.head(constants.ENDPOINT, timeout=PATIENCE_S)
    except httpx.HTTPError:
        return False
    return True


def model_folder(name: str) -> Path:
    """The folder of a model of the hub, OWNER/NAME or OWNER/NAME@REVISION, fetched unless it is in the cache.

    Only safetensors and texts are fetched, at the top of the repository. Raises UnsupportedModel where it cannot
    be had.
    """
    repository, _, revision = name.partition("@")
    try:
        found = snapshot_download(
            repository,
            revision=revision or None,
            allow_patterns=FILES,
            ignore_patterns=["*/*"],
            local_files_only=not reachable(),
        )
    except (OSError, ValueError, httpx.HTTPError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UnsupportedModel(
            f"{name!r} is no folder here, and cannot be had from the Hugging Face hub or its cache: {reason} "
            "Give the path of a folder that holds its config.json and safetensors."
        ) from error
    return Path(found)
