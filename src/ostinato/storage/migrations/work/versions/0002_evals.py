"""Cells of experiments."""

import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0002_evals"
down_revision = "0001_calls"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cell",
        sa.Column("experiment", columns.Id, nullable=False),
        sa.Column("variant", sa.Integer, nullable=False),
        sa.Column("example", sa.String(64), nullable=False),
        sa.Column("body", columns.Bytes, nullable=False),
        sa.PrimaryKeyConstraint("experiment", "variant", "example", name="pk_cell"),
    )
    op.create_index("ix_cell_example", "cell", ["example"])


def downgrade() -> None:
    op.drop_index("ix_cell_example", "cell")
    op.drop_table("cell")
