"""Rows of a task's splits: from files and folders, from the Hugging Face hub or its cache. Torch-free."""

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

from modelshapley.contracts.task_file import ALSO, WHOLE, Source
from modelshapley.errors import BadData
from modelshapley.models.hub import reachable

TABLES = (".jsonl", ".json", ".csv", ".parquet", ".txt")
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
SHOWN = 5
Row = Mapping[str, Any]


class BadRow(Exception):
    """One row that cannot be used. Never reaches a user: it is counted, and told with where it was."""


def short(value: Any) -> str:
    """A value as it may stand in a message, which the value of a row could flood."""
    told = repr(value)
    return told if len(told) <= 60 else f"{told[:56]}...{told[-1]}"


@dataclass(frozen=True)
class Bad:
    """A row that was not used, and why."""

    where: str
    reason: str


@dataclass(frozen=True)
class Table:
    """The rows of one split.

    places: where each row stands, in words. digest: of all bytes (of names and sizes for folders of pictures).
    names: class names of columns that hold numbers of classes. bad: rows that could not even be read.
    base: what relative paths of pictures in the rows start from.
    """

    rows: Sequence[Row]
    place: Callable[[int], str]
    digest: str
    names: Mapping[str, list[str]] = field(default_factory=dict)
    bad: Sequence[Bad] = ()
    base: Path | None = None
    _light: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def row(self, index: int, held: str | None = None) -> Row:
        """A row. held: a column whose value is not read where that can be helped; then a function gives it."""
        rows: Any = self.rows
        if held is None or held not in getattr(rows, "column_names", ()):
            return self.rows[index]
        if held not in self._light:
            self._light[held] = rows.remove_columns([held])
        return {**self._light[held][index], held: lambda: rows[index][held]}

    def columns(self) -> list[str]:
        """Those that any row has."""
        rows: Any = self.rows
        if hasattr(rows, "column_names"):  # a Dataset, which would read whole rows
            return list(rows.column_names)
        return list(dict.fromkeys(name for row in rows for name in row))

    def column(self, name: str) -> list[Any]:
        """All values of a column, None where a row lacks it; classes by name."""
        rows: Any = self.rows
        if hasattr(rows, "column_names"):
            values = list(rows[name]) if name in rows.column_names else [None] * len(rows)
        else:
            values = [row.get(name) for row in rows]
        return [self.named(name, value) for value in values]

    def named(self, column: str, value: Any) -> Any:
        """The name of a class in place of its number, in columns whose classes have names of their own.

        Not all splits number their classes alike: a split that lacks one counts differently.
        """
        names = self.names.get(column)
        return names[value] if names and isinstance(value, int) and 0 <= value < len(names) else value


def read_split(
    source: Source, name: str, split: str, roots: Sequence[Path], confined: bool, wanted: str = "its columns"
) -> Table:
    """The rows of a split of a task's source.

    name: the task's; a folder in one of `roots` that is called so, or as the hub's dataset, is read before the hub
    is asked. confined: nothing outside the roots is read. wanted: what a file needs, in words. Raises BadData for
    what is not there or cannot be read.
    """
    if source.path is not None:
        return _from_disk(_find(source.path, roots, confined), source, split)
    for folder in folders_of(source, name, roots):
        if folder.is_dir():
            return _from_disk(folder, source, split)
    return _from_hub(source, name, split, roots, wanted)


def folders_of(source: Source, name: str, roots: Sequence[Path]) -> list[Path]:
    """Where a source's data may lie, whether or not they do."""
    names = [source.path] if source.path is not None else [name, str(source.hub).rpartition("/")[2]]
    return [root / one for root in roots for one in names]


def _find(path: str, roots: Sequence[Path], confined: bool) -> Path:
    for root in roots:
        try:
            found = (root / path).resolve()
            if found.exists() and (not confined or found.is_relative_to(root.resolve())):
                return found
        except (OSError, ValueError, RuntimeError):  # no name that a file could have, or links in a circle
            continue
    tried = ", ".join(map(str, roots)) or "no folder"
    inside = " A path must stay inside one of these." if confined else ""
    raise BadData(f"There is no file or folder {path!r} in {tried}.{inside}")


# -- files and folders --------------------------------------------------------------------------


def _from_disk(path: Path, source: Source, split: str) -> Table:
    """A folder may have its splits in itself, in `data`, or in one folder for each config, as on the hub."""
    if path.is_file():
        if split != WHOLE:
            raise BadData(f"{path.name} is one file, which has no split {split!r}; write `split: {WHOLE}`.")
        return _tables([path], path.parent, source.field)
    if source.config and (path / source.config).is_dir():
        path = path / source.config
    for base, name in product((path, path / "data"), (split, *ALSO.get(split, ()))):
        folder = base if name == WHOLE else base / name
        if folder.is_dir():
            tables = _files(folder, TABLES)
            return _tables(tables, folder, source.field) if tables else _pictures(folder)
        beside = [file for file in _files(base, TABLES) if file.parent == base]
        files = [file for file in beside if file.stem == name] or [
            file for file in beside if file.stem.startswith((f"{name}-", f"{name}_", f"{name}."))
        ]
        if files:
            return _tables(files, base, source.field)
    there = ", ".join(sorted(file.name for file in path.iterdir() if not file.name.startswith("."))[:10])
    raise BadData(
        f"{path} has no split {split!r}: no folder {split} and no file {split} of kind {', '.join(TABLES)}. "
        f"It holds: {there or 'nothing'}."
    )


