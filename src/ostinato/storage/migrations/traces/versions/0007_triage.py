"""What is known of families."""

import sqlalchemy as sa
from alembic import op

revision = "0007_triage"
down_revision = "0006_savings"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "family",
        sa.Column("org", sa.Text, nullable=False),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("family", sa.Text, nullable=False),
        sa.Column("window", sa.BigInteger, nullable=False),
        sa.Column("writer", sa.Text, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("project", "family", "window", "writer", name="pk_family"),
    )
    op.create_index("ix_family_window", "family", ["window"])


def downgrade() -> None:
    op.drop_table("family")
