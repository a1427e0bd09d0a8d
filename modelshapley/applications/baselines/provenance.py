"""What the map of a baseline says of its origin."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Task


def provenance_of(loaded: LoadedModel, task: Task[Any], method: str, n: int, seed: int) -> dict[str, Any]:
    """Return the provenance of a map by `method` of the first n probe examples."""
    return {
        "model": loaded.id,
        "revision": loaded.revision,
        "task": task.info.id,
        "task_fingerprint": task.fingerprint(seed),
        "n": n,
        "seed": seed,
        "method": method,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
