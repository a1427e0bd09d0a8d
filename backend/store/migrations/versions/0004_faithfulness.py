"""How far the check of a run's maps is."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("runs", sa.Column("faithfulness", sa.String(8), nullable=False, server_default="none"))
    op.add_column("runs", sa.Column("checks", sa.String(16), nullable=True))


def downgrade() -> None:
    op.drop_column("runs", "checks")
    op.drop_column("runs", "faithfulness")
