"""Models on the Hugging Face hub or in its cache, and whether the hub is reachable. Torch-free."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
from huggingface_hub import HfApi, constants, hf_hub_url, snapshot_download
from huggingface_hub.errors import HFValidationError, NotASafetensorsRepoError
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import build_hf_headers, validate_repo_id  # type: ignore[attr-defined]  # both public
from tqdm import tqdm

from modelshapley.errors import UnsafeModel, UnsupportedModel

REQUEST_TIMEOUT_S = 5.0
NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}", re.ASCII)
# Weights as safetensors only, and the files that configure model, tokenizer and image processor.
FILE_PATTERNS = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
MAX_CONFIG_BYTES = 4 * 2**20
HUB_ERRORS = (OSError, ValueError, RecursionError, httpx.HTTPError)
OnBytes = Callable[[int, int], None]


def is_name(text: str) -> bool:
    """Return whether a text is OWNER/NAME or OWNER/NAME@REVISION, with a repository as the hub allows them."""
    if not NAME.fullmatch(text):
        return False
    try:
        validate_repo_id(text.partition("@")[0])
    except HFValidationError:
        return False
    return True


def reachable() -> bool:
    """Return whether the hub answers: the libraries themselves would retry for half a minute."""
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        httpx.head(constants.ENDPOINT, timeout=REQUEST_TIMEOUT_S)
    except httpx.HTTPError:
        return False
    return True


def model_folder(name: str, on_bytes: OnBytes = lambda done, total: None) -> Path:
    """Return the folder of a hub model, OWNER/NAME or OWNER/NAME@REVISION, and fetch it unless it is cached.

    Only safetensors and text files at the top of the repository are fetched. on_bytes: called from other threads with
    the bytes received and their total. Raises UnsupportedModel if the model is not available.
    """
    repository, _, revision = name.partition("@")
    try:
        folder = snapshot_download(
            repository,
            revision=revision or None,
            allow_patterns=FILE_PATTERNS,
            ignore_patterns=["*/*"],
            local_files_only=not reachable(),
            tqdm_class=_progress_bar(on_bytes),
        )
    except HUB_ERRORS as error:
        raise UnsupportedModel(
            f"{name!r} is not a local folder, and is not available from the Hugging Face hub or its cache: "
            f"{_first_line(error)} Give the path of a folder that holds its config.json and safetensors."
        ) from error
    return Path(folder)


def _progress_bar(on_bytes: OnBytes) -> type[Any]:
    """Return a progress-bar class that draws nothing; the library has two that count bytes: received, and written."""
    bars: list[Silent] = []

    class Silent(tqdm):  # type: ignore[misc]  # tqdm is untyped
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})
            self.received = kwargs.get("initial", 0)
            if kwargs.get("unit") == "B":
                bars.append(self)

        def update(self, n: float | None = 1) -> None:
            self.received += n or 0
            if self in bars:
                on_bytes(int(max(bar.received for bar in bars)), int(max(bar.total or 0 for bar in bars)))

    return Silent


def pin(name: str) -> str:
    """Resolve OWNER/NAME or OWNER/NAME@REVISION to OWNER/NAME@COMMIT, by the hub or, without it, by its cache.

    Raises UnsupportedModel if neither knows it.
    """
    repository, _, revision = name.partition("@")
    if COMMIT.fullmatch(revision):
        return name
    if not reachable():
        return f"{repository}@{_cached_commit(repository, revision or constants.DEFAULT_REVISION)}"
    try:
        commit = HfApi().model_info(repository, revision=revision or None, timeout=REQUEST_TIMEOUT_S).sha
    except HUB_ERRORS as error:
        raise _unavailable(name, _first_line(error)) from error
    return f"{repository}@{commit}"


def cached_folder(name: str) -> Path | None:
    """Return the cached folder of OWNER/NAME@COMMIT; None unless its config and all its weights are there."""
    repository, _, commit = name.partition("@")
    if not COMMIT.fullmatch(commit):
        return None
    folder = _cache_folder(repository) / "snapshots" / commit
    if not (folder / "config.json").is_file():
        return None
    index = folder / constants.SAFETENSORS_INDEX_FILE
    if index.is_file():
        try:
            weight_files = set(json.loads(index.read_text(encoding="utf-8")).get("weight_map", {}).values())
            complete = bool(weight_files) and all((folder / Path(name).name).is_file() for name in weight_files)
        except (ValueError, RecursionError, AttributeError, TypeError):  # not an index
            return None
    else:
        complete = any(folder.glob("*.safetensors"))
    return folder if complete else None


@lru_cache(64)
def read_remote(name: str) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
    """Read the config, and the names and shapes of the tensors, of OWNER/NAME@COMMIT, from file headers only.

    Raises UnsupportedModel if it is not available, UnsafeModel if it has no safetensors.
    """
    repository, _, commit = name.partition("@")
    if not reachable():
        raise _unavailable(name, "the hub does not answer")
    try:
        config = json.loads(_config_bytes(repository, commit))
        metadata = HfApi().get_safetensors_metadata(repository, revision=commit, timeout=REQUEST_TIMEOUT_S)
    except NotASafetensorsRepoError as error:
        raise UnsafeModel(
            f"{name!r} has no model.safetensors on the hub; pickled weights, which run code, are never opened. "
            "Choose a model that has one, or save it again with save_pretrained(..., safe_serialization=True)."
        ) from error
    except HUB_ERRORS as error:
        raise _unavailable(name, _first_line(error)) from error
    if not isinstance(config, dict):
        raise UnsupportedModel(f"config.json of {name!r} must hold a JSON object.")
    files = metadata.files_metadata.values()
    return config, {tensor: tuple(info.shape) for file in files for tensor, info in file.tensors.items()}


def _config_bytes(repository: str, commit: str) -> bytes:
    """Download the config.json of a model. Raises one of HUB_ERRORS."""
    url, data = hf_hub_url(repository, "config.json", revision=commit), bytearray()
    headers = build_hf_headers()
    with httpx.stream("GET", url, headers=headers, timeout=REQUEST_TIMEOUT_S, follow_redirects=True) as response:
        response.raise_for_status()
        for block in response.iter_bytes():
            data += block
            if len(data) > MAX_CONFIG_BYTES:
                raise ValueError(f"its config.json is larger than {MAX_CONFIG_BYTES:,} bytes.")
    return bytes(data)


def _cache_folder(repository: str) -> Path:
    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repository, repo_type="model")


def _cached_commit(repository: str, revision: str) -> str:
    refs = _cache_folder(repository) / "refs"
    file = (refs / revision).resolve()
    if file.is_relative_to(refs.resolve()) and file.is_file():
        commit = file.read_text(encoding="utf-8").strip()
        if COMMIT.fullmatch(commit):
            return commit
    raise _unavailable(f"{repository}@{revision}", "the hub does not answer")


def _unavailable(name: str, reason: str) -> UnsupportedModel:
    return UnsupportedModel(
        f"{name!r} is not available from the Hugging Face hub ({reason.rstrip('.')}) or in its cache on this machine. "
        "Download it into the cache with a network connection, or provide its files: upload them, or put them "
        "among the local models."
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
