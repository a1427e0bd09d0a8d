"""`modelshapley doctor`: looks at an installation and says what is wrong with it, and what to do about it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

import fsspec
import httpx
from alembic.script import ScriptDirectory
from packaging.requirements import Requirement
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from backend.queue.connections import connect
from backend.queue.queues import Queues
from backend.settings import Settings
from backend.store.schema import migrations
from modelshapley.errors import ModelShapleyError
from modelshapley.formatting import bytes_as_text, duration
from modelshapley.models.catalog import Catalog
from modelshapley.server.redis_server import find_redis

MIN_FREE_BYTES = 2**30
OTHERS = 0o077
Finding = tuple[str, bool, str]  # what was looked at, whether it is well, and what there is to say


def main() -> int:
    """Print a line for each finding; return 1 if something is wrong."""
    try:
        settings = Settings.from_environment()
    except ModelShapleyError as error:
        print(f"✗ settings: {error}")
        return 1
    findings = list(examine(settings))
    for name, well, words in findings:
        print(f"{'✓' if well else '✗'} {name}: {words}")
    return 0 if all(well for _, well, _ in findings) else 1


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield what is found about each part of an installation. An error in one does not hide the others."""
    looks: dict[str, Callable[[Settings], Iterator[Finding]]] = {
        "packages": _packages,
        "data directory": _data,
        "database": _database,
        "storage": _storage,
        "Redis": _redis,
        "models": _models,
        "web server": _web,
    }
    for name, look in looks.items():
        try:
            yield from look(settings)
        except (OSError, SQLAlchemyError, RedisError, ModelShapleyError, ValueError, ImportError) as error:
            yield name, False, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no details'}"


def _packages(_: Settings) -> Iterator[Finding]:
    wrong = []
    for line in requires("modelshapley") or []:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            installed = "not installed"
        if installed == "not installed" or not requirement.specifier.contains(installed.partition("+")[0]):
            wrong.append(f"{requirement.name} is {installed}, needed is {requirement.specifier}")
    yield "packages", not wrong, "; ".join(wrong) or "as pinned"


def _data(settings: Settings) -> Iterator[Finding]:
    data = settings.data.resolve()
    if not data.is_dir():
        yield "data directory", False, f"{data} does not exist; `modelshapley up --data {data}` creates it."
        return
    probe = data / ".doctor"
    probe.write_bytes(b"x")
    probe.unlink()
    free = shutil.disk_usage(data).free
    enough = free >= MIN_FREE_BYTES
    yield "disk", enough, f"{bytes_as_text(free)} free" + ("" if enough else "; checkpoints and records fail soon.")
    opened = [path.name for path in (data, *data.iterdir()) if path.stat().st_mode & OTHERS]
    yield (
        "permissions",
        not opened,
        f"others on this machine can read {', '.join(sorted(opened)[:5])}; run `chmod -R go= {data}`."
        if opened
        else "only the owner can read the data directory",
    )


def _database(settings: Settings) -> Iterator[Finding]:
    engine = create_engine(settings.records_url)
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                state = str(connection.execute(text("PRAGMA quick_check")).scalar())
                if state != "ok":
                    yield "database", False, f"the file is damaged ({state[:100]}); restore it from a backup."
                    return
            current = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    finally:
        engine.dispose()
    newest = ScriptDirectory.from_config(migrations(settings.records_url)).get_current_head()
    words = "up to date" if current == newest else f"schema {current}, this version needs {newest}; restart the server."
    yield "database", current == newest, words


def _storage(settings: Settings) -> Iterator[Finding]:
    files, root = fsspec.core.url_to_fs(settings.maps_url)
    probe = f"{root}/.doctor"
    files.pipe_file(probe, b"x")
    well = files.cat_file(probe) == b"x"
    files.rm_file(probe)
    yield "storage", well, "can be written and read" if well else "does not return what was written"


def _redis(settings: Settings) -> Iterator[Finding]:
    if "redis_url" not in settings.model_fields_set:
        yield "Redis", True, f"`up` starts its own ({find_redis()}); set MODELSHAPLEY_REDIS_URL to look at a shared one"
        return
    redis = connect(settings.redis_url.get_secret_value())
    redis.ping()
    yield "Redis", True, "responds"
    yield from _redis_settings(redis)
    queues = Queues(redis, settings.lost_after_seconds)
    waiting = ", ".join(f"{name} {count}" for name, count in queues.lengths().items())
    count, last = len(queues.workers()), queues.last_heard()
    heard = f"; {last[0]} was last heard {duration(last[1])} ago" if last else ""
    yield (
        "workers",
        count > 0,
        f"{count} running; waiting: {waiting}" if count else f"none{heard}; start one with `modelshapley worker`.",
    )


def _redis_settings(redis: Redis) -> Iterator[Finding]:
    answer: Any = redis.info()
    policy, appends = answer.get("maxmemory_policy", "noeviction"), answer.get("aof_enabled", 0)
    if policy.startswith("allkeys"):
        yield "Redis memory", False, f"maxmemory-policy is {policy}, which drops queued work; set it to volatile-lru."
    if not appends:
        yield "Redis file", False, "appendonly is off, so a restart forgets the queue until a web server starts again."


def _models(settings: Settings) -> Iterator[Finding]:
    catalog = Catalog(settings.data, settings.model_roots, settings.hub)
    infos = [catalog.describe(model_id) for model_id in catalog.ids()]
    bad = [f"{info.id}: {info.problem}" for info in infos if not info.usable and info.id.startswith("local:")]
    yield "models", not bad, " ".join(bad) or f"{len(infos)} can be listed"


def _web(settings: Settings) -> Iterator[Finding]:
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104  # compared, not bound
    try:
        answer = httpx.get(f"http://{host}:{settings.port}/api/v1/health", timeout=5)
        health = answer.json()
    except (httpx.HTTPError, ValueError):
        yield "web server", True, f"none responds on {host}:{settings.port}"
        return
    problem = health.get("problem") or health.get("detail")
    yield "web server", problem is None, problem or "healthy"


if __name__ == "__main__":
    sys.exit(main())
