"""Upload data for tasks: csv, jsonl, parquet or pictures, inspected, read by a task, deleted."""

from __future__ import annotations

import io
import json
import os
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from pyarrow import parquet

from backend.store.uploading.datasets import DataUploads
from modelshapley.client import ApiError, Client, begin_upload, dataset
from modelshapley.contracts import UploadFile, UploadRequest
from modelshapley.contracts.task_files.file import TaskFile, parse
from modelshapley.errors import Conflict, ModelShapleyError, NotFound
from modelshapley.tasks.base import Split
from modelshapley.tasks.catalog import TaskCatalog
from modelshapley.tasks.preview import check_task
from modelshapley.tasks.uploaded.inspection import Inspection
from modelshapley.tasks.uploaded.limits import DataLimits
from tests.support.in_process import serving

PIECE = 5_000
ROWS = [{"question": f"What is {a} + 1?", "answer": str(a + 1), "size": a} for a in range(200)]
SUMS = {"kind": "generation", "name": "sums", "prompt": "{question}", "rule": "number"}
HALVES = {"probe": {"split": "all", "share": 0.5}, "test": {"split": "all", "share": 0.5}}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def web(data: Path) -> Iterator[TestClient]:
    """A server that takes small pieces and little data."""
    with serving(data, hub="false", max_body_bytes=str(PIECE), max_data_bytes="100000", max_data_rows="500") as web:
        yield web


@pytest.fixture(scope="module")
def api(web: TestClient) -> Client:
    client = Client()
    client._http = cast(Any, web)  # its class is of httpx2, with the same methods
    return client


def jsonl(file: Path, rows: list[dict[str, object]] = ROWS) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def zipped(file: Path, *names: str) -> Path:
    stream = io.BytesIO()
    Image.new("L", (8, 8)).save(stream, "png")
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, stream.getvalue() if name.endswith("png") else b"not a picture")
    return file


def counts(data: Path, task: TaskFile) -> tuple[int, int]:
    """Number of probe and test examples that a worker would read."""
    opened = TaskCatalog([data / "datasets"]).open(task)
    return len(opened.examples(Split.PROBE)), len(opened.examples(Split.TEST))


