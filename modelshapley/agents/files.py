"""Files that tools write: new ones, below one folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from modelshapley.client.calls import Form
from modelshapley.errors import ModelShapleyError

MOST_TEXT = 20_000
"""The most bytes of a map as text: about 10,000 tokens of an agent's context."""
FORMS: Mapping[str, Form] = {".csv": "csv", ".parquet": "parquet", ".safetensors": "safetensors"}


def new_file(folder: Path, name: str) -> Path:
    """Return the path of a file that does not exist yet, in `folder` or a folder below. Raises ModelShapleyError."""
    root = folder.resolve()
    file = root / name
    if file.suffix not in FORMS:
        raise ModelShapleyError(f"{name!r}: a map is written as .csv, .parquet or .safetensors.")
    if "\x00" in name or not file.parent.resolve().is_relative_to(root):
        raise ModelShapleyError(f"{name!r} is outside the working directory; name a file below {root}.")
    if not file.parent.is_dir():
        raise ModelShapleyError(f"There is no folder {str(Path(name).parent)!r} to write {file.name} to.")
    if file.exists() or file.is_symlink():
        raise ModelShapleyError(f"{name!r} exists already; choose another name.")
    return file


def write(file: Path, data: bytes) -> None:
    """Write a new file; one that appeared meanwhile is left as it is. Raises ModelShapleyError."""
    try:
        with file.open("xb") as stream:
            stream.write(data)
    except OSError as error:
        raise ModelShapleyError(f"{file.name} cannot be written ({error.strerror}); choose another name.") from None
