"""Names, comments and tags that people give to runs."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("runs", sa.Column("name", sa.String(120), nullable=True))
    op.add_column("runs", sa.Column("comment", sa.Text(), nullable=True))
    op.add_column("runs", sa.Column("tags", sa.JSON(), nullable=True))


def downgrade() -> None:
    for column in ("tags", "comment", "name"):
        op.drop_column("runs", column)