def test_a_table_is_uploaded_and_read_by_a_task(api: Client, data: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    uploaded = api.upload_data(jsonl(tmp_path / "My sums (1).jsonl"), told=lambda *counts: told.append(counts))
    assert (uploaded.name, uploaded.path, uploaded.form) == ("My-sums-1", "uploads/My-sums-1", "table")
    assert [(split.name, split.rows) for split in uploaded.splits] == [("all", 200)]
    assert [(c.name, c.kind) for c in uploaded.columns] == [
        ("question", "text"),
        ("answer", "text"),
        ("size", "number"),
    ]
    assert uploaded.first[0] == {"question": "What is 0 + 1?", "answer": "1", "size": "0"}
    assert len(told) > 2
    assert told[-1][0] == told[-1][1] == uploaded.bytes
    assert api.uploads() == []
    assert api.datasets()[0] == api.send(dataset("My-sums-1")) == uploaded
    task = parse(SUMS | HALVES | {"source": {"path": uploaded.path}}, "here")
    api.add_task(task)
    assert counts(data, task) == (100, 100)
    preview = check_task(TaskCatalog([data / "datasets"]).open(task), None)
    assert preview.problems == []
    assert preview.examples[0].row.startswith("My-sums-1.jsonl, row ")
    with pytest.raises(ApiError, match="There already are data called 'My-sums-1'"):
        api.upload_data(jsonl(tmp_path / "other.jsonl"), "My-sums-1")
    with pytest.raises(ApiError, match="Task 'sums' reads the data 'My-sums-1'") as used:
        api.delete_dataset("My-sums-1")
    assert used.value.problem.status == 409
    api.drop_task("sums")
    api.delete_dataset("My-sums-1")
    assert not (data / "datasets" / "uploads" / "My-sums-1").exists()
    with pytest.raises(ApiError, match="no uploaded data 'My-sums-1'"):
        api.delete_dataset("My-sums-1")


def test_files_by_split_and_other_kinds(api: Client, data: Path, tmp_path: Path) -> None:
    for name, rows in (("train", ROWS[:150]), ("val", ROWS[150:160]), ("test", ROWS[160:])):
        parquet.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet")
    uploaded = api.upload_data([tmp_path / f"{name}.parquet" for name in ("train", "val", "test")], "split")
    assert {split.name: split.rows for split in uploaded.splits} == {"train": 150, "validation": 10, "test": 40}
    task = parse(SUMS | {"probe": {"split": "train", "share": 1}, "source": {"path": uploaded.path}}, "here")
    assert counts(data, task) == (150, 40)
    (tmp_path / "plain.csv").write_text('text,label\n"two\nlines",yes\nmore,no\n')
    plain = api.upload_data(tmp_path / "plain.csv")
    assert plain.first == [{"text": "two\nlines", "label": "yes"}, {"text": "more", "label": "no"}]
    with pytest.raises(ApiError, match="must be named by their splits"):
        api.upload_data([jsonl(tmp_path / "a.jsonl"), jsonl(tmp_path / "b.jsonl")], "both")
    with pytest.raises(ApiError, match="tables of one kind"):
        api.upload_data([tmp_path / "train.parquet", jsonl(tmp_path / "test.jsonl")], "both")


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["cat/1.png", "cat/2.png", "dog/sub/1.png", "dog/2.png"], {"all": 4}),
        (["pets/cat/1.png", "pets/cat/2.png", "pets/dog/1.png", "pets/dog/2.png", "pets/.x/1.png"], {"all": 4}),
        (["p/train/cat/1.png", "p/train/dog/1.png", "p/test/cat/1.png", "p/test/dog/1.png"], {"train": 2, "test": 2}),
        (["training/cat/1.png", "training/dog/1.png"], {"train": 2}),
    ],
)
def test_pictures_are_unpacked_into_classes(
    api: Client, data: Path, tmp_path: Path, names: list[str], splits: dict[str, int]
) -> None:
    uploaded = api.upload_data(zipped(tmp_path / "pets.zip", *names, "__MACOSX/x.png", "pets/notes.txt"))
    try:
        assert uploaded.form == "pictures"
        assert {split.name: split.rows for split in uploaded.splits} == splits
        assert uploaded.classes == ["cat", "dog"]
        assert uploaded.left_out == ["pets/notes.txt"]
        first = uploaded.splits[-1].name
        part = {"split": first, "share": 0.5}
        parts = {"probe": part, "test": {"split": "test"} if "test" in splits else part}
        task = parse(
            {"kind": "image-classification", "name": "pets", "source": {"path": uploaded.path}} | parts, "here"
        )
        opened = TaskCatalog([data / "datasets"]).open(task)
        assert {example.label for example in opened.examples(Split.PROBE)} <= {"cat", "dog"}
        assert {file.name for file in (data / "datasets" / "uploads" / "pets").rglob("*.txt")} == set()
    finally:
        api.delete_dataset("pets")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("bad.jsonl", b'{"a": 1}\n' * 16 + b"{a}\n{b}\n", "Row 17 of bad.jsonl is not JSON"),
        ("bad.csv", b"a\ncaf\xe9\n", "Row 1 of bad.csv is not UTF-8 text. Save the file as UTF-8"),
        ("bad.jsonl", b'{"a": 1}\n' * 501, "bad.jsonl has more than 500 rows"),
        ("bad.zip", b"x" * 100, "bad.zip is no zip file"),
    ],
)
def test_what_is_wrong_is_said_and_can_be_uploaded_again(
    api: Client, data: Path, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ApiError) as refused:
        api.upload_data(tmp_path / name)
    assert words in refused.value.problem.detail
    assert api.uploads() == []
    assert list((data / "datasets" / ".uploads").glob("*/files")) == []
    api.upload_data(jsonl(tmp_path / "good.jsonl", ROWS[:3]), "bad")
    api.delete_dataset("bad")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a.exe": 5}, "'a.exe' is no file of data"),
        ({"../a.csv": 5}, "is no file of data"),
        ({".a.csv": 5}, "is no file of data"),
        ({"a.csv": 100_001}, "at most 100,000 are taken"),
        ({"a.zip": 5, "b.zip": 5}, "pictures are one .zip file"),
    ],
)
def test_what_is_no_data_is_refused_before_it_is_sent(api: Client, files: dict[str, int], words: str) -> None:
    listed = [UploadFile(name=name, size=size) for name, size in files.items()]
    with pytest.raises(ApiError, match=words) as refused:
        api.send(begin_upload(UploadRequest(kind="data", name="x", files=listed)))
    assert refused.value.problem.status == 422
    assert api.uploads() == []


def test_hidden_folders_are_no_source_of_a_task(api: Client) -> None:
    with pytest.raises(ApiError, match=r"'\.uploads/x' is hidden"):
        api.add_task(parse(SUMS | {"source": {"path": ".uploads/x"}}, "here"))


def test_the_log_says_who_uploaded_and_deleted(api: Client, tmp_path: Path) -> None:
    api.upload_data(jsonl(tmp_path / "logged.jsonl", ROWS[:3]))
    api.delete_dataset("logged")
    entries = [(entry.action, entry.target) for entry in api.audit()]
    assert ("delete_dataset", "logged") in entries
    assert ("finish_upload", "data:logged") in entries


# -- without a server -------------------------------------------------------------------------------


