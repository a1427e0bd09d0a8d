"""Upload a model in pieces: resumed, refused, finished, dropped."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from backend.store.uploading import staging as module
from backend.store.uploading.models import Uploads
from modelshapley.client import ApiError, Call, Client, add_piece, begin_upload, finish_upload, upload
from modelshapley.contracts import RunRequest, Status, Upload, UploadFile, UploadRequest
from modelshapley.errors import Conflict, ModelShapleyError, NotFound
from modelshapley.models.catalog import ASSETS, FINISHED, Catalog, mark_uploaded
from tests.conftest import Server, StartServer
from tests.hostile.model_folders import HEADERS
from tests.support.model_files import CONFIG, safetensors

DIGITS = ASSETS / "digits-vit"
PIECE = 100_000


@pytest.fixture(scope="module")
def house(start_server: StartServer) -> Server:
    """A server that takes small pieces, so that the model comes in several."""
    return start_server(MODELSHAPLEY_MAX_BODY_BYTES=str(PIECE), MODELSHAPLEY_MAX_UPLOAD_BYTES="2000000")


@pytest.fixture(scope="module")
def api(house: Server) -> Iterator[Client]:
    with Client(house.url) as client:
        yield client


def listed(name: str, folder: Path = DIGITS) -> UploadRequest:
    files = [UploadFile(name=file.name, size=file.stat().st_size) for file in sorted(folder.iterdir())]
    return UploadRequest(name=name, files=files)


def sent(api: Client, begun: Upload, folder: Path = DIGITS) -> None:
    for file in begun.files:
        data = (folder / file.name).read_bytes()
        for start in range(file.done, file.size, PIECE):
            api.send(add_piece(begun.id, file.name, start, data[start : start + PIECE]))


def copied(folder: Path) -> Path:
    shutil.copytree(DIGITS, folder)
    return folder


def refused(api: Client, begun: Upload, status: int, words: str) -> None:
    with pytest.raises(ApiError, match=words) as error:
        api.send(finish_upload(begun.id))
    assert error.value.problem.status == status
    assert f"local:{begun.name}" not in [model.id for model in api.models()]


def test_a_folder_is_uploaded_and_scored_like_the_model_it_is(api: Client, house: Server, tmp_path: Path) -> None:
    folder = copied(tmp_path / "my-vit")
    (folder / "README.md").write_text("stays behind")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps("stays behind, too"))
    told: list[tuple[int, int]] = []
    model = api.upload_model(folder, told=lambda done, total: told.append((done, total)))
    assert (model.id, model.usable) == ("local:my-vit", True)
    assert len(told) > 5
    assert told[-1][0] == told[-1][1] == sum(file.stat().st_size for file in DIGITS.iterdir())
    there = house.data / "models" / "my-vit"
    assert {file.name: file.read_bytes() for file in there.iterdir()} == {
        file.name: file.read_bytes() for file in DIGITS.iterdir()
    }
    assert api.uploads() == []
    request = RunRequest(model="local:my-vit", task="digits", methods=["mean-abs"], limit=16, faithfulness="none")
    mine, theirs = (
        api.wait(api.submit_run(request.model_copy(update={"model": name})).id)
        for name in ("local:my-vit", "demo:digits-vit")
    )
    assert mine.status is Status.DONE, mine.error
    assert mine.intact == theirs.intact
    scores = [api.importance_map(run.id, "mean-abs", "head").scores for run in (mine, theirs)]
    assert scores[0] == scores[1]
    with pytest.raises(ApiError, match="There already is a model local:my-vit"):
        api.upload_model(folder)


def test_after_a_cut_it_goes_on_where_it_was(api: Client, tmp_path: Path) -> None:
    folder = copied(tmp_path / "cut")

    class Cut(Exception):
        """The line breaks, after a few pieces."""

    def cut(done: int, total: int) -> None:
        if done > total / 2:
            raise Cut

    with pytest.raises(Cut):
        api.upload_model(folder, told=cut)
    (broken,) = api.uploads()
    there = sum(file.done for file in broken.files)
    assert 0 < there < sum(file.size for file in broken.files)
    told: list[int] = []
    assert api.upload_model(folder, told=lambda done, _: told.append(done)).id == "local:cut"
    assert told[0] > there, "what was there is not sent again"
    assert api.uploads() == []


def test_pieces_follow_each_other(api: Client, house: Server) -> None:
    begun = api.send(begin_upload(listed("pieces")))
    assert begun.piece == PIECE
    assert api.send(begin_upload(listed("pieces"))) == begun
    config = next(file for file in begun.files if file.name == "config.json")
    first = api.send(add_piece(begun.id, "config.json", 0, b"{" * 10))
    assert first.done == 10
    for offset in (0, 9, 11):
        with pytest.raises(ApiError, match="continue at offset 10") as error:
            api.send(add_piece(begun.id, "config.json", offset, b"x"))
        assert error.value.problem.status == 409
    with pytest.raises(ApiError, match="would be too many"):
        api.send(add_piece(begun.id, "config.json", 10, b"x" * config.size))
    with pytest.raises(ApiError, match="is empty"):
        api.send(add_piece(begun.id, "config.json", 10, b""))
    with pytest.raises(ApiError, match="larger than") as error:
        api.send(add_piece(begun.id, "model.safetensors", 0, b"x" * (PIECE + 1)))
    assert error.value.problem.status == 413
    assert [file.done for file in api.send(upload(begun.id)).files] == [10, 0, 0]
    refused(api, begun, 409, "'config.json' is incomplete: the server has 10 of")
    with pytest.raises(ApiError, match="Other files are being uploaded"):
        api.send(begin_upload(UploadRequest(name="pieces", files=[*begun_files(begun, stamp="changed")])))
    api.drop_upload(begun.id)
    assert not (house.data / "models" / ".uploads" / begun.id).exists()
    calls: tuple[Call[Any], ...] = (
        upload(begun.id),
        finish_upload(begun.id),
        add_piece(begun.id, "config.json", 0, b"x"),
    )
    for call in calls:
        with pytest.raises(ApiError, match="There is no upload") as error:
            api.send(call)
        assert error.value.problem.status == 404


def test_a_folder_that_cannot_be_one_is_refused_before_anything_is_sent(api: Client, tmp_path: Path) -> None:
    with pytest.raises(ModelShapleyError, match="'my vit' cannot be uploaded"):
        api.upload_model(copied(tmp_path / "my vit"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelShapleyError, match=r"needs config\.json"):
        api.upload_model(tmp_path / "empty")
    assert api.uploads() == []


def begun_files(begun: Upload, stamp: str) -> list[UploadFile]:
    return [UploadFile(name=file.name, size=file.size, stamp=stamp) for file in begun.files]


@pytest.mark.parametrize(
    ("name", "files", "words"),
    [
        ("../up", {}, "name"),
        (".hidden", {}, "name"),
        ("a/b", {}, "name"),
        ("", {}, "name"),
        ("x" * 81, {}, "name"),
        ("ok", {"../config.json": 5}, "'../config.json' is not a file of a model"),
        ("ok", {"/etc/passwd": 5}, "'/etc/passwd' is not a file of a model"),
        ("ok", {"sub/model.safetensors": 5}, "not a file of a model"),
        ("ok", {"a\\b.safetensors": 5}, "not a file of a model"),
        ("ok", {".safetensors": 5}, "not a file of a model"),
        ("ok", {"pytorch_model.bin": 5}, "not a file of a model"),
        ("ok", {"modeling_x.py": 5}, "not a file of a model"),
        ("ok", {"config.json": None}, "there is no config.json"),
        ("ok", {"model.safetensors": None}, "there is no \\*.safetensors"),
        ("ok", {"model.safetensors": 0}, "greater than or equal to 1"),
        ("ok", {"model.safetensors": 2_000_001}, "at most 2,000,000 are taken"),
        ("ok", {"vocab.json": 2**28}, "at most 134,217,728"),
    ],
)
def test_what_is_no_model_is_refused_before_it_is_sent(
    api: Client, house: Server, name: str, files: dict[str, int | None], words: str
) -> None:
    sizes = {"config.json": 100, "model.safetensors": 1000} | files
    body = {"name": name, "files": [{"name": n, "size": s} for n, s in sizes.items() if s is not None]}
    answer = httpx.post(f"{house.url}/api/v1/uploads", json=body)
    assert answer.status_code == 422
    assert re.search(words, json.dumps(answer.json()).replace("\\\\", "\\")), answer.text
    assert api.uploads() == []


def changed(folder: Path, how: str) -> Path:
    config = json.loads((folder / "config.json").read_text())
    weights = folder / "model.safetensors"
    if how == "auto_map":
        config["auto_map"] = {"AutoModel": "evil.Model"}
    elif how == "family":
        config |= {"model_type": "nonesuch", "architectures": ["NoneSuch"]}
    elif how == "pickle":
        weights.write_bytes(pickle.dumps({"weights": list(range(100))}))
    elif how.startswith("index"):
        named = "../../other/model.safetensors" if how == "index-out" else ["no", "map"]
        index = {"weight_map": {"a": named} if isinstance(named, str) else named}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    elif how == "short":
        weights.write_bytes(weights.read_bytes()[:-1000])
    (folder / "config.json").write_text("{" if how == "json" else json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("auto_map", "needs its own code to run"),
        ("json", "cannot be read as JSON"),
        ("pickle", "not a complete safetensors file"),
        ("short", "not a complete safetensors file"),
        ("family", "nonesuch"),
        ("index-out", "names '../../other/model.safetensors', which was not uploaded"),
        ("index-bad", "is not a safetensors index"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason_and_can_be_dropped(
    api: Client, tmp_path: Path, how: str, words: str
) -> None:
    folder = changed(copied(tmp_path / f"bad-{how.replace('_', '-')}"), how)
    begun = api.send(begin_upload(listed(folder.name, folder)))
    sent(api, begun, folder)
    refused(api, begun, 422, words)
    assert [under_way.id for under_way in api.uploads()] == [begun.id]
    api.drop_upload(begun.id)
    assert api.uploads() == []


# -- without a server -------------------------------------------------------------------------------


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(Catalog(tmp_path), 10**6, 1000)


SMALL = UploadRequest(
    name="small", files=[UploadFile(name="config.json", size=10), UploadFile(name="model.safetensors", size=20)]
)


def test_a_full_disk_is_said_and_what_others_were_promised_counts(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = module.MIN_FREE_BYTES + 50
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    first = uploads.begin(SMALL)
    with pytest.raises(Conflict, match="needs 30 B, but the server's disk has space for 20 B"):
        uploads.begin(SMALL.model_copy(update={"name": "other"}))
    uploads.drop(first.id)
    assert uploads.begin(SMALL.model_copy(update={"name": "other"})).name == "other"


def test_a_disk_that_fills_up_on_the_way_is_said_and_what_is_there_stays(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = uploads.begin(SMALL)
    uploads.add_piece(begun.id, "config.json", 0, b"123")

    class Full:
        """A file on a full disk."""

        def open(self, _: str) -> None:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Uploads, "_file", lambda *_: Full())
        with pytest.raises(ModelShapleyError, match="No space left on device"):
            uploads.add_piece(begun.id, "config.json", 3, b"45")
    assert uploads.add_piece(begun.id, "config.json", 3, b"45").done == 5


def test_there_is_an_end_to_uploads_at_once(uploads: Uploads) -> None:
    for number in range(module.MAX_UPLOADS):
        uploads.begin(SMALL.model_copy(update={"name": f"n{number}"}))
    with pytest.raises(Conflict, match="20 uploads are in progress"):
        uploads.begin(SMALL)


def test_what_is_left_alone_is_dropped_and_what_goes_on_is_not(uploads: Uploads, tmp_path: Path) -> None:
    stale, fresh = (uploads.begin(SMALL.model_copy(update={"name": name})) for name in ("stale", "fresh"))
    for begun in (stale, fresh):
        uploads.add_piece(begun.id, "config.json", 0, b"12345")
    hour = timedelta(hours=1)
    assert uploads.drop_stale(datetime.now(UTC) - hour) == []
    later = (datetime.now(UTC) + 2 * hour).timestamp()
    os.utime(tmp_path / "models" / ".uploads" / fresh.id / "files" / "config.json", (later, later))
    assert uploads.drop_stale(datetime.now(UTC) + hour) == ["stale"]
    assert [begun.id for begun in uploads.list_all()] == [fresh.id]
    with pytest.raises(NotFound):
        uploads.get(stale.id)


def test_what_a_killed_server_left_half_is_removed_and_the_marks_of_models_stay(
    uploads: Uploads, tmp_path: Path
) -> None:
    staging = tmp_path / "models" / ".uploads"
    for name in ("0123456789ab", "deleted-0123456789ab", "finished"):
        (staging / name / "files").mkdir(parents=True)
    assert uploads.drop_stale(datetime.now(UTC) - timedelta(hours=1)) == []
    assert len(list(staging.glob("*/"))) == 3
    uploads.drop_stale(datetime.now(UTC) + timedelta(hours=1))
    assert {folder.name for folder in staging.glob("*/")} == {"finished"}


@pytest.mark.parametrize("upload_id", ["", "..", "../..", "0" * 11, "ABCDEFABCDEF", "lock"])
def test_ids_are_no_paths(uploads: Uploads, upload_id: str) -> None:
    uploads.begin(SMALL)
    for act in (uploads.get, uploads.drop, uploads.finish):
        with pytest.raises(NotFound):
            act(upload_id)


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file in its place")
    with pytest.raises(Conflict, match="cannot be written to"):
        Uploads(Catalog(tmp_path), 10**6, 1000).begin(SMALL)


def test_uploads_are_no_models(uploads: Uploads, tmp_path: Path) -> None:
    uploads.begin(SMALL)
    catalog: Any = Catalog(tmp_path)
    assert not [model for model in catalog.ids() if model.startswith("local:")]
    with pytest.raises(ModelShapleyError, match="There is no model"):
        catalog.folder("local:.uploads")


def test_a_stale_upload_is_dropped_by_the_server(start_server: StartServer) -> None:
    server = start_server("--workers", "0", MODELSHAPLEY_UPLOAD_KEPT_HOURS=str(2 / 3600))
    with Client(server.url) as api:
        begun = api.send(begin_upload(SMALL))
        api.send(add_piece(begun.id, "config.json", 0, b"1"))
        deadline = time.monotonic() + 15
        while api.uploads():
            assert time.monotonic() < deadline
            time.sleep(0.3)
        assert not (server.data / "models" / ".uploads" / begun.id).exists()


@pytest.mark.parametrize("what", HEADERS)
def test_a_malformed_header_is_refused_with_the_reason(house: Server, api: Client, what: str) -> None:
    files = {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": safetensors(HEADERS[what])[:PIECE]}
    listed = [UploadFile(name=name, size=len(content)) for name, content in files.items()]
    begun = api.send(begin_upload(UploadRequest(name="malformed", files=listed)))
    try:
        for name, content in files.items():
            api.send(add_piece(begun.id, name, 0, content))
        with pytest.raises(ApiError) as refused:
            api.send(finish_upload(begun.id))
        assert refused.value.problem.status == 422
        assert refused.value.problem.detail
    finally:
        api.drop_upload(begun.id)


def test_an_uploaded_model_can_be_deleted_unless_a_run_uses_it(house: Server, api: Client) -> None:
    begun = api.send(begin_upload(listed("short-lived")))
    sent(api, begun)
    model = api.send(finish_upload(begun.id)).id
    run = api.submit_run(RunRequest(model=model, task="digits", methods=["random"], limit=8, faithfulness="none"))
    with pytest.raises(ApiError, match=run.id) as used:
        api.delete_model(model)
    assert used.value.problem.status == 409
    api.wait(run.id)
    api.delete_run(run.id)
    api.delete_model(model)
    assert model not in [one.id for one in api.models()]
    assert not (house.data / "models" / "short-lived").exists()
    with pytest.raises(ApiError) as gone:
        api.delete_model(model)
    assert gone.value.problem.status == 404


def test_nothing_else_is_deleted(house: Server, api: Client, tmp_path: Path) -> None:
    models = house.data / "models"
    models.mkdir(exist_ok=True)
    copied(models / "put-there")
    (models / "link").symlink_to(copied(tmp_path / "elsewhere"))
    for name in ("local:put-there", "local:link", "demo:digits-vit"):
        with pytest.raises(ApiError) as refused:
            api.delete_model(name)
        assert refused.value.problem.status == 409, name
    for name in ("local:..", "local:.uploads", "local:", "local:put-there/config.json", "local:../models/put-there"):
        with pytest.raises(ApiError) as unknown:
            api.delete_model(name)
        assert unknown.value.problem.status in (404, 405), name
    assert (models / "put-there" / "config.json").exists()
    assert (tmp_path / "elsewhere" / "config.json").exists()
    (models / "link").unlink()
    shutil.rmtree(models / "put-there")


def test_uploaded_models_without_use_are_removed_and_no_others(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    uploads = Uploads(catalog, 10**9, PIECE)
    for name in ("used", "idle", "late", "by-hand"):
        copied(tmp_path / "models" / name)
        if name != "by-hand":
            mark_uploaded(tmp_path / "models" / name)
    month, now = timedelta(days=30), datetime.now(UTC)
    for name in ("used", "idle", "late"):
        os.utime(tmp_path / "models" / FINISHED / name, ((now - month).timestamp(),) * 2)
    assert uploads.drop_unused(now - 2 * month, lambda _: False) == []
    asked: list[str] = []

    def is_used(model: str) -> bool:
        asked.append(model)
        return model == "local:used" or asked.count("local:late") > 1

    assert uploads.drop_unused(now - timedelta(days=1), is_used) == ["local:idle"]
    assert {"local:used", "local:late", "local:by-hand"} <= set(catalog.ids())
    assert catalog.describe("local:late").usable, "a run that came at that moment keeps it"
    assert "local:idle" not in catalog.ids()
    assert uploads.drop_unused(now - timedelta(days=1), lambda _: False) == ["local:late"], "use counts from its end"
    assert uploads.drop_unused(now + timedelta(days=1), lambda _: False) == ["local:used"]
    assert "local:by-hand" in catalog.ids()
