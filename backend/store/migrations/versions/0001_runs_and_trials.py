"""Runs and trials."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("task", sa.String(200), nullable=False),
        sa.Column("methods", sa.JSON(), nullable=False),
        sa.Column("units", sa.JSON(), nullable=False),
        sa.Column("limit", sa.Integer(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("eta_s", sa.Float()),
        sa.Column("error", sa.Text()),
        sa.Column("shapes", sa.JSON(), nullable=False),
        sa.Column("intact", sa.JSON()),
        sa.Column("revision", sa.String(64)),
        sa.Column("worker", sa.String(64)),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started", sa.DateTime(timezone=True)),
        sa.Column("finished", sa.DateTime(timezone=True)),
    )
    op.create_index("ix_runs_status", "runs", ["status"])
    op.create_index("ix_runs_created", "runs", ["created"])
    op.create_table(
        "trials",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("run", sa.String(32), sa.ForeignKey("runs.id"), nullable=False),
        sa.Column("session", sa.String(64)),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("off", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("result", sa.JSON()),
        sa.Column("error", sa.Text()),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished", sa.DateTime(timezone=True)),
    )
    op.create_index("trials_of_run_by_key", "trials", ["run", "key"])
    op.create_index("ix_trials_session", "trials", ["session"])
    op.create_index("ix_trials_status", "trials", ["status"])


def downgrade() -> None:
    op.drop_table("trials")
    op.drop_table("runs")
