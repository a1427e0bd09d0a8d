"""A derived model as a model repository of the Hugging Face hub, and back."""

from __future__ import annotations

import json
import shutil
from fnmatch import fnmatch
from pathlib import Path

from modelshapley.applications.folder import CARD, INFO, new_folder
from modelshapley.errors import ModelShapleyError
from modelshapley.models import hub
from modelshapley.models.hub_upload import read_file

FORMAT = "modelshapley.derived.v1"
MAX_TEXT_BYTES = 4 * 2**20


def derived_files(folder: Path) -> tuple[dict[str, Path], list[str], str]:
    """Return the files of a derived model that are published, the names of others in its folder, and its parent.

    Raises ModelShapleyError for a folder that no derived model lies in.
    """
    parent = _parent((folder / INFO).read_bytes() if (folder / INFO).is_file() else None, str(folder))
    wanted = (CARD, *hub.FILE_PATTERNS)
    names = sorted(entry.name for entry in folder.iterdir())
    sent = [name for name in names if (folder / name).is_file() and any(fnmatch(name, one) for one in wanted)]
    if not any(name.endswith(".safetensors") for name in sent):
        raise ModelShapleyError(f"{str(folder)!r} holds no weights, so there is no model to publish.")
    return {name: folder / name for name in sent}, [name for name in names if name not in sent], parent


def fetch_derived(name: str, folder: Path) -> bool:
    """Save the derived model OWNER/NAME or OWNER/NAME@REVISION to a new folder; return whether there is one.

    Only safetensors and text files are fetched. Raises ModelShapleyError, UnsupportedModel.
    """
    record = read_file(name, INFO, "model", MAX_TEXT_BYTES)
    if record is None:
        return False
    _parent(record, name)
    card = read_file(name, CARD, "model", MAX_TEXT_BYTES)
    with new_folder(folder) as temporary:
        for file in hub.model_folder(name).iterdir():
            shutil.copyfile(file, temporary / file.name)
        if card is not None:
            (temporary / CARD).write_bytes(card)
    return True


def _parent(record: bytes | None, name: str) -> str:
    """Return the parent that a modelshapley.json names. Raises ModelShapleyError if its model is not derived."""
    try:
        found = json.loads(record or b"null")
        if found["format"] == FORMAT:
            return str(found["parent"])
    except (ValueError, LookupError, TypeError, RecursionError):
        pass
    raise ModelShapleyError(
        f"{name!r} is no derived model: it has no {INFO} by `modelshapley prune`, `recommend`, `finetune` or "
        "`quantise`."
    )
