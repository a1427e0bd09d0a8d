"""Names of the files that uploaded data may consist of; client, API and dashboard agree on them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePath

from modelshapley.contracts.task_files.file import SPLIT_ALIASES

TABLE_SUFFIXES = (".csv", ".jsonl", ".parquet")
PICTURES_SUFFIX = ".zip"
SUFFIXES = (*TABLE_SUFFIXES, PICTURES_SUFFIX)
FOLDER = "uploads"  # of a dataset root
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
SPLITS = {alias: name for name, aliases in SPLIT_ALIASES.items() for alias in (name, *aliases)}
"""Names of splits, and what the reader calls each."""


def name_of(file_name: str) -> str:
    """Return a name for data from the name of their file: letters, digits, dots and dashes; '' if none is left."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", PurePath(file_name).stem).strip("-._")[:80]


def named_files(paths: Sequence[Path], name: str) -> dict[str, Path]:
    """Return the files by the names that the server takes: splits keep theirs, a single file gets that of the data."""
    if len(paths) == 1:
        return {f"{name}{paths[0].suffix.lower()}": paths[0]}
    return {f"{path.stem.lower()}{path.suffix.lower()}": path for path in paths}


def problems_of(files: Sequence[tuple[str, int]], max_bytes: int) -> list[str]:
    """Describe what is wrong with files (name, bytes) of data to upload. max_bytes: limit for all together."""
    problems = [
        f"{name!r} is no file of data; upload {', '.join(TABLE_SUFFIXES)}, or a .zip of pictures, a folder for each "
        "class"
        for name, _ in files
        if not PLAIN.fullmatch(name) or PurePath(name).suffix not in SUFFIXES
    ]
    names = [PurePath(name) for name, _ in files]
    if len(files) > 1 and (len({name.suffix for name in names}) > 1 or PICTURES_SUFFIX in {n.suffix for n in names}):
        problems.append("several files must be tables of one kind; pictures are one .zip file")
    elif len(files) > 1 and len({SPLITS[name.stem] for name in names if name.stem in SPLITS}) < len(names):
        problems.append("several files must be named by their splits: train, validation, test")
    total = sum(size for _, size in files)
    if total > max_bytes:
        problems.append(f"the data have {total:,} bytes; at most {max_bytes:,} are taken (MODELSHAPLEY_MAX_DATA_BYTES)")
    return problems
