"""Export of one kind of unit of a map as Parquet, for pandas, Polars, DuckDB and the like. Torch-free."""

from __future__ import annotations

import io
import json

import numpy as np

from modelshapley.maps.compare import shares, top_places
from modelshapley.maps.importance import ImportanceMap
from modelshapley.units import UnitKind

KEY = b"modelshapley"


def to_parquet(importance_map: ImportanceMap, kind: UnitKind) -> bytes:
    """Serialise one row a unit, in unit order: layer, index (absent for layers), score, standard_error, rank, share.

    rank: 1 is the highest score; share: of the sum of all magnitudes, with the score's sign. The file's metadata
    holds, under `modelshapley`, the map's method, quantity and provenance as JSON.
    Raises UnknownName if the map was not computed for `kind`.
    """
    # Imported here because the server must start fast, and rarely needs pyarrow.
    import pyarrow as pa
    from pyarrow import parquet

    importance_map.check_kind(kind)
    scores, errors = importance_map.scores[kind], importance_map.standard_errors[kind]
    is_unit = ~np.isnan(scores)
    rank = np.zeros(scores.size, dtype=np.int64)
    order = top_places(scores, 1.0)
    rank[order] = np.arange(1, len(order) + 1)
    columns = {
        **dict(zip(("layer", "index"), (axis.astype(np.int32) for axis in np.nonzero(is_unit)), strict=False)),
        "score": scores[is_unit],
        "standard_error": errors[is_unit],
        "rank": rank.reshape(scores.shape)[is_unit],
        "share": shares(scores)[is_unit],
    }
    table = pa.table(columns, metadata={KEY: json.dumps(importance_map.header(), sort_keys=True)})
    file = io.BytesIO()
    parquet.write_table(table, file, compression="zstd")
    return file.getvalue()
