"""Classification of pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
from torch import Tensor

from modelshapley.contracts.task_files.descriptions import ExampleShown
from modelshapley.contracts.task_files.file import ImageClassificationTask
from modelshapley.errors import TaskMismatch
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.data import BadRow, Row, Table, shorten
from modelshapley.tasks.kinds.classification import Classification

MAX_DISPLAY_PIXELS = 192
DATA_URL = "data:image/"
Source = bytes | Path | Callable[[], bytes | Path]


@dataclass(frozen=True)
class Picture:
    """A picture of a class.

    source: bytes of a picture file, its path, or a function that returns one of these. number: number of its class
    in the data.
    """

    source: Source
    number: int
    label: str | None
    where: str

    def open(self, mode: str = "RGB") -> PIL.Image.Image:
        """Open the picture. Raises BadRow for what is no picture, or has more pixels than Pillow considers safe."""
        source = self.source() if callable(self.source) else self.source
        try:
            with PIL.Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
                # As a viewer shows it: cameras store how the picture must be turned.
                return to_eight_bits(PIL.ImageOps.exif_transpose(image)).convert(mode)
        except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
            raise BadRow(f"the picture cannot be read ({type(error).__name__})") from error


class ImageClassification(Classification[Picture, ImageClassificationTask]):
    """Classification of pictures, prepared by the model's own image processor."""

    probe_batch = 32
    test_chunk = 64

    def columns(self) -> list[str]:
        return [self.spec.image, self.spec.label]

    def row(self, table: Table, index: int) -> Row:
        """Return a row with its picture as a :data:`Source`, since a table's million pictures must not be read
        early.
        """
        column = self.spec.image
        row = self.name_classes(table, table.row(index, lazy=column))
        value = row.get(column)
        if callable(value):
            return {**row, column: partial(_read_source, value, column, table.base)}
        return {**row, column: _source(value, column, table.base)}

    def example(self, row: Row, where: str) -> Picture:
        return Picture(row[self.spec.image], self.class_number(row), self.label_of(row), where)

    def fit(self, loaded: LoadedModel, example: Picture) -> None:
        example.open()

    def display(self, loaded: LoadedModel | None, example: Picture) -> ExampleShown:
        right = self.classes[example.number]
        return ExampleShown(row=example.where, image=data_url(example.open()), right=right, label=example.label)

    def check(self, loaded: LoadedModel) -> None:
        super().check(loaded)
        if loaded.processor is None:
            raise TaskMismatch(
                f"Task {self.spec.name!r} prepares pictures with the model's image processor, but {loaded.id!r} has no "
                "preprocessor_config.json; save its image processor into the folder."
            )

    def logits(self, loaded: LoadedModel, examples: Sequence[Picture]) -> Tensor:
        channels = getattr(loaded.model.config, "num_channels", 3)
        images = [picture.open("L" if channels == 1 else "RGB") for picture in examples]
        assert loaded.processor is not None
        pixels: Any = loaded.processor(images=images, return_tensors="pt")["pixel_values"]
        logits: Tensor = loaded.model(pixel_values=pixels.to(loaded.device, getattr(torch, loaded.dtype))).logits
        return logits


def to_eight_bits(image: PIL.Image.Image) -> PIL.Image.Image:
    """Return a picture of more than 8 bits a channel with 8; Pillow's own conversion would cut values off at 255.

    16-bit values are divided by 257, floats go from 0 to 1. Raises BadRow for other ranges: how bright they are is
    not in the file.
    """
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image
    values = np.asarray(image).astype(np.float64)
    low, high = float(values.min()), float(values.max())
    full = 1.0 if image.mode == "F" else 65535.0
    if not (low >= 0 and high <= full):
        raise BadRow(
            f"the picture has values from {low:g} to {high:g} (mode {image.mode}), of which 0 to {full:g} are read; "
            "save it with 8 or 16 bits a channel"
        )
    return PIL.Image.fromarray(np.round(values / full * 255).astype(np.uint8))


def data_url(image: PIL.Image.Image) -> str:
    """Encode a picture for a page, at most MAX_DISPLAY_PIXELS wide and high."""
    image.thumbnail((MAX_DISPLAY_PIXELS, MAX_DISPLAY_PIXELS))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _read_source(read: Callable[[], Any], column: str, base: Path | None) -> bytes | Path:
    return _source(read(), column, base)


def _source(value: Any, column: str, base: Path | None) -> bytes | Path:
    """Return the source in a row's value: bytes, {bytes, path} as the datasets library has it, or a path from `base`.

    Raises BadRow for anything else, and for a path that is not a file in the folder of the data.
    """
    if isinstance(value, bytes) and value:
        return value
    if isinstance(value, dict):
        if value.get("bytes"):
            return bytes(value["bytes"])
        value = value.get("path")
    if not isinstance(value, str) or not value:
        raise BadRow(f"nothing in column {column!r}")
    if value.startswith(DATA_URL):
        return bytes_of(value)
    return _resolve_inside(value, base)


def bytes_of(url: str) -> bytes:
    """Return the bytes of a picture in a data URL, as pages and task files hold it. Raises BadRow."""
    header, _, data = url.partition(",")
    try:
        if not (header.startswith(DATA_URL) and header.endswith(";base64")):
            raise ValueError
        return base64.b64decode(data, validate=True)
    except ValueError:
        raise BadRow("the picture is no data URL, which begins with data:image/png;base64,") from None


def _resolve_inside(path: str, base: Path | None) -> Path:
    if base is None:
        raise BadRow(f"the picture {shorten(path)} is not in the data")
    try:
        resolved = (base / path).resolve()
        exists = resolved.is_file()
    except (OSError, ValueError, RuntimeError):  # not a possible file name, or a cycle of links
        raise BadRow(f"there is no picture {shorten(path)}") from None
    if not resolved.is_relative_to(base.resolve()):
        raise BadRow(f"the picture {shorten(path)} lies outside the folder of the data")
    if not exists:
        raise BadRow(f"there is no picture {shorten(path)}")
    return resolved
