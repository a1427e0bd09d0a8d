"""Whose derived models are."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("derived", sa.Column("owner", sa.String(80), nullable=True))
    op.create_index("ix_derived_owner", "derived", ["owner"])


def downgrade() -> None:
    op.drop_index("ix_derived_owner", "derived")
    op.drop_column("derived", "owner")
