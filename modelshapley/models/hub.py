"""The Hugging Face hub: whether it answers, and models out of it or its cache. Torch-free."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
from huggingface_hub import HfApi, constants, hf_hub_url, snapshot_download
from huggingface_hub.errors import NotASafetensorsRepoError
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # public by its documentation
from tqdm import tqdm

from modelshapley.errors import UnsafeModel, UnsupportedModel

PATIENCE_S = 5.0
NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?")
COMMIT = re.compile(r"[0-9a-f]{40}", re.ASCII)
# Weights as safetensors alone, and what configures model, tokenizer and image processor.
FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
LARGEST_CONFIG = 4 * 2**20
TROUBLES = (OSError, ValueError, httpx.HTTPError)
Tell = Callable[[int, int], None]


def reachable() -> bool:
    """Whether the hub answers; the libraries would try for half a minute."""
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        httpx.head(constants.ENDPOINT, timeout=PATIENCE_S)
    except httpx.HTTPError:
        return False
    return True


def model_folder(name: str, tell: Tell = lambda done, total: None) -> Path:
    """The folder of a model of the hub, OWNER/NAME or OWNER/NAME@REVISION, fetched unless it is in the cache.

    Only safetensors and texts are fetched, at the top of the repository. tell: called now and then with the bytes
    that have come, of how many; from other threads. Raises UnsupportedModel where it cannot be had.
    """
    repository, _, revision = name.partition("@")
    try:
        found = snapshot_download(
            repository,
            revision=revision or None,
            allow_patterns=FILES,
            ignore_patterns=["*/*"],
            local_files_only=not reachable(),
            tqdm_class=_telling(tell),
        )
    except TROUBLES as error:
        raise UnsupportedModel(
            f"{name!r} is no folder here, and cannot be had from the Hugging Face hub or its cache: "
            f"{_reason(error)} Give the path of a folder that holds its config.json and safetensors."
        ) from error
    return Path(found)


def _telling(tell: Tell) -> type[Any]:
    """A progress bar that draws nothing. The library has two that count bytes: received, and written."""
    bars: list[Silent] = []

    class Silent(tqdm):  # type: ignore[misc]  # tqdm is untyped
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})
            self.came = kwargs.get("initial", 0)
            if kwargs.get("unit") == "B":
                bars.append(self)

        def update(self, n: float | None = 1) -> None:
            self.came += n or 0
            if self in bars:
                tell(int(max(bar.came for bar in bars)), int(max(bar.total or 0 for bar in bars)))

    return Silent


def pinned(name: str) -> str:
    """OWNER/NAME@COMMIT for OWNER/NAME or OWNER/NAME@REVISION: what the hub, or without it its cache, says now.

    Raises UnsupportedModel where neither knows it.
    """
    repository, _, revision = name.partition("@")
    if COMMIT.fullmatch(revision):
        return name
    if not reachable():
        return f"{repository}@{_cached_commit(repository, revision or constants.DEFAULT_REVISION)}"
    try:
        commit = HfApi().model_info(repository, revision=revision or None, timeout=PATIENCE_S).sha
    except TROUBLES as error:
        raise _unknown(name, _reason(error)) from error
    return f"{repository}@{commit}"


def cached(name: str) -> Path | None:
    """The folder of OWNER/NAME@COMMIT in the cache, where its config and all its weights are there."""
    repository, _, commit = name.partition("@")
    if not COMMIT.fullmatch(commit):
        return None
    folder = _cache(repository) / "snapshots" / commit
    if not (folder / "config.json").is_file():
        return None
    index = folder / constants.SAFETENSORS_INDEX_FILE
    if index.is_file():
        wanted = set(json.loads(index.read_text(encoding="utf-8")).get("weight_map", {}).values())
        whole = bool(wanted) and all((folder / Path(name).name).is_file() for name in wanted)
    else:
        whole = any(folder.glob("*.safetensors"))
    return folder if whole else None


@lru_cache(64)
def remote(name: str) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
    """Config, and names and shapes of the tensors, of OWNER/NAME@COMMIT: heads of its files are read, no weights.

    Raises UnsupportedModel where it cannot be had, UnsafeModel where it has no safetensors.
    """
    repository, _, commit = name.partition("@")
    if not reachable():
        raise _unknown(name, "the hub does not answer")
    try:
        config = json.loads(_text(repository, commit))
        found = HfApi().get_safetensors_metadata(repository, revision=commit, timeout=PATIENCE_S)
    except NotASafetensorsRepoError as error:
        raise UnsafeModel(
            f"{name!r} has no model.safetensors on the hub; pickled weights, which run code, are never opened. "
            "Choose a model that has, or save it anew with save_pretrained(..., safe_serialization=True)."
        ) from error
    except TROUBLES as error:
        raise _unknown(name, _reason(error)) from error
    if not isinstance(config, dict):
        raise UnsupportedModel(f"config.json of {name!r} must hold a JSON object.")
    files = found.files_metadata.values()
    return config, {tensor: tuple(info.shape) for file in files for tensor, info in file.tensors.items()}


def _text(repository: str, commit: str) -> bytes:
    """Its config.json. Raises one of TROUBLES."""
    url, data = hf_hub_url(repository, "config.json", revision=commit), bytearray()
    headers = build_hf_headers()
    with httpx.stream("GET", url, headers=headers, timeout=PATIENCE_S, follow_redirects=True) as answer:
        answer.raise_for_status()
        for block in answer.iter_bytes():
            data += block
            if len(data) > LARGEST_CONFIG:
                raise ValueError(f"its config.json is larger than {LARGEST_CONFIG:,} bytes.")
    return bytes(data)


def _cache(repository: str) -> Path:
    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repository, repo_type="model")


def _cached_commit(repository: str, revision: str) -> str:
    refs = _cache(repository) / "refs"
    file = (refs / revision).resolve()
    if file.is_relative_to(refs.resolve()) and file.is_file():
        commit = file.read_text(encoding="utf-8").strip()
        if COMMIT.fullmatch(commit):
            return commit
    raise _unknown(f"{repository}@{revision}", "the hub does not answer")


def _unknown(name: str, reason: str) -> UnsupportedModel:
    return UnsupportedModel(
        f"{name!r} cannot be had from the Hugging Face hub ({reason.rstrip('.')}), nor is it in the cache here. "
        "Fetch it into the cache where there is a network, or give its files: upload them, or put them "
        "among the local models."
    )


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
