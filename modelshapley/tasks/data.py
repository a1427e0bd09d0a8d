"""Rows of a task's splits, read from files, folders, the Hugging Face hub or its cache. Torch-free."""

from __future__ import annotations

import csv
import glob
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from modelshapley.contracts.task_files.file import SPLIT_ALIASES, WHOLE, Source
from modelshapley.errors import BadData
from modelshapley.models.hub import reachable

TABLES = (".jsonl", ".json", ".csv", ".parquet", ".txt")
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
MAX_LISTED_ROWS = 5
Row = Mapping[str, Any]


class BadRow(Exception):
    """One row cannot be used. Never reaches a user: rows are counted and reported with where they are."""


class MisreadRows(BadRow):
    """One row shows that rows mean something else than they are read as, so that skipping it would not help."""


def shorten(value: Any) -> str:
    """Return a value short enough for a message, which a long value of a row would flood."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]}...{text[-1]}"


@dataclass(frozen=True)
class RejectedRow:
    """A row that was not used, and why: `where` it is and the `reason`."""

    where: str
    reason: str


@dataclass(frozen=True)
class Table:
    """The rows of one split.

    place: describes where a row is. digest: sha256 of all bytes (of names and sizes for folders of pictures).
    names: class names of columns that hold class numbers. bad: rows that could not even be read.
    base: folder that relative paths of pictures in the rows start from.
    """

    rows: Sequence[Row]
    place: Callable[[int], str]
    digest: str
    names: Mapping[str, list[str]] = field(default_factory=dict)
    bad: Sequence[RejectedRow] = ()
    base: Path | None = None
    _without_column: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def row(self, index: int, lazy: str | None = None) -> Row:
        """Return a row. lazy: a column to read on demand where possible; its value is then a function."""
        rows: Any = self.rows
        if lazy is None or lazy not in getattr(rows, "column_names", ()):
            return self.rows[index]
        if lazy not in self._without_column:
            self._without_column[lazy] = rows.remove_columns([lazy])
        return {**self._without_column[lazy][index], lazy: lambda: rows[index][lazy]}

    def columns(self) -> list[str]:
        """Return the columns that any row has."""
        rows: Any = self.rows
        if hasattr(rows, "column_names"):  # a Dataset, which would read whole rows
            return list(rows.column_names)
        return list(dict.fromkeys(name for row in rows for name in row))

    def column(self, name: str) -> list[Any]:
        """Return all values of a column, None where a row lacks it; classes by name."""
        rows: Any = self.rows
        if hasattr(rows, "column_names"):
            values = list(rows[name]) if name in rows.column_names else [None] * len(rows)
        else:
            values = [row.get(name) for row in rows]
        return [self.class_name(name, value) for value in values]

    def class_name(self, column: str, value: Any) -> Any:
        """Return the name of a class instead of its number, in columns whose classes have names.

        Splits may number their classes differently: a split that lacks a class counts without it.
        """
        names = self.names.get(column)
        return names[value] if names and isinstance(value, int) and 0 <= value < len(names) else value


def read_split(
    source: Source, name: str, split: str, roots: Sequence[Path], confined: bool, needs: str = "its columns"
) -> Table:
    """Read a split of a task's source.

    name: name of the task; a folder in one of `roots` with this name, or with that of the hub's dataset, takes
    precedence over the hub. confined: read nothing outside the roots. needs: what a file must hold, for messages.
    Raises BadData for what is missing or cannot be read.
    """
    if source.rows is not None:
        return _from_rows(source.rows, name, split)
    if source.path is not None:
        return _from_disk(_find_path(source.path, roots, confined), source, split)
    for folder in folders_of(source, name, roots):
        if folder.is_dir():
            return _from_disk(folder, source, split)
    return _from_hub(source, name, split, roots, needs)


def folders_of(source: Source, name: str, roots: Sequence[Path]) -> list[Path]:
    """Return the folders that may hold a source's data, whether or not they exist."""
    if source.rows is not None:
        return []
    names = [source.path] if source.path is not None else [name, str(source.hub).rpartition("/")[2]]
    return [root / folder for root in roots for folder in names]


