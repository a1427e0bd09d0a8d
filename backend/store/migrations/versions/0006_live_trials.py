"""What is done to units, trials in turns, what maps predicted, and saved groups."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def new() -> list[sa.Column[Any]]:
    return [
        sa.Column("treatment", sa.JSON()),
        sa.Column("half_width", sa.Float()),
        sa.Column("sequence", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("turn", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("worker", sa.String(64)),
        sa.Column("restarts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("answers", sa.LargeBinary()),
        sa.Column("predicted", sa.JSON()),
        sa.Column("recomputed", sa.Text()),
    ]


def upgrade() -> None:
    for column in new():
        op.add_column("trials", column)
    op.create_index("trials_by_key", "trials", ["key"])
    op.create_table(
        "groups",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("off", sa.JSON(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("model", "name", name="groups_by_name"),
    )


def downgrade() -> None:
    op.drop_table("groups")
    op.drop_index("trials_by_key", "trials")
    for column in new():
        op.drop_column("trials", column.name)
