"""Models of the hub: looked at without their weights, pinned, fetched by the worker; offline; forbidden."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelshapley.client import ApiError, Client
from modelshapley.contracts import Off, RunRequest, Status, TrialRequest
from modelshapley.models.catalog import ASSETS
from tests.conftest import StartServer
from tests.support.fake_hub import COMMIT, fake_hub

NOWHERE = "http://127.0.0.1:9"  # nothing listens on the discard port
PINNED = f"hub:some-one/digits@{COMMIT}"
REQUEST = RunRequest(
    model="hub:some-one/digits", task="digits", methods=["mean-abs"], units=["head"], limit=16, faithfulness="none"
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository") / "digits"
    shutil.copytree(ASSETS / "digits-vit", folder)
    (folder / "pytorch_model.bin").write_bytes(b"never fetched")
    return folder


@pytest.fixture(scope="module")
def hub(repository: Path) -> Iterator[tuple[str, list[str]]]:
    with fake_hub("some-one/digits", repository) as fake:
        yield fake


@pytest.mark.slow
def test_a_model_is_looked_at_pinned_fetched_and_scored(
    start_server: StartServer, hub: tuple[str, list[str]], tmp_path: Path
) -> None:
    address, asked = hub
    server = start_server(HF_ENDPOINT=address, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="0")
    with Client(server.url) as api:
        assert api.limits().hub
        for name in ("some-one/digits", "some-one/digits@v1", f"some-one/digits@{COMMIT}"):
            found = api.hub_model(name)
            assert (found.id, found.family, found.usable) == (PINNED, "vit", True)
        weights = (ASSETS / "digits-vit" / "model.safetensors").stat().st_size
        assert api.estimate_run(REQUEST).memory.weights == pytest.approx(weights, rel=0.02)
        assert not list(tmp_path.rglob("*.safetensors")), "looking at a model fetches no weights"
        queued = api.submit_run(REQUEST)
        assert queued.model == PINNED
        run = api.wait(queued.id)
        assert run.status is Status.DONE, run.error
        assert run.intact is not None
        assert run.intact.accuracy > 0.97
        fetched = {file.name for file in tmp_path.rglob(f"snapshots/{COMMIT}/*")}
        assert fetched == {"config.json", "model.safetensors", "preprocessor_config.json"}
        assert not any("pytorch_model" in line for line in asked)
        asked.clear()
        trial = api.measure(TrialRequest(run=run.id, off=Off(head=[(0, 0)])))
        assert trial.n == 360
        assert asked == [], "what is here is not asked for again"
        assert api.importance_map(run.id, "mean-abs", "head").provenance["model"] == PINNED
        for name, words in (
            ("some-one/other", "is not available from the Hugging Face hub"),
            ("some-one/digits@nope", "is not available from the Hugging Face hub"),
            ("../../etc", "There is no model"),
            ("just-a-name", "There is no model"),
            ("a/b@../../x", "is not available"),
        ):
            with pytest.raises(ApiError, match=words) as error:
                api.hub_model(name)
            assert error.value.problem.status == 422


@pytest.mark.slow
def test_how_much_has_come_is_told(start_server: StartServer, repository: Path, tmp_path: Path) -> None:
    large = tmp_path / "large"
    shutil.copytree(repository, large)
    (large / "vocabulary.txt").write_bytes(b"0" * 60_000_000)  # the library tells of every ten million bytes
    whole = sum(file.stat().st_size for file in large.iterdir() if file.suffix != ".bin")
    with fake_hub("some-one/digits", large, pieces=20) as (address, _):
        server = start_server(HF_ENDPOINT=address, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="0")
        with Client(server.url) as api:
            queued, seen = api.submit_run(REQUEST).id, []
            while not (run := api.run(queued)).status.ended:
                seen += [run.fetching] if run.fetching else []
                assert [found.fetching is None for found in api.runs().items if found.id != queued] == []
                time.sleep(0.05)
            assert (run.status, run.fetching) == (Status.DONE, None), run.error
    done = [found.done for found in seen if found.total == whole]
    assert 0 < done[0] < done[-1] < whole
    assert done == sorted(done)
    assert any(found.eta_s for found in seen)


@pytest.mark.slow
def test_without_the_hub_what_is_in_the_cache_is_scored_and_the_rest_is_refused(
    start_server: StartServer, tmp_path: Path
) -> None:
    cache = tmp_path / "hub" / "models--some-one--digits"
    shutil.copytree(ASSETS / "digits-vit", cache / "snapshots" / COMMIT)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(COMMIT)
    server = start_server(HF_ENDPOINT=NOWHERE, HF_HOME=str(tmp_path), HF_HUB_CACHE=str(tmp_path / "hub"))
    with Client(server.url) as api:
        assert api.hub_model("some-one/digits").id == PINNED
        run = api.wait(api.submit_run(REQUEST).id)
        assert (run.status, run.model, run.error) == (Status.DONE, PINNED, None)
        before = api.runs().total
        for model in ("hub:some-one/other", "hub:some-one/digits@v2", f"hub:some-one/digits@{'1' * 40}"):
            wanted = r"does not answer\) or in its cache on this machine\. Download it"
            with pytest.raises(ApiError, match=wanted) as error:
                api.submit_run(REQUEST.model_copy(update={"model": model}))
            assert model.removeprefix("hub:").partition("@")[0] in str(error.value)
        assert api.runs().total == before


def test_the_hub_can_be_forbidden(start_server: StartServer) -> None:
    server = start_server("--workers", "0", MODELSHAPLEY_HUB="false")
    with Client(server.url) as api:
        assert not api.limits().hub
        for ask in (lambda: api.submit_run(REQUEST), lambda: api.hub_model("some-one/digits")):
            with pytest.raises(ApiError, match="takes no models from the Hugging Face hub"):
                ask()
        assert api.runs().total == 0


def test_pickles_and_code_of_its_own_are_refused_unseen(
    start_server: StartServer, tmp_path: Path, repository: Path
) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(repository, bad)
    (bad / "model.safetensors").unlink()
    with fake_hub("some-one/bad", bad) as (address, asked):
        server = start_server("--workers", "0", HF_ENDPOINT=address, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="0")
        with Client(server.url) as api:
            with pytest.raises(ApiError, match=r"has no model\.safetensors on the hub"):
                api.hub_model("some-one/bad")
            shutil.copy(repository / "model.safetensors", bad)
            config = (bad / "config.json").read_text()
            (bad / "config.json").write_text(config.replace("{", '{"auto_map": {"AutoModel": "evil.Model"},', 1))
            with pytest.raises(ApiError, match="needs its own code to run"):
                api.hub_model("some-one/bad")
        assert not any("pytorch_model.bin" in line and "GET" in line for line in asked)
