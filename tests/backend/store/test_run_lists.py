"""The list of runs in the database: search and status, deleting and bringing back, removing for good."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backend.settings import Settings
from backend.store.database import now
from backend.store.files import Storage
from backend.store.records import Records
from backend.store.schema import migrate
from backend.store.uploading.datasets import DataUploads
from backend.store.uploading.models import Uploads
from backend.web.housekeeping import clean_up
from modelshapley.contracts import Layout, Run, RunRequest, Status
from modelshapley.errors import Conflict, NotFound
from modelshapley.models.catalog import Catalog
from modelshapley.tasks.uploaded.limits import DataLimits
from modelshapley.units import Deactivation, UnitKind

SHAPES = {UnitKind.NEURON: [4, 40], UnitKind.HEAD: [4, 4], UnitKind.LAYER: [4]}
FIRST = now() - timedelta(days=365)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    url = f"sqlite:///{tmp_path / 'records.sqlite'}"
    migrate(url)
    return Records(url)


def add(records: Records, model: str = "demo:vit", task: str = "digits", *methods: str) -> Run:
    request = RunRequest(model=model, task=task, methods=list(methods or ["mean-abs"]), units=list(SHAPES))
    return records.add_run(request, SHAPES, Layout())


def found(records: Records, search: str = "", **more: Any) -> list[str]:
    page = records.runs(50, 0, search, **more)
    assert page.total == len(page.items)
    return [run.id for run in reversed(page.items)]


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("", {0, 1, 2, 3}),
        ("gpt", {1, 2}),
        ("GPT", {1, 2}),
        ("gpt capitals", {2}),
        ("capitals gpt", {2}),
        ("fisher", {0, 2}),
        ("points=4", {3}),
        ("100%", {1}),
        ("%", {1}),
        ("a_b", {3}),
        ("_", {3}),
        ("/", set()),
        ("\\", set()),
        ("nothing", set()),
    ],
)
def test_every_word_is_searched_for_as_it_is(records: Records, search: str, expected: set[int]) -> None:
    ids = [
        add(records, "demo:vit", "digits", "mean-abs", "fisher-diagonal").id,
        add(records, "local:gpt-100%", "digits").id,
        add(records, "local:gpt", "world-capitals", "fisher-diagonal").id,
        add(records, "local:a_b", "digits", "path-shapley,points=4").id,
    ]
    assert {ids.index(run_id) for run_id in found(records, search)} == expected


def test_status_and_search_go_together_and_totals_count_all_pages(records: Records) -> None:
    runs = [add(records, f"local:m{number}") for number in range(7)]
    for run in runs[:5]:
        records.update_run(run.id, status=Status.FAILED)
    page = records.runs(2, 4, "local", Status.FAILED)
    assert (page.total, [run.id for run in page.items]) == (5, [runs[0].id])
    assert found(records, "m6", status=Status.FAILED) == []
    assert found(records, "m6", status=Status.QUEUED) == [runs[6].id]


def ended(records: Records) -> Run:
    run = add(records)
    records.update_run(run.id, status=Status.DONE, intact={"accuracy": 1, "interval": [0, 1], "n": 3})
    trial = records.request_trial(run.id, Deactivation.of({UnitKind.HEAD: [(0, 1)]}))
    records.update_trial(trial.id, status=Status.CANCELLED)
    return records.run(run.id)


def test_a_deleted_run_leaves_the_lists_and_comes_back_unchanged(records: Records) -> None:
    run, other = ended(records), add(records)
    deleted = records.delete_run(run.id)
    assert deleted.deleted is not None
    assert found(records) == [other.id]
    assert found(records, status=Status.DONE) == []
    assert found(records, deleted=True) == [run.id]
    assert records.delete_run(run.id).deleted == deleted.deleted
    assert records.restore_run(run.id, FIRST) == run
    assert records.restore_run(run.id, FIRST) == run
    assert found(records) == [run.id, other.id]


def test_what_is_open_or_unknown_cannot_be_deleted(records: Records) -> None:
    run = add(records)
    for status in ("queued", "running"):
        records.update_run(run.id, status=status)
        with pytest.raises(Conflict, match=f"{run.id} is {status}; cancel it before"):
            records.delete_run(run.id)
    assert records.run(run.id).deleted is None
    for act in (records.delete_run, lambda run_id: records.restore_run(run_id, FIRST)):
        with pytest.raises(NotFound, match="'nope'"):
            act("nope")


def test_too_late_is_said(records: Records) -> None:
    run = ended(records)
    records.delete_run(run.id)
    with pytest.raises(Conflict, match="too long ago"):
        records.restore_run(run.id, now() + timedelta(seconds=1))
    assert records.run(run.id).deleted is not None


def test_tidying_removes_rows_and_files_of_what_is_overdue_and_of_nothing_else(
    records: Records, tmp_path: Path
) -> None:
    storage = Storage(str(tmp_path))
    runs = {name: ended(records) for name in ("kept", "deleted", "in use")}
    off = Deactivation.of({UnitKind.HEAD: [(0, 2)]})
    trials = {name: records.request_trial(run.id, off) for name, run in runs.items()}
    for run in runs.values():
        storage.save_intact(run.id, b"answers")
        records.update_run(run.id, of=[Status.DONE], checks=Status.QUEUED)
    for name in ("deleted", "in use"):
        records.delete_run(runs[name].id)
    records.update_checks(runs["in use"].id, Status.RUNNING)
    uploads = Uploads(Catalog(tmp_path), 1, 1)
    data_uploads = DataUploads(tmp_path / "datasets", DataLimits(1, 1), 1)
    settings = Settings(deleted_kept_hours=1)
    services: Any = SimpleNamespace(
        records=records, storage=storage, settings=settings, uploads=uploads, data_uploads=data_uploads
    )
    clean_up(services, now() + timedelta(minutes=59))
    assert storage.load_intact(runs["deleted"].id) == b"answers"
    for _ in range(2):
        clean_up(services, now() + timedelta(minutes=61))
    for name, run in runs.items():
        folder = tmp_path / "runs" / run.id
        if name == "deleted":
            assert not folder.exists()
            with pytest.raises(NotFound):
                records.run(run.id)
            with pytest.raises(NotFound):
                records.trial(trials[name].id)
        else:
            assert folder.exists()
            assert records.trial(trials[name].id) == trials[name]
            assert records.run(run.id).id == run.id


def test_old_runs_are_deleted_and_old_trials_removed(records: Records) -> None:
    ended, fresh, waiting = (add(records) for _ in range(3))
    for run in (ended, fresh):
        records.update_run(run.id, status=Status.DONE)
    trial = records.request_trial(fresh.id, Deactivation.of({UnitKind.HEAD: [(0, 0)]}))
    open_trial = records.request_trial(fresh.id, Deactivation.of({UnitKind.HEAD: [(0, 1)]}))
    records.update_trial(trial.id, status=Status.FAILED, error="no reason")
    before = now() - timedelta(days=1)
    assert records.expire_runs(before) == []
    assert records.expire_trials(before) == 0
    later = now() + timedelta(seconds=1)
    assert set(records.expire_runs(later)) == {ended.id, fresh.id}
    assert records.run(ended.id).deleted is not None
    assert records.run(waiting.id).deleted is None
    assert records.expire_trials(later) == 1
    assert records.trial(open_trial.id).status is Status.QUEUED


def test_a_deleted_run_needs_its_model_until_it_is_gone(records: Records) -> None:
    run = ended(records)
    assert records.is_model_used(run.model)
    assert not records.is_model_used("local:other")
    records.delete_run(run.id)
    assert records.is_model_used(run.model), "it may be restored"
    records.purge_run(run.id, now() + timedelta(days=1))
    assert not records.is_model_used(run.model)
    failed = add(records)
    records.update_run(failed.id, status=Status.FAILED, error="no reason")
    assert not records.is_model_used(failed.model)
