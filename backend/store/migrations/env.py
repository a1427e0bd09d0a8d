"""Alembic's entry: run by backend.records.migrate, which passes the URL."""

from alembic import context
from sqlalchemy import create_engine

from backend.store.tables import Base

engine = create_engine(context.config.attributes["url"])
with engine.connect() as connection:
    # render_as_batch: SQLite cannot alter columns in place.
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
