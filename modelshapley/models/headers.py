"""Config and tensor headers of a model folder, read within limits and without trust in them. Torch-free."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

from modelshapley.errors import UnsupportedModel

MAX_HEADER_BYTES = 32 * 2**20  # safetensors itself allows 100 MB, which would take gigabytes to read
MAX_CONFIG_BYTES = 4 * 2**20
MAX_TENSORS, MAX_NAME, MAX_DIMENSIONS = 1_000_000, 500, 16
# Bytes of a number by dtype; a file with others is compared with its size by safetensors alone.
WIDTHS = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}
WIDTHS |= {"I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1}


def read_config(model_id: str, file: Path) -> dict[str, Any]:
    """Read a config.json. Raises UnsupportedModel with the reason."""
    config = read_json(model_id, file, MAX_CONFIG_BYTES)
    if not isinstance(config, dict):
        raise UnsupportedModel(f"{file.name} of {model_id!r} must hold a JSON object.")
    return config


def read_json(model_id: str, file: Path, limit: int) -> Any:
    """Read a JSON file of at most `limit` bytes. Raises UnsupportedModel with the reason."""
    try:
        if file.stat().st_size > limit:
            raise UnsupportedModel(f"{file.name} of {model_id!r} has more than {limit:,} bytes.")
        return parse_json(file.read_bytes())
    except (ValueError, RecursionError, OSError) as error:
        raise UnsupportedModel(f"{file.name} of {model_id!r} cannot be read as JSON: {error}") from error


def parse_json(data: bytes) -> Any:
    """Parse JSON whose every text can be written as UTF-8. Raises ValueError, RecursionError."""
    value = json.loads(data)
    if b"\\ud" in data.lower():  # only an escape can hold half a surrogate pair
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("a text in it holds half a surrogate pair, which is no character") from None
    return value


def tensor_shapes(model_id: str, folder: Path) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of a folder's tensors, from the header of each file. Raises UnsupportedModel."""
    shapes: dict[str, tuple[int, ...]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with file.open("rb") as stream:
                shapes |= _header_shapes(stream, file.stat().st_size)
        except (ValueError, RecursionError, OSError) as error:
            raise UnsupportedModel(
                f"{file.name} of {model_id!r} is not a complete safetensors file: {str(error)[:300]}"
            ) from error
    return shapes


def _header_shapes(stream: BinaryIO, size: int) -> dict[str, tuple[int, ...]]:
    """Read one header: its length in 8 bytes, then JSON. Raises ValueError where it does not describe the file."""
    length = int.from_bytes(stream.read(8), "little")
    if not 0 < length <= min(MAX_HEADER_BYTES, size - 8):
        raise ValueError(f"its header would have {length:,} bytes, of {size:,} in the file")
    header = parse_json(stream.read(length))
    if not isinstance(header, dict) or len(header) > MAX_TENSORS:
        raise ValueError("its header is no object of tensors")
    header.pop("__metadata__", None)
    return {name: _entry_shape(name, entry, size - 8 - length) for name, entry in header.items()}


def _entry_shape(name: str, entry: object, data_bytes: int) -> tuple[int, ...]:
    """Return the shape in a tensor's entry. Raises ValueError unless it fits its place in the file."""
    if len(name) > MAX_NAME:
        raise ValueError(f"the name {name[:40]!r}... has {len(name):,} characters")
    if not isinstance(entry, dict):
        raise ValueError(f"the entry of {name!r} is no object")
    shape, place, dtype = entry.get("shape"), entry.get("data_offsets"), entry.get("dtype")
    if not _whole_numbers(shape) or len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"the shape of {name!r} is no list of whole numbers")
    if not _whole_numbers(place) or len(place) != 2 or not place[0] <= place[1] <= data_bytes:
        raise ValueError(f"the data_offsets of {name!r} are no place in the file")
    if not isinstance(dtype, str):
        raise ValueError(f"the dtype of {name!r} is no text")
    if dtype in WIDTHS and prod(shape) * WIDTHS[dtype] != place[1] - place[0]:
        raise ValueError(f"the shape of {name!r} does not have the size of its data")
    return tuple(shape)


def _whole_numbers(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(
        isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**53 for number in value
    )
