"""Uses of maps beside smaller models: fine-tuning, quantising, probing and amplifying."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("derived", sa.Column("use", sa.String(16), nullable=False, server_default="prune"))
    op.add_column("derived", sa.Column("request", sa.JSON(), nullable=True))
    op.add_column("derived", sa.Column("eta_s", sa.Float(), nullable=True))


def downgrade() -> None:
    for column in ("eta_s", "request", "use"):
        op.drop_column("derived", column)
