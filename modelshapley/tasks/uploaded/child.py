"""Process that inspects uploaded data within limits: `python -m modelshapley.tasks.uploaded.child`."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from modelshapley.models.confined.limits import answer_requests
from modelshapley.tasks.uploaded.limits import DataLimits, Progress, Refused, progress_to
from modelshapley.tasks.uploaded.names import PICTURES_SUFFIX, SPLITS
from modelshapley.tasks.uploaded.pictures import unpack_pictures
from modelshapley.tasks.uploaded.tables import Columns, inspect_table

MAX_MEMORY_BYTES = 3 * 2**30


def inspect(folder: Path, target: Path, limits: DataLimits, progress: Progress) -> dict[str, Any]:
    """Describe the files in a folder; pictures are unpacked into `target`. Raises Refused."""
    files = sorted(folder.iterdir())
    if files[0].suffix == PICTURES_SUFFIX:
        return unpack_pictures(files[0], target, limits, progress)
    columns = Columns()
    splits = []
    for number, file in enumerate(files):
        rows = inspect_table(file, limits, lambda share, n=number: progress((n + share) / len(files)), columns)  # type: ignore[misc]
        splits.append({"name": SPLITS[file.stem] if len(files) > 1 else "all", "rows": rows})
    return {"form": "table", "splits": splits, **columns.described()}


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    limits = DataLimits(request["max_bytes"], request["max_rows"])
    try:
        progress = progress_to(Path(request["progress"]))
        return inspect(Path(request["folder"]), Path(request["target"]), limits, progress)
    except Refused as error:
        return {"refused": str(error)}
    except MemoryError:
        return {"error": "needs too much memory"}
    except FileNotFoundError:
        return {"error": "was discarded"}
    except OSError as error:
        if error.errno != errno.ENOSPC:
            return {"error": f"cannot be read ({type(error).__name__})"}
        return {"refused": "The server's disk is full; free some space and upload the file again."}
    except Exception as error:  # noqa: BLE001  # whatever a reader raises on hostile data
        return {"error": f"cannot be read ({type(error).__name__})"}


if __name__ == "__main__":
    answer_requests(_answer, MAX_MEMORY_BYTES)
