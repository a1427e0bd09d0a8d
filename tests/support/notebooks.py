"""Execution of the notebooks in docs/notebooks by a real kernel.

    python -m tests.support.notebooks

executes all of them and writes their outputs into the files, without what differs between machines.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "docs" / "notebooks"
TIMEOUT_S = 120


def execute(file: Path, folder: Path) -> Any:
    """Return the executed notebook. folder: its working directory. Raises CellExecutionError if a cell does."""
    notebook = nbformat.read(file, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        store_widget_state=False,
        record_timing=False,
    )
    # IPython keeps a history in its folder, which is not the tests' to write to.
    with patch.dict(os.environ, {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(folder / ".ipython")}):
        client.execute()
    return notebook


def texts(notebook: Any) -> list[str]:
    """Return all text that the outputs of a notebook hold."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            found += [str(output.get("text", "")), *map(str, output.get("data", {}).values())]
    return found


def main() -> None:
    for file in sorted(NOTEBOOKS.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            notebook = execute(file, Path(folder))
        for cell in notebook.cells:
            # A widget lives as long as its kernel; what stays is its text.
            for output in cell.get("outputs", []):
                output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
        notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
        nbformat.write(notebook, file)


if __name__ == "__main__":
    main()
