"""The notebooks of the documents run, and what is stored in them is clean."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from tests.support.notebooks import NOTEBOOKS, ROOT, execute, texts

FILES = sorted(NOTEBOOKS.glob("*.ipynb"))
MACHINE = re.compile(rf"{re.escape(str(ROOT))}|/(tmp|home|root|usr|Users|work)/|\.venv|site-packages")


@pytest.mark.slow  # starts kernels that import torch
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_notebook_runs(file: Path, tmp_path: Path) -> None:
    found = "\n".join(texts(execute(file, tmp_path)))
    if file.stem == "reading-a-map":
        least, most = (float(value) for value in re.findall(r"accuracy 0\.983 -> (0\.\d{3})", found)[:2])
        assert least > 0.9 > most
        assert "MapWidget(two-sided, 48 neurons selected)" in found
        assert "48 neurons off: accuracy 0.9" in found
    else:
        parent, smaller = re.findall(r"(\d{3},\d{3}) -> (\d{3},\d{3}) parameters", found)[0]
        assert int(smaller.replace(",", "")) < int(parent.replace(",", ""))
        assert smaller.replace(",", "") in found  # as plain transformers counts them


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_stored_outputs_are_complete_and_name_no_machine(file: Path) -> None:
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
    assert texts(notebook)
    for text in [*texts(notebook), str(notebook.metadata)]:
        assert not MACHINE.search(text), MACHINE.search(text)
    assert not any(
        output.output_type == "error" or output.get("name") == "stderr" for c in code for output in c.outputs
    )


def test_links_of_notebooks_lead_to_documents() -> None:
    for file in FILES:
        for target in re.findall(r"\]\(([^)]+)\)", "".join(c.source for c in nbformat.read(file, as_version=4).cells)):
            assert (file.parent / target).exists(), target
