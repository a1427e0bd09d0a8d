"""Inspection of an uploaded table: every row is read once, as the task will read it, within limits."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modelshapley.errors import BadData
from modelshapley.tasks.data import Row, read_rows, shorten
from modelshapley.tasks.uploaded.limits import (
    MAX_COLUMNS,
    MAX_LINE_BYTES,
    MAX_NAMED,
    DataLimits,
    Progress,
    Refused,
    listed,
)

MAX_FIRST_ROWS = 3
MAX_VALUE = 200  # characters of a value in the first rows
BATCH = 1000


class Columns:
    """Columns of a table as its rows come in: their kinds, and the first rows as text."""

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        self.kinds: dict[str, str] = dict(names or {})
        self.first: list[dict[str, str]] = []

    def add(self, name: str, row: Row) -> None:
        """Take note of a row. name: of the file. Raises Refused for too many columns."""
        for column, value in row.items():
            if value is not None and (column not in self.kinds or self.kinds[column] == ""):
                self.kinds[column] = _kind(value)
            self.kinds.setdefault(column, "")
        check_columns(name, len(self.kinds))
        if len(self.first) < MAX_FIRST_ROWS:
            self.first.append({column: _text(value) for column, value in row.items()})

    def described(self) -> dict[str, Any]:
        """Return columns and first rows for JSON. A column without any value is taken for text."""
        columns = [{"name": name, "kind": kind or "text"} for name, kind in self.kinds.items()]
        return {"columns": columns, "first": self.first}


def check_columns(name: str, count: int) -> None:
    """Raise Refused for more columns than are taken."""
    if count > MAX_COLUMNS:
        raise Refused(f"{name} has more than {MAX_COLUMNS:,} columns; upload those that the task needs.")


def inspect_table(file: Path, limits: DataLimits, progress: Progress, columns: Columns) -> int:
    """Read a whole table and return its number of rows. Raises Refused."""
    if file.stat().st_size == 0:
        raise Refused(f"{file.name} is empty.")
    rows = _parquet_rows(file, limits) if file.suffix == ".parquet" else _text_rows(file, progress)
    count = 0
    try:
        for count, row in enumerate(rows, 1):
            limits.check_rows(file.name, count)
            columns.add(file.name, row)
    except BadData as error:
        raise Refused(str(error)) from None
    if not count:
        raise Refused(f"{file.name} has no rows{' below its header' if file.suffix == '.csv' else ''}.")
    return count


def _text_rows(file: Path, progress: Progress) -> Iterator[Row]:
    lines = _count_lines(file)
    if file.suffix == ".csv":
        _check_header(file)
    bad: list[tuple[int, str]] = []
    for number, row in enumerate(read_rows(file), 1):
        if number % BATCH == 0:
            progress(min(1.0, number / lines))
        if not isinstance(row, str):
            yield row
            continue
        bad.append((number, row))
        if len(bad) == MAX_NAMED:
            break
    if bad:
        raise Refused(_bad_rows(file.name, bad))


def _count_lines(file: Path) -> int:
    """Count the lines of a file. Raises Refused for a line that is too long to be read."""
    lines = 0
    with file.open("rb") as stream:
        while line := stream.readline(MAX_LINE_BYTES + 1):
            lines += 1
            if len(line) > MAX_LINE_BYTES:
                raise Refused(
                    f"Line {lines:,} of {file.name} has more than {MAX_LINE_BYTES:,} bytes; is it {file.suffix}?"
                )
    return lines


def _check_header(file: Path) -> None:
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        try:
            header = next(csv.reader(stream, strict=True), [])
        except csv.Error as error:
            raise Refused(f"The first row of {file.name}, its header, cannot be read as CSV: {error}.") from None
    check_columns(file.name, len(header))
    if any(not name.strip() for name in header):
        number = next(number for number, name in enumerate(header, 1) if not name.strip())
        raise Refused(f"Column {number} of {file.name} has no name; name each column in the first row.")
    _check_repeats(file.name, header)


def _check_repeats(name: str, header: list[str]) -> None:
    repeated = sorted({column for column in header if header.count(column) > 1})
    if repeated:
        raise Refused(f"{name} has two columns called {shorten(repeated[0])}; rename one.")


def _bad_rows(name: str, bad: list[tuple[int, str]]) -> str:
    number, reason = bad[0]
    others = f" Rows {listed([str(number) for number, _ in bad[1:]])} have problems, too." if len(bad) > 1 else ""
    way_out = "Save the file as UTF-8" if "UTF-8" in reason else "Correct it"
    return f"Row {number} of {name} {reason}.{others} {way_out} and upload it again."


def _parquet_rows(file: Path, limits: DataLimits) -> Iterator[Row]:
    """Yield the rows of a parquet file, read in full: what its header says about their size is not trusted."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(file)
        header = list(table.schema_arrow.names)
        check_columns(file.name, max(len(header), table.metadata.num_columns))
        _check_repeats(file.name, header)
        limits.check_rows(file.name, table.metadata.num_rows)
        unpacked = 0
        for batch in table.iter_batches(BATCH, use_threads=False):
            unpacked += batch.nbytes
            limits.check_bytes(file.name, unpacked)
            kept = batch.slice(0, MAX_FIRST_ROWS).to_pylist()
            yield from kept
            yield from ({} for _ in range(batch.num_rows - len(kept)))
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise Refused(f"{file.name} is no parquet file that can be read: {first[:200].rstrip('.')}.") from None


def _kind(value: Any) -> str:
    if isinstance(value, bool | str):
        return "text"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, list):
        return "list"
    is_picture = isinstance(value, bytes) or (isinstance(value, dict) and {"bytes", "path"} & set(value))
    return "image" if is_picture else "other"


def _text(value: Any) -> str:
    if value is None:
        return ""
    if _kind(value) == "image":
        return "(a picture)"
    text = value if isinstance(value, str) else repr(value)[: 2 * MAX_VALUE]
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"