@pytest.fixture
def uploads(tmp_path: Path) -> Iterator[DataUploads]:
    uploads = DataUploads(tmp_path / "datasets", DataLimits(10**7, 10**6), 10**6)
    yield uploads
    uploads.close()


def begun(uploads: DataUploads, content: bytes) -> str:
    request = UploadRequest(kind="data", name="x", files=[UploadFile(name="x.jsonl", size=len(content))])
    upload_id = uploads.begin(request).id
    uploads.add_piece(upload_id, "x.jsonl", 0, content)
    return upload_id


def until_gone(uploads: DataUploads, upload_id: str) -> None:
    deadline = time.monotonic() + 30
    with suppress(NotFound):
        while uploads.get(upload_id).state == "checking":
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_an_inspection_tells_how_far_it_is_and_ends_when_it_is_discarded(uploads: DataUploads, tmp_path: Path) -> None:
    upload_id = begun(uploads, b'{"a": 1}\n' * 250_000)
    assert uploads.begin_check(upload_id).state == "checking"
    assert uploads.begin_check(upload_id).state == "checking", "a second request changes nothing"
    deadline = time.monotonic() + 30
    while not 0 < uploads.get(upload_id).checked < 1:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    uploads.drop(upload_id)
    with pytest.raises(NotFound):
        uploads.get(upload_id)
    deadline = time.monotonic() + 10
    while uploads._running:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert uploads.datasets() == []
    assert [path.name for path in (tmp_path / "datasets" / ".uploads").iterdir()] == ["lock"]


@pytest.mark.parametrize("begun_late", [True, False])
def test_a_server_that_stops_leaves_an_upload_that_can_be_finished_again(
    uploads: DataUploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun_late: bool
) -> None:
    def run_late(inspection: Inspection) -> dict[str, Any]:
        while begun_late and not uploads._closing:
            time.sleep(0.01)
        time.sleep(0.1 * begun_late)  # the stop came before there was a process
        return run(inspection)

    run = Inspection.run
    monkeypatch.setattr(Inspection, "run", run_late)
    upload_id = begun(uploads, b'{"a": 1}\n' * 250_000)
    uploads.begin_check(upload_id)
    while not uploads._running:
        time.sleep(0.01)
    uploads.close()
    other = DataUploads(tmp_path / "datasets", DataLimits(10**7, 10**6), 10**6)
    assert other.get(upload_id).problem is None
    old = time.time() - 100

    os.utime(tmp_path / "datasets" / ".uploads" / upload_id / "progress", (old, old))
    assert other.get(upload_id).state == "receiving"
    other.begin_check(upload_id)
    until_gone(other, upload_id)
    assert other.dataset("x").splits[0].rows == 250_000
    other.close()


def test_incomplete_data_are_not_inspected(uploads: DataUploads) -> None:
    request = UploadRequest(kind="data", name="x", files=[UploadFile(name="x.jsonl", size=10)])
    upload_id = uploads.begin(request).id
    with pytest.raises(Conflict, match="is incomplete: the server has 0 of 10 bytes"):
        uploads.begin_check(upload_id)
    for act in (uploads.begin_check, uploads.get):
        with pytest.raises(NotFound):
            act("../" + upload_id)


@pytest.mark.parametrize("name", ["", "..", ".uploads", "a/b", "x" * 200])
def test_names_are_no_paths(uploads: DataUploads, name: str) -> None:
    for act in (uploads.dataset, uploads.delete):
        with pytest.raises(ModelShapleyError, match="no uploaded data"):
            act(name)


def test_data_that_are_checked_at_once_are_answered_as_being_checked(tmp_path: Path) -> None:
    uploads = DataUploads(tmp_path, DataLimits(100_000, 500), PIECE)
    uploads._pool.submit = lambda check, *arguments: check(*arguments)  # type: ignore[method-assign, assignment]
    content = b'{"a": 1}\n{"a": 2}\n'
    upload = uploads.begin(
        UploadRequest(kind="data", name="quick", files=[UploadFile(name="quick.jsonl", size=len(content))])
    )
    uploads.add_piece(upload.id, "quick.jsonl", 0, content)
    assert uploads.begin_check(upload.id).state == "checking"
    assert uploads.dataset("quick").splits[0].rows == 2
    with pytest.raises(NotFound):
        uploads.get(upload.id)
    uploads.close()


def test_an_upload_that_ends_while_it_is_read_is_never_told_as_incomplete(
    uploads: DataUploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = begun(uploads, b'{"a": 1}\n')

    def ended_meanwhile(of: str) -> None:
        uploads.drop(of)

    monkeypatch.setattr(uploads, "_load_check", ended_meanwhile)
    with pytest.raises(NotFound):
        uploads.get(upload_id)
