"""Invoices and declared costs."""

import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0021_savings"
down_revision = "0020_retention"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "declared_cost",
        sa.Column("org", sa.String(32), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("nano", columns.Nano, nullable=False),
        sa.Column("project", sa.String(32), nullable=False),
        sa.Column("since", columns.Micros, nullable=False),
        sa.Column("until", columns.Micros, nullable=True),
        sa.Column("note", sa.String(400), nullable=False),
        sa.Column("changed_at", columns.Micros, nullable=False),
        sa.Column("changed_by", sa.String(255), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("org", "name", name="pk_declared_cost"),
    )
    op.create_table(
        "invoice",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("org", sa.String(32), nullable=False),
        sa.Column("provider", sa.String(255), nullable=False),
        sa.Column("shape", sa.String(32), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("since", columns.Micros, nullable=False),
        sa.Column("until", columns.Micros, nullable=False),
        sa.Column("lines", sa.Text, nullable=False),
        sa.Column("at", columns.Micros, nullable=False),
        sa.Column("by", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_invoice"),
        sa.UniqueConstraint("org", "digest", name="uq_invoice_org_digest"),
    )
    op.create_index("ix_invoice_org", "invoice", ["org"])


def downgrade() -> None:
    op.drop_table("invoice")
    op.drop_table("declared_cost")
