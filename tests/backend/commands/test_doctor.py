"""`modelshapley doctor` finds what is wrong, and nothing where nothing is."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from backend.commands.doctor import examine
from backend.settings import Settings
from backend.store.schema import migrate
from modelshapley.server.addresses import free_port
from tests.support.in_process import redis_running


def problems(settings: Settings) -> dict[str, str]:
    return {name: words for name, well, words in examine(settings) if not well}


def installed(tmp_path: Path) -> Settings:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    settings = Settings(data=data, port=free_port())
    migrate(settings.records_url)
    for file in data.iterdir():
        file.chmod(0o600)
    return settings


def test_nothing_is_wrong_with_a_new_installation(tmp_path: Path) -> None:
    assert problems(installed(tmp_path)) == {}


def test_each_fault_is_named_with_the_way_out(tmp_path: Path) -> None:
    settings = installed(tmp_path)
    (settings.data / "records.sqlite").chmod(0o644)
    folder = settings.data / "models" / "broken"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "config.json").write_text("{")
    with redis_running(tmp_path / "redis") as url:
        found = problems(settings.model_copy(update={"redis_url": SecretStr(url)}))
    assert "chmod -R go=" in found["permissions"]
    assert "local:broken" in found["models"]
    missing = problems(Settings(data=tmp_path / "nowhere", port=free_port()))
    assert "up --data" in missing["data directory"]


def test_a_redis_without_workers_and_one_that_is_away(tmp_path: Path) -> None:
    settings = installed(tmp_path)
    with redis_running(tmp_path / "redis") as url:
        reached = Settings(data=settings.data, port=settings.port, redis_url=SecretStr(url))
        assert "modelshapley worker" in problems(reached)["workers"]
    assert "Redis" in problems(reached)


def test_a_damaged_database_is_told(tmp_path: Path) -> None:
    settings = installed(tmp_path)
    file = settings.data / "records.sqlite"
    whole = file.read_bytes()
    file.write_bytes(whole[:4096] + b"\xff" * 8192 + whole[12288:])
    assert "database" in problems(settings)
