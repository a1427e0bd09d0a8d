"""Tasks that people add, and what a run tells of its task."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "tasks",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
    )
    op.add_column("runs", sa.Column("task_fingerprint", sa.String(64)))
    op.add_column("runs", sa.Column("notes", sa.JSON()))


def downgrade() -> None:
    op.drop_column("runs", "notes")
    op.drop_column("runs", "task_fingerprint")
    op.drop_table("tasks")
