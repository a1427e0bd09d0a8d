"""The importance map: scores of every unit of one model on one task by one method. Needs numpy, not torch."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from modelshapley.errors import ModelShapleyError, NotFinite, UnknownName
from modelshapley.extras import require
from modelshapley.maps.html import to_html
from modelshapley.units import Deactivation, UnitKind, extreme_units

if TYPE_CHECKING:
    from modelshapley.maps.widget import MapWidget

FORMAT = "modelshapley.map.v1"
Array = npt.NDArray[np.float64]


def pack(tensors: Mapping[str, npt.NDArray[Any]], header: Mapping[str, Any]) -> bytes:
    """Serialise arrays and a JSON header as one safetensors file."""
    return save(dict(tensors), metadata={"header": json.dumps(header, sort_keys=True)})


def unpack(data: bytes) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Read what :func:`pack` wrote. Raises SafetensorError or ValueError for anything else.

    safetensors loads arrays from bytes but not their metadata, so this parses the file's header itself: its length in
    the first 8 bytes, little-endian, then JSON.
    """
    tensors = load(data)
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    return tensors, json.loads(metadata.get("header", "{}"))


@dataclass(frozen=True)
class Sides:
    """Help and harm of every unit of one kind.

    These are means over n examples of max(phi, 0) and max(-phi, 0), nats, and of their squares, all of the kind's
    shape.
    """

    n: int
    help: Array
    harm: Array
    help_squares: Array
    harm_squares: Array

    def reshape(self, shape: Sequence[int]) -> Sides:
        return Sides(self.n, *(getattr(self, part).reshape(shape) for part in SIDES))


