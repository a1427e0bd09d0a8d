"""Models made from maps."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "derived",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(80), nullable=False, index=True),
        sa.Column("run", sa.String(32), nullable=False, index=True),
        sa.Column("parent", sa.String(200), nullable=False),
        sa.Column("task", sa.String(200), nullable=False),
        sa.Column("share", sa.Float()),
        sa.Column("method", sa.String(200)),
        sa.Column("repair", sa.Boolean(), nullable=False),
        sa.Column("chosen", sa.JSON()),
        sa.Column("status", sa.String(16), nullable=False, index=True),
        sa.Column("step", sa.String(200)),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("recommendation", sa.JSON()),
        sa.Column("info", sa.JSON()),
        sa.Column("error", sa.Text()),
        sa.Column("worker", sa.String(64)),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False, index=True),
        sa.Column("started", sa.DateTime(timezone=True)),
        sa.Column("finished", sa.DateTime(timezone=True)),
    )


def downgrade() -> None:
    op.drop_table("derived")
