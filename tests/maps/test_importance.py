"""The map as an artefact: pooling, CSV, files, and no need for torch."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelshapley.errors import ModelShapleyError, UnknownName
from modelshapley.maps.importance import ImportanceMap
from modelshapley.units import UnitKind


def random_map(layers: int = 3, width: int = 10, signed: bool = False) -> ImportanceMap:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(layers, width)) if signed else rng.random((layers, width))
    return ImportanceMap(
        method="toy",
        quantity="nats",
        signed=signed,
        scores={UnitKind.NEURON: scores, UnitKind.LAYER: scores[:, 0]},
        standard_errors={UnitKind.NEURON: np.abs(scores) / 10, UnitKind.LAYER: np.abs(scores[:, 0]) / 10},
        provenance={"n": 4},
    )


@given(st.integers(1, 40), st.integers(1, 50))
def test_pooling_takes_the_maximum_of_every_column_and_covers_all_units(width: int, columns: int) -> None:
    found = random_map(width=width)
    scores, errors, edges = found.pooled(UnitKind.NEURON, columns)
    full = found.scores[UnitKind.NEURON]
    assert edges[0] == 0
    assert edges[-1] == width
    assert scores.shape == errors.shape == (3, min(columns, width))
    for column in range(scores.shape[1]):
        part = full[:, edges[column] : edges[column + 1]]
        assert np.array_equal(scores[:, column], part.max(1))
    np.testing.assert_allclose(errors, scores / 10)


def test_pooling_a_signed_map_keeps_a_strongly_harmful_unit_in_sight() -> None:
    found = random_map(signed=True)
    found.scores[UnitKind.NEURON][1, 7] = -9
    scores, _, edges = found.pooled(UnitKind.NEURON, 2)
    assert edges == [0, 5, 10]
    assert scores[1, 1] == -9


def test_csv_has_a_line_for_every_unit() -> None:
    found = random_map()
    rows = list(csv.DictReader(found.csv(UnitKind.NEURON).splitlines()))
    assert len(rows) == 30
    assert list(rows[0]) == ["layer", "index", "score", "standard_error"]
    assert float(rows[17]["score"]) == found.scores[UnitKind.NEURON][1, 7]
    assert next(csv.DictReader(found.csv(UnitKind.LAYER).splitlines())).keys() == {
        "layer",
        "score",
        "standard_error",
    }


def test_a_kind_that_was_not_scored_is_an_error() -> None:
    with pytest.raises(UnknownName, match="'head'"):
        random_map().csv(UnitKind.HEAD)


@pytest.mark.parametrize(
    "content", [b"", b"not a map at all", b"\x80\x04pickle", b"\x02\x00\x00\x00\x00\x00\x00\x00{}"]
)
def test_other_files_are_refused_in_words(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "other.safetensors"
    file.write_bytes(content)
    with pytest.raises(ModelShapleyError, match=r"other\.safetensors"):
        ImportanceMap.load(file)


def test_a_map_loads_without_torch(tmp_path: Path) -> None:
    file = tmp_path / "map.safetensors"
    random_map().save(file)
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path; from modelshapley.maps.importance import ImportanceMap\n"
        f"print(ImportanceMap.load(Path({str(file)!r})).scores['neuron'].shape)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "(3, 10)"
