"""Hostile data are refused with the reason within seconds, leave nothing behind, and hold nobody up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelshapley.errors import BadData
from modelshapley.models.confined.process import ConfinedProcess
from modelshapley.tasks.uploaded.inspection import Inspection, new_process
from modelshapley.tasks.uploaded.limits import DataLimits
from tests.hostile.data_files import FILES

LIMITS = DataLimits(50_000_000, 2000)
MAX_SECONDS = 20.0  # most of it starts the process, on a busy machine


@pytest.fixture(scope="module")
def process() -> Iterator[ConfinedProcess]:
    """One process for all files, as starting it takes longer than the files do; a limit that is exceeded ends it."""
    process = new_process()
    yield process
    process.close()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("what", FILES)
def test_is_refused_with_the_reason(process: ConfinedProcess, tmp_path: Path, what: str) -> None:
    file = FILES[what]
    files = tmp_path / "upload" / "files"
    files.mkdir(parents=True)
    (files / file.name).write_bytes(file.make())
    started = time.monotonic()
    with pytest.raises(BadData) as refused:
        Inspection(files, tmp_path / "upload" / "unpacked", tmp_path / "upload" / "progress", LIMITS, process).run()
    assert time.monotonic() - started < MAX_SECONDS
    reason = str(refused.value)
    assert file.words in reason
    assert len(reason) < 600
    assert "Traceback" not in reason
    assert "\0" not in reason
    assert [path.name for path in tmp_path.iterdir()] == ["upload"]
