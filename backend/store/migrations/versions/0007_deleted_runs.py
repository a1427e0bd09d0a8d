"""When a run was deleted: it can be brought back for a while."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("runs", sa.Column("deleted", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_runs_deleted", "runs", ["deleted"])


def downgrade() -> None:
    op.drop_index("ix_runs_deleted", "runs")
    op.drop_column("runs", "deleted")