def _find_path(path: str, roots: Sequence[Path], confined: bool) -> Path:
    for root in roots:
        try:
            candidate = (root / path).resolve()
            if candidate.exists() and (not confined or candidate.is_relative_to(root.resolve())):
                return candidate
        except (OSError, ValueError, RuntimeError):  # not a possible file name, or a cycle of links
            continue
    tried = ", ".join(map(str, roots)) or "no folder"
    inside = " A path must stay inside one of these." if confined else ""
    raise BadData(f"There is no file or folder {path!r} in {tried}.{inside}")


def _from_rows(rows: Mapping[str, Sequence[Row]], name: str, split: str) -> Table:
    """Return the rows that a task file holds itself."""
    if split not in rows:
        raise BadData(f"The rows of task {name!r} have no split {split!r}; they have {', '.join(rows)}.")
    digest = hashlib.sha256(json.dumps(rows[split], sort_keys=True).encode()).hexdigest()
    return Table(rows[split], lambda index: f"row {index + 1} of {split}", digest)


# -- files and folders --------------------------------------------------------------------------


def _from_disk(path: Path, source: Source, split: str) -> Table:
    """Read a split from a file or folder.

    A folder may hold its splits itself, in `data`, or in one folder for each config, as on the hub.
    """
    if path.is_file():
        if split != WHOLE:
            raise BadData(f"{path.name} is one file, which has no split {split!r}; write `split: {WHOLE}`.")
        return _tables([path], path.parent, source.field)
    if source.config and (path / source.config).is_dir():
        path = path / source.config
    for base, name in product((path, path / "data"), (split, *SPLIT_ALIASES.get(split, ()))):
        folder = base if name == WHOLE else base / name
        if folder.is_dir():
            tables = _files(folder, TABLES)
            return _tables(tables, folder, source.field) if tables else _pictures(folder)
        siblings = [file for file in _files(base, TABLES) if file.parent == base]
        files = [file for file in siblings if file.stem == name] or [
            file for file in siblings if file.stem.startswith((f"{name}-", f"{name}_", f"{name}."))
        ]
        if files:
            return _tables(files, base, source.field)
    content = ", ".join(sorted(file.name for file in path.iterdir() if not file.name.startswith("."))[:10])
    raise BadData(
        f"{path} has no split {split!r}: no folder {split} and no file {split} of kind {', '.join(TABLES)}. "
        f"It holds: {content or 'nothing'}."
    )


def _files(folder: Path, kinds: Sequence[str]) -> list[Path]:
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in kinds
        and file.is_file()
        # Hidden folders hold copies (.ipynb_checkpoints) and caches, which are neither classes nor examples.
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def _tables(files: Sequence[Path], base: Path, json_field: str | None) -> Table:
    kinds = {file.suffix.lower() for file in files}
    if len(kinds) > 1:
        raise BadData(f"{base} mixes files of kind {', '.join(sorted(kinds))}; keep one kind, or name one file.")
    if kinds == {".parquet"}:
        return _parquet(files, base)
    rows: list[Row] = []
    places: list[str] = []
    bad: list[RejectedRow] = []
    for file in files:
        for number, row in enumerate(read_rows(file, json_field), 1):
            where = f"{file.relative_to(base).as_posix()}, row {number}"
            if isinstance(row, str):
                bad.append(RejectedRow(where, row))
            else:
                rows.append(row)
                places.append(where)
    return Table(rows, places.__getitem__, _digest(files, base), bad=bad, base=base)


def read_rows(file: Path, json_field: str | None = None) -> Iterator[Row | str]:
    """Yield the rows in order; a string instead of a row says why it cannot be read."""
    # Bytes that are not UTF-8 come through as lone surrogates, so that the rows that hold them can be named.
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        match file.suffix.lower():
            case ".jsonl":
                for line in stream:
                    if line.strip():
                        yield _validate_row(_json_line(line))
            case ".csv":
                try:
                    for row in csv.DictReader(stream, strict=True):
                        yield "has more fields than the header" if None in row else _validate_row(row)
                except csv.Error as error:
                    raise BadData(
                        f"{file.name} cannot be read as CSV: {error}. Save it as jsonl or parquet."
                    ) from error
            case ".txt":
                for block in stream.read().replace("\r\n", "\n").split("\n\n"):
                    if block.strip():
                        yield _validate_row({"text": block.strip("\n")})
            case _:
                yield from map(_validate_row, _json_rows(file, stream.read(), json_field))


def _json_line(line: str) -> Any:
    try:
        return json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        return f"is not JSON ({error})"


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON; write null where a value is missing")


