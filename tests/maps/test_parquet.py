"""A map as Parquet holds what the map holds."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet

from modelshapley.errors import UnknownName
from modelshapley.maps.importance import ImportanceMap
from modelshapley.maps.parquet import KEY, to_parquet
from modelshapley.units import UnitKind

SCORES = {
    UnitKind.LAYER: np.array([0.5, -1.5]),
    UnitKind.HEAD: np.array([[3.0, -1.0, 2.0], [2.0, 0.0, np.nan]]),
}
MAP = ImportanceMap(
    method="path-shapley",
    quantity="nats",
    signed=True,
    scores=SCORES,
    standard_errors={kind: np.where(np.isnan(scores), np.nan, np.inf) for kind, scores in SCORES.items()},
    provenance={"model": "m", "n": 1, "task_fingerprint": "f"},
)


def test_a_row_a_unit_with_rank_and_share() -> None:
    found = pd.read_parquet(io.BytesIO(to_parquet(MAP, UnitKind.HEAD)))
    assert list(found.columns) == ["layer", "index", "score", "standard_error", "rank", "share"]
    assert found[["layer", "index"]].to_numpy().tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1]]
    assert found["score"].tolist() == [3, -1, 2, 2, 0]
    assert found["rank"].tolist() == [1, 5, 2, 3, 4]
    assert found["share"].tolist() == [0.375, -0.125, 0.25, 0.25, 0]
    assert np.isinf(found["standard_error"]).all()


def test_layers_have_no_index_and_provenance_comes_along() -> None:
    table = parquet.read_table(io.BytesIO(to_parquet(MAP, UnitKind.LAYER)))
    assert table.column_names == ["layer", "score", "standard_error", "rank", "share"]
    told = json.loads(table.schema.metadata[KEY])
    assert told["provenance"] == MAP.provenance
    assert (told["method"], told["quantity"]) == ("path-shapley", "nats")


def test_a_kind_that_was_not_scored_is_named() -> None:
    with pytest.raises(UnknownName, match="'neuron'"):
        to_parquet(MAP, UnitKind.NEURON)