def _files(folder: Path, kinds: Sequence[str]) -> list[Path]:
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in kinds and file.is_file() and not file.name.startswith(".")
    )


def _tables(files: Sequence[Path], base: Path, json_field: str | None) -> Table:
    kinds = {file.suffix.lower() for file in files}
    if len(kinds) > 1:
        raise BadData(f"{base} mixes files of kind {', '.join(sorted(kinds))}; keep one kind, or name one file.")
    if kinds == {".parquet"}:
        return _parquet(files, base)
    rows: list[Row] = []
    places: list[str] = []
    bad: list[Bad] = []
    for file in files:
        for number, row in enumerate(_read(file, json_field), 1):
            where = f"{file.relative_to(base).as_posix()}, row {number}"
            if isinstance(row, str):
                bad.append(Bad(where, row))
            else:
                rows.append(row)
                places.append(where)
    return Table(rows, places.__getitem__, _digest(files, base), bad=bad, base=base)


def _read(file: Path, json_field: str | None) -> Iterator[Row | str]:
    """Rows in order; in the place of one that cannot be read, what is wrong with it."""
    # Bytes that are not UTF-8 come through as lone surrogates, so that the rows that hold them can be named.
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        match file.suffix.lower():
            case ".jsonl":
                for line in stream:
                    if line.strip():
                        yield _checked(_json_line(line))
            case ".csv":
                try:
                    for row in csv.DictReader(stream):
                        yield "has more fields than the header" if None in row else _checked(row)
                except csv.Error as error:
                    raise BadData(
                        f"{file.name} cannot be read as CSV: {error}. Save it as jsonl or parquet."
                    ) from error
            case ".txt":
                for block in stream.read().replace("\r\n", "\n").split("\n\n"):
                    if block.strip():
                        yield _checked({"text": block.strip("\n")})
            case _:
                yield from map(_checked, _json_rows(file, stream.read(), json_field))


def _json_line(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"is not JSON ({error})"


def _json_rows(file: Path, text: str, json_field: str | None) -> list[Any]:
    try:
        data = json.loads(text)
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


def _checked(row: Any) -> Row | str:
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
    """A row for each picture; its label is the name of the folder that it lies in, None where it lies in none."""
    files = _files(folder, PICTURES)
    if not files:
        raise BadData(f"{folder} holds neither tables ({', '.join(TABLES)}) nor pictures in folders named by class.")
    paths = [file.relative_to(folder) for file in files]
    rows = [{"image": path.as_posix(), "label": path.parts[0] if len(path.parts) > 1 else None} for path in paths]
    return Table(rows, lambda index: rows[index]["image"] or "", _digest(files, folder), base=folder)


def _digest(files: Sequence[Path], base: Path) -> str:
    """sha256 of names and bytes; of names and sizes for pictures, which can be a hundred gigabytes."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(base)}\0{file.stat().st_size}\0".encode())
        if file.suffix.lower() in TABLES:
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()


# -- what the datasets library reads ------------------------------------------------------------


def _parquet(files: Sequence[Path], base: Path) -> Table:
    import datasets
    from pyarrow.parquet import read_metadata

    datasets.disable_progress_bars()
    try:
        if not any(read_metadata(file).num_rows for file in files):
            return Table([], str, _digest(files, base), base=base)
        found = datasets.load_dataset("parquet", split="train", data_files=[glob.escape(str(file)) for file in files])
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise BadData(f"{base} cannot be read: {_reason(error)}") from error
    return _of_dataset(found, base.name, _digest(files, base), base)


def _from_hub(source: Source, name: str, split: str, roots: Sequence[Path], wanted: str) -> Table:
    import datasets

    datasets.disable_progress_bars()
    try:
        with _hub_or_cache():
            found = datasets.load_dataset(
                f"hf://datasets/{source.hub}",  # never a folder of that name that happens to be here
                source.config,
                revision=source.revision,
                split=None if split == WHOLE else split,
            )
        if isinstance(found, dict):
            found = datasets.concatenate_datasets(list(found.values()))
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        config = f" ({source.config})" if source.config else ""
        folder = roots[0] / name if roots else f"datasets/{name}"
        raise BadData(
            f"{source.hub}{config}, split {split!r}, cannot be read from the Hugging Face hub or its cache: "
            f"{_reason(error)} Without the hub, put {split}.parquet, {split}.jsonl or {split}.csv into {folder}, "
            f"with {wanted}."
        ) from error
    return _of_dataset(found, f"{source.hub} {split}", f"{source.hub}@{found._fingerprint}", None)


@contextmanager
def _hub_or_cache() -> Iterator[None]:
    """Without the hub in reach, look into the cache at once: the library would try for half a minute first."""
    import datasets

    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or not reachable()
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before


def _of_dataset(found: Any, title: str, digest: str, base: Path | None) -> Table:
    import datasets

    names = {}
    for column, feature in found.features.items():
        if isinstance(feature, datasets.Image):
            found = found.cast_column(column, datasets.Image(decode=False))
        elif isinstance(feature, datasets.ClassLabel):
            names[column] = list(feature.names)
    return Table(found, lambda index: f"{title}, row {index + 1}", digest, names, base=base)


def _reason(error: BaseException) -> str:
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return first if first.endswith(".") else f"{first}."