def _json_rows(file: Path, text: str, json_field: str | None) -> list[Any]:
    try:
        data = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BadData(f"{file.name} is not JSON: {error}.") from error
    if isinstance(data, dict):
        lists = [key for key, value in data.items() if isinstance(value, list)]
        json_field = json_field or (lists[0] if len(lists) == 1 else None)
        if json_field not in lists:
            raise BadData(
                f"{file.name} is an object; give `field`, the name of the list of rows in it: "
                f"{', '.join(lists) or 'it has no list'}."
            )
        return list(data[json_field])
    if isinstance(data, list):
        return data
    raise BadData(f"{file.name} must hold a list of rows.")


def _validate_row(row: Any) -> Row | str:
    if isinstance(row, str):
        return row if row.startswith("is not JSON") else "is not an object of columns"
    if not isinstance(row, dict):
        return "is not an object of columns"
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "is not UTF-8 text"
    return row


def _pictures(folder: Path) -> Table:
    """Make a row for each picture; its label is the name of its folder, None for pictures outside class folders."""
    files = _files(folder, PICTURES)
    if not files:
        raise BadData(f"{folder} holds neither tables ({', '.join(TABLES)}) nor pictures in folders named by class.")
    paths = [file.relative_to(folder) for file in files]
    rows = [{"image": path.as_posix(), "label": path.parts[0] if len(path.parts) > 1 else None} for path in paths]
    return Table(rows, lambda index: rows[index]["image"] or "", _digest(files, folder), base=folder)


def _digest(files: Sequence[Path], base: Path) -> str:
    """Return the sha256 of names and bytes; of names and sizes for pictures, which can be a hundred gigabytes."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(base)}\0{file.stat().st_size}\0".encode())
        if file.suffix.lower() in TABLES:
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()


# -- read by the datasets library ---------------------------------------------------------------


def _parquet(files: Sequence[Path], base: Path) -> Table:
    import datasets
    from pyarrow.parquet import read_metadata

    datasets.disable_progress_bars()
    try:
        if not any(read_metadata(file).num_rows for file in files):
            return Table([], str, _digest(files, base), base=base)
        dataset = datasets.load_dataset("parquet", split="train", data_files=[glob.escape(str(file)) for file in files])
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise BadData(f"{base} cannot be read: {_first_line(error)}") from error
    return _table_from_dataset(dataset, base.name, _digest(files, base), base)


def _from_hub(source: Source, name: str, split: str, roots: Sequence[Path], needs: str) -> Table:
    import datasets

    datasets.disable_progress_bars()
    try:
        with _hub_or_cache():
            dataset = datasets.load_dataset(
                f"hf://datasets/{source.hub}",  # the prefix keeps it from reading a local folder of that name
                source.config,
                revision=source.revision,
                split=None if split == WHOLE else split,
            )
        if isinstance(dataset, dict):
            dataset = datasets.concatenate_datasets(list(dataset.values()))
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        config = f" ({source.config})" if source.config else ""
        folder = roots[0] / name if roots else f"datasets/{name}"
        raise BadData(
            f"{source.hub}{config}, split {split!r}, cannot be read from the Hugging Face hub or its cache: "
            f"{_first_line(error)} Without the hub, put {split}.parquet, {split}.jsonl or {split}.csv into {folder}, "
            f"with {needs}."
        ) from error
    return _table_from_dataset(dataset, f"{source.hub} {split}", f"{source.hub}@{dataset._fingerprint}", None)


@contextmanager
def _hub_or_cache() -> Iterator[None]:
    """Use the cache at once when the hub is unreachable: the library would retry for half a minute first."""
    import datasets

    offline_before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = offline_before or not reachable()
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = offline_before


def _table_from_dataset(dataset: Any, title: str, digest: str, base: Path | None) -> Table:
    import datasets

    names = {}
    for column, feature in dataset.features.items():
        if isinstance(feature, datasets.Image):
            dataset = dataset.cast_column(column, datasets.Image(decode=False))
        elif isinstance(feature, datasets.ClassLabel):
            names[column] = list(feature.names)
    return Table(dataset, lambda index: f"{title}, row {index + 1}", digest, names, base=base)


def _first_line(error: BaseException) -> str:
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return first if first.endswith(".") else f"{first}."