HARMS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Weights of harm that users can choose from; see :func:`weigh`."""
SIDES = ("help", "harm", "help_squares", "harm_squares")


def weigh(sides: Sides, harm: float | None) -> tuple[Array, Array]:
    """Return scores (1 + harm) help + (1 - harm) harm, and their standard errors; harm None: help - harm, signed.

    0 counts help and harm alike, 1 counts only help; above 1 harm lowers the score. Nats.
    """
    up, down = (1.0, -1.0) if harm is None else (1 + harm, 1 - harm)
    scores = up * sides.help + down * sides.harm
    if sides.n < 2:
        return scores, np.full_like(scores, np.inf)
    # An example counts on one side only, so the cross term of the square is zero.
    squares = up**2 * sides.help_squares + down**2 * sides.harm_squares
    return scores, np.sqrt(np.maximum(squares - scores**2, 0) / (sides.n - 1))


Spans = list[dict[str, tuple[int, int]]]


def spans_of(projections: Sequence[Mapping[str, int]]) -> Spans:
    """Return for each layer {linear map: (first row, row after the last)}, from {name: rows} in order."""
    spans: Spans = []
    for maps in projections:
        ends = np.cumsum(list(maps.values())).tolist()
        spans.append({name: (end - maps[name], end) for name, end in zip(maps, ends, strict=True)})
    return spans


def by_projection(scores: Array, errors: Array, spans: Spans) -> tuple[Array, Array, list[str]]:
    """Pool rows by linear map: mean score and mean standard error, (layers, maps), and map names.

    scores, errors: (layers, rows). The mean of the standard errors bounds that of the mean from above. NaN where a
    layer lacks a map. Paper, Figure 1.
    """
    names = list(dict.fromkeys(name for maps in spans for name in maps))
    means, bounds = np.full((2, len(scores), len(names)), np.nan)
    for layer, maps in enumerate(spans):
        for name, (start, stop) in maps.items():
            means[layer, names.index(name)] = scores[layer, start:stop].mean()
            bounds[layer, names.index(name)] = errors[layer, start:stop].mean()
    return means, bounds, names


@dataclass(frozen=True)
class ImportanceMap:
    """Scores of every unit with standard errors and provenance.

    scores, standard_errors: {kind: array}; layers (layers,), other kinds (layers, units of the widest layer),
        NaN where a narrower layer has no unit.
    quantity: what a score is, with its unit. signed: scores may be negative (the unit hurts).
    provenance: model, revision, task, task_fingerprint, n, seed, method, parameters, versions, created.
    sides: {kind: help and harm}, for methods that store them separately; empty for others.
    """

    method: str
    quantity: str
    signed: bool
    scores: Mapping[UnitKind, Array]
    standard_errors: Mapping[UnitKind, Array]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    sides: Mapping[UnitKind, Sides] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind, scores in self.scores.items():
            if self.standard_errors[kind].shape != scores.shape:
                raise ValueError(f"{kind.value}: scores and standard errors differ in shape")
            if scores.size and not np.isfinite(scores).any():
                raise NotFinite(
                    f"The map by {self.method!r} holds no number as score of a {kind.value}; score the model again."
                )

    def _repr_html_(self) -> str:
        """Show the map in a notebook."""
        return to_html(self)

    def widget(self, kind: UnitKind | str | None = None) -> MapWidget:
        """Return a heatmap for notebooks on which units are selected by mouse or keyboard; needs the extra `notebook`.

        kind: shown first; the map's first kind by default. The widget's `selection` is a Deactivation.
        Raises ModelShapleyError without the extra, UnknownName for a kind that the map has none of.
        """
        require("Selecting units on a map needs", "notebook", "anywidget")
        from modelshapley.maps.widget import MapWidget

        if kind is not None:
            self._scores_of(kind)
        return MapWidget(self, None if kind is None else UnitKind(kind))

    def notes(self) -> list[str]:
        """Say where the scores do not sum to what all units together are worth; one sentence for each kind."""
        return [
            f"{self.method} of {kind}s has not converged: scores sum to {found['sum']:.3g} nats of "
            f"{found['worth']:.3g}, a completeness gap of {100 * found['gap']:.0f} %. Score with more points."
            for kind, found in self.provenance.get("completeness", {}).items()
            if not found["converged"]
        ]

    def least(self, kind: UnitKind | str, fraction: float) -> Deactivation:
        """The least important `fraction` (0 to 1) of the units of a kind, to be switched off.

        Raises UnknownName for a kind that the map has none of. How ties are broken: :func:`extreme_units`.
        """
        return extreme_units(self._scores_of(kind), UnitKind(kind), "least", fraction)

    def most(self, kind: UnitKind | str, fraction: float) -> Deactivation:
        """The most important `fraction` of the units of a kind; see :meth:`least`."""
        return extreme_units(self._scores_of(kind), UnitKind(kind), "most", fraction)

    def _scores_of(self, kind: UnitKind | str) -> Array:
        """Raises UnknownName."""
        if kind not in self.scores:
            raise UnknownName("unit kind in this map", str(kind), [k.value for k in self.scores])
        return self.scores[UnitKind(kind)]

    def to_bytes(self, kinds: list[UnitKind] | None = None) -> bytes:
        """Serialise the map as one safetensors file, or only some `kinds` of unit."""
        chosen = kinds if kinds is not None else list(self.scores)
        tensors = {f"{kind.value}.scores": np.ascontiguousarray(self.scores[kind]) for kind in chosen}
        tensors |= {
            f"{kind.value}.standard_errors": np.ascontiguousarray(self.standard_errors[kind]) for kind in chosen
        }
        for kind in chosen:
            if kind in self.sides:
                tensors |= {f"{kind.value}.{part}": getattr(self.sides[kind], part) for part in SIDES}
        return pack(tensors, self.header())

    def header(self) -> dict[str, Any]:
        """Return the JSON header of a file."""
        return {
            "format": FORMAT,
            "method": self.method,
            "quantity": self.quantity,
            "signed": self.signed,
            "provenance": dict(self.provenance),
        }

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
        """Read what :meth:`to_bytes` wrote. Raises ModelShapleyError for anything else."""
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
            sides={
                kind: Sides(header["provenance"]["n"], *(tensors[f"{kind.value}.{part}"] for part in SIDES))
                for kind in kinds
                if f"{kind.value}.help" in tensors
            },
        )

    def with_harm(self, harm: float | None) -> Self:
        """Return the same map with another weight of harm (:func:`weigh`; None: signed).

        Raises ModelShapleyError for a method that does not store help and harm separately.
        """
        if set(self.sides) != set(self.scores):
            raise ModelShapleyError(
                f"Maps of {self.method!r} do not store help and harm separately, so 'harm' cannot be chosen; "
                "two-sided, path-shapley and coalition-shapley do."
            )
        weighted = {
            kind: [np.where(np.isnan(self.scores[kind]), np.nan, array) for array in weigh(sides, harm)]
            for kind, sides in self.sides.items()
        }
        parameters = {**self.provenance.get("parameters", {}), "harm": "signed" if harm is None else harm}
        return replace(
            self,
            scores={kind: scores for kind, (scores, _) in weighted.items()},
            standard_errors={kind: errors for kind, (_, errors) in weighted.items()},
            signed=harm is None or harm > 1,
            provenance={**self.provenance, "parameters": parameters},
        )

    def check_kind(self, kind: UnitKind) -> None:
        """Raise UnknownName if this map was not computed for `kind`."""
        if kind not in self.scores:
            raise UnknownName("unit kind in this map", kind.value, [k.value for k in self.scores])

    def table(self, kind: UnitKind) -> tuple[Array, Array]:
        """Return scores and standard errors as (layers, columns); a layer map has one column."""
        self.check_kind(kind)
        layers = self.scores[kind].shape[0]
        return self.scores[kind].reshape(layers, -1), self.standard_errors[kind].reshape(layers, -1)

    def pooled(self, kind: UnitKind, columns: int) -> tuple[Array, Array, list[int]]:
        """Reduce to at most `columns` columns, each with the score of largest magnitude in its run of units.

        For scores that cannot be negative this is the maximum; on a signed map a strongly harmful unit
        stays visible. Returns scores and standard errors (layers, columns) and the columns' edges.
        """
        scores, errors = self.table(kind)
        width = scores.shape[1]
        columns = min(columns, width)
        edges = [column * width // columns for column in range(columns + 1)]
        sizes = np.nan_to_num(np.abs(scores), nan=-1)
        chosen = np.stack([start + sizes[:, start:end].argmax(1) for start, end in pairwise(edges)], axis=1)
        return np.take_along_axis(scores, chosen, 1), np.take_along_axis(errors, chosen, 1), edges

    def csv(self, kind: UnitKind) -> str:
        """Format as CSV: columns layer, index (absent for layers), score, standard_error; one line a unit."""
        self.check_kind(kind)
        scores, errors = self.scores[kind], self.standard_errors[kind]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*("layer", "index")[: scores.ndim], "score", "standard_error"])
        for unit in zip(*np.nonzero(~np.isnan(scores)), strict=True):
            writer.writerow([*unit, repr(float(scores[unit])), repr(float(errors[unit]))])
        return text.getvalue()
