"""Migration of the database to the newest schema. Used by the web server and by workers."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

MIGRATION_LOCK = 7421  # an arbitrary number that all processes share


def migrate(url: str) -> None:
    """Migrate the database at `url` to the newest schema, and create it if necessary.

    Web server and workers call this when they start together, so one process runs it at a time.
    """
    with _migration_lock(url):
        command.upgrade(migrations(url), "head")


def migrations(url: str) -> Config:
    """Return Alembic's configuration for the database at `url`."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["url"] = url
    return config


@contextmanager
def _migration_lock(url: str) -> Iterator[None]:
    if not url.startswith("sqlite:///"):
        engine = create_engine(url)
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
            yield
        engine.dispose()
        return
    file = Path(url.removeprefix("sqlite:///"))
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
