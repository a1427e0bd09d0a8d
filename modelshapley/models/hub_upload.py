"""Repositories of the Hugging Face hub: what would be sent to one, sending it, and single files fetched. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx
from huggingface_hub import CommitOperationAdd, HfApi, constants, get_token, hf_hub_url
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # all public
    build_hf_headers,
    hf_raise_for_status,
)

from modelshapley.errors import ModelShapleyError
from modelshapley.models.hub import HUB_ERRORS, REQUEST_TIMEOUT_S, is_name, reachable

RepositoryKind = Literal["model", "dataset"]
File = bytes | Path


@dataclass(frozen=True)
class Upload:
    """Files for one commit to OWNER/NAME. files: {name: its content, or where it lies}."""

    repository: str
    kind: RepositoryKind
    files: Mapping[str, File]
    public: bool = False

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each file."""
        return {name: len(f) if isinstance(f, bytes) else f.stat().st_size for name, f in self.files.items()}


@dataclass(frozen=True)
class Destination:
    """Where an upload would go. address: of the hub. exists: the repository is there, and gets another commit."""

    address: str
    exists: bool


def check_destination(upload: Upload) -> Destination:
    """Return where an upload would go, without sending anything of it.

    Raises ModelShapleyError for a name that no repository has, without a token, and if the hub does not answer.
    """
    if not is_name(upload.repository) or "@" in upload.repository:
        raise ModelShapleyError(f"A repository is OWNER/NAME, not {upload.repository!r}.")
    if get_token() is None:
        raise ModelShapleyError(
            "Publishing needs a token of the Hugging Face hub with write access: `hf auth login`, or the variable "
            "HF_TOKEN."
        )
    if not reachable():
        raise ModelShapleyError(f"The hub at {constants.ENDPOINT} does not answer, so nothing was sent.")
    try:
        exists = HfApi().repo_exists(upload.repository, repo_type=upload.kind)
    except HUB_ERRORS as error:
        raise _failed(upload, error) from error
    return Destination(constants.ENDPOINT, exists)


def send(upload: Upload, message: str) -> str:
    """Create the repository if it is not there, and commit all files at once. Return the commit's address.

    A repository that is created is private unless the upload is public; one that exists keeps its visibility. Raises
    ModelShapleyError; a commit is made whole or not at all.
    """
    api, kind = HfApi(), upload.kind
    operations = [CommitOperationAdd(name, file) for name, file in upload.files.items()]
    try:
        api.create_repo(upload.repository, repo_type=kind, private=not upload.public, exist_ok=True)
        commit = api.create_commit(upload.repository, operations, commit_message=message, repo_type=kind)
    except (*HUB_ERRORS, RuntimeError, LookupError) as error:
        raise _failed(upload, error) from error
    return commit.commit_url


def read_file(name: str, file: str, kind: RepositoryKind, limit: int) -> bytes | None:
    """Download one file of OWNER/NAME or OWNER/NAME@REVISION, of at most `limit` bytes.

    None if there is no such repository, or no such file in it. Raises ModelShapleyError for one that is larger, and if
    the hub does not answer.
    """
    repository, _, revision = name.partition("@")
    url, data = hf_hub_url(repository, file, repo_type=kind, revision=revision or None), bytearray()
    try:
        with httpx.stream(
            "GET", url, headers=build_hf_headers(), timeout=REQUEST_TIMEOUT_S, follow_redirects=True
        ) as response:
            hf_raise_for_status(response)
            for block in response.iter_bytes():
                data += block
                if len(data) > limit:
                    raise ModelShapleyError(f"{file} of {name!r} is larger than {limit:,} bytes.")
    except (RepositoryNotFoundError, EntryNotFoundError):
        return None
    except HUB_ERRORS as error:
        raise ModelShapleyError(f"{file} of {name!r} cannot be fetched from the hub: {_first_line(error)}") from error
    return bytes(data)


def _failed(upload: Upload, error: Exception) -> ModelShapleyError:
    return ModelShapleyError(
        f"The hub did not accept the {upload.kind} {upload.repository!r}: {_first_line(error)} "
        "Does the token have write access to this owner?"
    )


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
