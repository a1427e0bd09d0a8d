"""What the shapes of a run's model leave open."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("runs", sa.Column("layout", sa.JSON()))


def downgrade() -> None:
    op.drop_column("runs", "layout")
