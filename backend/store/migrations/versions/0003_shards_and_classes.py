"""Runs in shards, and per class."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("runs", sa.Column("shards", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("runs", sa.Column("per_class", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("runs", sa.Column("classes", sa.JSON()))
    op.create_table(
        "shards",
        sa.Column("run", sa.String(32), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("rate", sa.Float()),
        sa.Column("told", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("shards")
    for column in ("classes", "per_class", "shards"):
        op.drop_column("runs", column)
