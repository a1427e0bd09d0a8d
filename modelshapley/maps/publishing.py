"""An importance map as a dataset repository of the Hugging Face hub, and back. Torch-free."""

from __future__ import annotations

from pathlib import Path

from modelshapley.contracts import Faithfulness
from modelshapley.contracts.faithfulness import KindFaithfulness
from modelshapley.errors import ModelShapleyError
from modelshapley.maps.importance import ImportanceMap
from modelshapley.maps.parquet import to_parquet
from modelshapley.models.hub_upload import read_file
from modelshapley.units import UnitKind

MAP, CARD, CHECK = "map.safetensors", "README.md", "check.json"
MAX_MAP_BYTES = 2**30
FACTS = ("model", "revision", "task", "task_fingerprint", "n", "seed", "method", "parameters", "dtype", "created")
CARD_TEXT = """---
tags: [model-shapley, interpretability]
configs:
{tables}
---

# Which units of {model} carry {task}

Scores of all units of these kinds: {kinds}; by the method {method}, computed by Model Shapley. A score is: {quantity}.
Every score has a standard error.

| | |
|---|---|
{rows}

## Can it be trusted?

{verdicts}

## Use

    modelshapley fetch {repository} --out map.safetensors

`{map}` is the map. `{table}` and its like hold one row a unit for pandas, Polars or DuckDB: layer, index, score,
standard_error, rank, share.
"""
UNIT_FILES = {kind: f"{kind.value}.parquet" for kind in UnitKind}


def map_files(file: Path, repository: str, check: Faithfulness | None = None) -> dict[str, bytes]:
    """Return the files of the repository: the map as it is, a Parquet table of each kind of unit, a card, the check.

    check: the report of GET /api/v1/runs/ID/faithfulness on this map. Raises ModelShapleyError for a file that is no
    map, and for a check of other methods.
    """
    importance_map = ImportanceMap.load(file)
    verdicts = _verdicts(importance_map, check)
    tables = {UNIT_FILES[kind]: to_parquet(importance_map, kind) for kind in importance_map.scores}
    checks = {} if check is None else {CHECK: check.model_dump_json(indent=1).encode()}
    card = map_card(importance_map, repository, verdicts)
    return {CARD: card.encode(), MAP: file.read_bytes(), **tables, **checks}


def map_card(importance_map: ImportanceMap, repository: str, verdicts: list[KindFaithfulness]) -> str:
    """Return the dataset card, in Markdown with the hub's fields in front."""
    provenance, kinds = importance_map.provenance, list(importance_map.scores)
    model, task = (_cell(provenance.get(name, f"a {name}")) for name in ("model", "task"))
    rows = [f"| {name.replace('_', ' ')} | {_cell(provenance[name])} |" for name in FACTS if name in provenance]
    versions = ", ".join(f"{name} {number}" for name, number in provenance.get("versions", {}).items())
    tables = [line for kind in kinds for line in (f"- config_name: {kind.value}", f"  data_files: {UNIT_FILES[kind]}")]
    return CARD_TEXT.format(
        tables="\n".join(tables),
        model=model,
        task=task,
        kinds=", ".join(kind.value for kind in kinds),
        method=_cell(importance_map.method),
        quantity=_cell(importance_map.quantity),
        rows="\n".join([*rows, *([f"| versions | {_cell(versions)} |"] if versions else [])]),
        verdicts="\n".join(_verdict_lines(verdicts)),
        repository=repository,
        map=MAP,
        table=UNIT_FILES[kinds[0]],
    )


def fetch_map(name: str) -> bytes | None:
    """Return the map of the dataset OWNER/NAME or OWNER/NAME@REVISION; None if there is no such dataset with a map.

    Raises ModelShapleyError if its file is no map or too large, and if the hub does not answer.
    """
    data = read_file(name, MAP, "dataset", MAX_MAP_BYTES)
    if data is None:
        return None
    try:
        ImportanceMap.from_bytes(data)
    except (ModelShapleyError, ValueError, LookupError, TypeError) as error:
        raise ModelShapleyError(f"{MAP} of {name!r} cannot be used: {error}") from error
    return data


def _verdicts(importance_map: ImportanceMap, check: Faithfulness | None) -> list[KindFaithfulness]:
    """Return the entries of a report on this map. Raises ModelShapleyError if there is none."""
    if check is None:
        return []
    names = {importance_map.method, str(importance_map.provenance.get("method"))}
    found = [entry for entry in check.maps if {entry.method, entry.method.partition(",")[0]} & names]
    if not found:
        others = ", ".join(sorted({entry.method for entry in check.maps})) or "nothing"
        raise ModelShapleyError(f"The check is of {others}, and the map is by {importance_map.method}.")
    return [entry for entry in found if entry.verdict is not None and entry.unit in importance_map.scores]


def _verdict_lines(verdicts: list[KindFaithfulness]) -> list[str]:
    lines = [f"- **{e.unit.value}s: {e.verdict.mark}.** {_cell(e.verdict.sentence)}" for e in verdicts if e.verdict]
    return lines or ["It has not been checked by switching units off."]


def _cell(value: object) -> str:
    """Return a value as text for a table of Markdown, without what would end the cell or be markup."""
    text = " ".join(str(value).split())
    return "".join(f"\\{letter}" if letter in "\\|<>[]`*_#" else letter for letter in text)
