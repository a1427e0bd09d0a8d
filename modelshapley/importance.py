"""The importance map: scores of every unit of one model on one task by one method. Needs numpy, not torch."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from modelshapley.errors import ModelShapleyError, UnknownName
from modelshapley.units import UnitKind

FORMAT = "modelshapley.map.v1"
Array = npt.NDArray[np.float64]


def pack(tensors: Mapping[str, npt.NDArray[Any]], header: Mapping[str, Any]) -> bytes:
    """Arrays and a JSON header as one safetensors file."""
    return save(dict(tensors), metadata={"header": json.dumps(header, sort_keys=True)})


def unpack(data: bytes) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """The reverse of :func:`pack`. Raises SafetensorError or ValueError for anything else.

    safetensors reads arrays out of bytes but not their metadata, hence the look at the file's own header:
    its length in the first 8 bytes, little-endian, then JSON.
    """
    tensors = load(data)
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    return tensors, json.loads(metadata.get("header", "{}"))


@dataclass(frozen=True)
class ImportanceMap:
    """Scores with standard errors and provenance.

    scores, standard_errors: {kind: array}; neurons (layers, neurons), heads (layers, heads), layers (layers,).
    quantity: what a score is, with its unit. signed: scores may be negative (the unit hurts).
    provenance: model, revision, task, task_fingerprint, n, seed, method, parameters, versions, created.
    """

    method: str
    quantity: str
    signed: bool
    scores: Mapping[UnitKind, Array]
    standard_errors: Mapping[UnitKind, Array]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind, scores in self.scores.items():
            if self.standard_errors[kind].shape != scores.shape:
                raise ValueError(f"{kind.value}: scores and standard errors differ in shape")

    def to_bytes(self, kinds: list[UnitKind] | None = None) -> bytes:
        """As one safetensors file; `kinds` leaves out the others."""
        kept = kinds if kinds is not None else list(self.scores)
        tensors = {f"{kind.value}.scores": np.ascontiguousarray(self.scores[kind]) for kind in kept}
        tensors |= {
            f"{kind.value}.standard_errors": np.ascontiguousarray(self.standard_errors[kind]) for kind in kept
        }
        header = {
            "format": FORMAT,
            "method": self.method,
            "quantity": self.quantity,
            "signed": self.signed,
            "provenance": dict(self.provenance),
        }
        return pack(tensors, header)

    def save(self, file: Path) -> None:
        """Write to `file`, whole or not at all."""
        temporary = file.with_name(file.name + ".part")
        temporary.write_bytes(self.to_bytes())
        temporary.replace(file)

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read a file written by :meth:`save`. Raises ModelShapleyError for any other file."""
        try:
            return cls.from_bytes(file.read_bytes())
        except (ModelShapleyError, OSError) as error:
            raise ModelShapleyError(f"{file.name}: {error}") from error

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The reverse of :meth:`to_bytes`. Raises ModelShapleyError for anything else."""
        try:
            tensors, header = unpack(data)
        except (SafetensorError, ValueError) as error:
            raise ModelShapleyError(f"not an importance map: {error}") from error
        if header.get("format") != FORMAT:
            raise ModelShapleyError(f"not an importance map of format {FORMAT}")
        kinds = [kind for kind in UnitKind if f"{kind.value}.scores" in tensors]
        return cls(
            method=header["method"],
            quantity=header["quantity"],
            signed=header["signed"],
            scores={kind: tensors[f"{kind.value}.scores"] for kind in kinds},
            standard_errors={kind: tensors[f"{kind.value}.standard_errors"] for kind in kinds},
            provenance=header["provenance"],
        )

    def check_kind(self, kind: UnitKind) -> None:
        """Raise UnknownName where this map was not computed for `kind`."""
        if kind not in self.scores:
            raise UnknownName("unit kind in this map", kind.value, [k.value for k in self.scores])

    def table(self, kind: UnitKind) -> tuple[Array, Array]:
        """Scores and standard errors as (layers, columns); a layer map has one column."""
        self.check_kind(kind)
        layers = self.scores[kind].shape[0]
        return self.scores[kind].reshape(layers, -1), self.standard_errors[kind].reshape(layers, -1)

    def pooled(self, kind: UnitKind, columns: int) -> tuple[Array, Array, list[int]]:
        """At most `columns` columns: of each run of units, the score of largest magnitude and its standard error.

        For scores that cannot be negative this is the maximum; on a signed map a strongly harmful unit
        stays visible. Returns scores and standard errors (layers, columns) and the columns' edges.
        """
        scores, errors = self.table(kind)
        width = scores.shape[1]
        columns = min(columns, width)
        edges = [column * width // columns for column in range(columns + 1)]
        chosen = np.stack(
            [start + np.abs(scores[:, start:end]).argmax(1) for start, end in pairwise(edges)],
            axis=1,
        )
        return np.take_along_axis(scores, chosen, 1), np.take_along_axis(errors, chosen, 1), edges

    def csv(self, kind: UnitKind) -> str:
        """Columns layer, index (absent for layers), score, standard_error; one line a unit."""
        self.check_kind(kind)
        scores, errors = self.scores[kind], self.standard_errors[kind]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*("layer", "index")[: scores.ndim], "score", "standard_error"])
        for unit in np.ndindex(scores.shape):
            writer.writerow([*unit, repr(float(scores[unit])), repr(float(errors[unit]))])
        return text.getvalue()
