"""Inspection of uploaded data in a process of its own, since files from outside can be built to exhaust a reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelshapley.errors import BadData
from modelshapley.models.confined.process import ConfinedProcess, LimitExceeded
from modelshapley.tasks.uploaded.limits import DataLimits

CPU_S = 60.0
BYTES_PER_CPU_S = 2 * 2**20  # a jsonl file takes 1 s for 20 MB
MAX_ANSWER_BYTES = 8 * 2**20


def new_process() -> ConfinedProcess:
    """Return a process that inspects data, one upload after the other."""
    return ConfinedProcess("modelshapley.tasks.uploaded.child", "inspects uploaded data", MAX_ANSWER_BYTES)


class Inspection:
    """One inspection of the files in a folder, to be closed at its end.

    target: where pictures are unpacked. progress: a file for the share that is done. process: does the work; by default
    a new one.
    """

    def __init__(
        self, folder: Path, target: Path, progress: Path, limits: DataLimits, process: ConfinedProcess | None = None
    ) -> None:
        self._folder, self._target, self._progress, self._limits = folder, target, progress, limits
        self._process = process or new_process()

    def run(self) -> dict[str, Any]:
        """Return the description of the data for :class:`Dataset`.

        Raises BadData with what is wrong with them, and ModelShapleyError once it is stopped.
        """
        size = sum(file.stat().st_size for file in self._folder.iterdir())
        request = {
            "folder": str(self._folder),
            "target": str(self._target),
            "progress": str(self._progress),
            "max_bytes": self._limits.max_bytes,
            "max_rows": self._limits.max_rows,
        }
        try:
            answer = self._process.ask(request, CPU_S + size / BYTES_PER_CPU_S)
        except LimitExceeded as error:
            answer = {"error": str(error)}
        if "refused" in answer:
            raise BadData(answer["refused"])
        if "error" in answer:
            raise BadData(f"The file {answer['error']} while it was read; upload a smaller or simpler one.")
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def stop(self) -> None:
        """End a run in progress or to come, from any thread."""
        self._process.stop()
