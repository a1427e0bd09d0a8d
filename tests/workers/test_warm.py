"""What a worker reports about the models that it keeps loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from modelshapley.models.catalog import DIGITS_VIT, Catalog
from modelshapley.models.shortcuts import Proof, Shortcuts
from workers.warm import models as warm


def test_a_worker_reports_the_notes_of_its_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = warm.Warm(Catalog(tmp_path), "cpu").model(DIGITS_VIT)
    shortcuts = Shortcuts(batching=Proof("losses differ by 0.1"))
    noted = replace(plain, unused=("head.weight",), shortcuts=shortcuts)
    for loaded in (plain, noted):
        monkeypatch.setattr(warm, "load", lambda *_, loaded=loaded: loaded)
        worker = warm.Warm(Catalog(tmp_path), "cpu")
        worker.model(DIGITS_VIT)
        (model,) = worker.snapshot().models
        assert model.notes == loaded.notes
    assert plain.notes == []
    assert [note.split(" ")[0] for note in noted.notes] == ["Not", "1"]
