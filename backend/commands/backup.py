"""`modelshapley backup` and `restore`: a data directory as one tar file, taken while servers work or not."""

from __future__ import annotations

import sqlite3
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from backend.settings import Settings
from modelshapley.errors import ModelShapleyError
from modelshapley.server.processes import keep_files_private

RECORDS = "records.sqlite"
FOLDERS = ("runs", "models", "derived", "datasets")
PARTIAL = ".part"  # end of the names of files that are being written


def main(arguments: Sequence[str]) -> int:
    """Run `backup FILE` or `restore FILE` on the data directory of the settings."""
    keep_files_private()
    command, file = arguments[0], Path(arguments[1])
    try:
        settings = Settings.from_environment()
        (backup if command == "backup" else restore)(settings, file)
    except ModelShapleyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def backup(settings: Settings, file: Path) -> None:
    """Write the records and files of the data directory to a new file. Raises ModelShapleyError.

    The records come first: what they call done has its files already, and what ends meanwhile is done again after a
    restore. Redis is left out, since the queue is filled from the records.
    """
    if settings.database_url is not None or settings.storage_url is not None:
        raise ModelShapleyError(
            "The records or maps are not in the data directory: back up the database with its own tools (pg_dump) "
            "first, then the storage, then models and datasets of the data directory."
        )
    source = settings.data / RECORDS
    if not source.exists():
        raise ModelShapleyError(f"{settings.data} has no {RECORDS}; is it the data directory?")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / RECORDS
        with closing(sqlite3.connect(source)) as records, closing(sqlite3.connect(copy)) as target:
            records.backup(target)
        part = file.with_name(file.name + PARTIAL)
        with tarfile.open(part, "w") as archive:
            archive.add(copy, RECORDS)
            for name in FOLDERS:
                if (settings.data / name).exists():
                    archive.add(settings.data / name, name, filter=_finished)
        part.rename(file)
    print(f"{file}: {file.stat().st_size:,} bytes")


def restore(settings: Settings, file: Path) -> None:
    """Write a backup to the data directory, which must be new or empty. Raises ModelShapleyError."""
    if settings.data.exists() and any(settings.data.iterdir()):
        raise ModelShapleyError(f"{settings.data} is not empty; restore into a new directory, then use that one.")
    try:
        with tarfile.open(file) as archive:
            if RECORDS not in archive.getnames():
                raise ModelShapleyError(f"{file} is no backup: it has no {RECORDS}.")
            settings.data.mkdir(parents=True, exist_ok=True)
            archive.extractall(settings.data, filter="data")
    except (tarfile.TarError, OSError) as error:
        raise ModelShapleyError(f"{file} cannot be read as a backup: {error}") from error
    print(f"restored to {settings.data}; start it with `modelshapley up --data {settings.data}`")


def _finished(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out what is being written, and links that lead elsewhere."""
    return None if entry.name.endswith(PARTIAL) or entry.issym() or entry.islnk() else entry


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
