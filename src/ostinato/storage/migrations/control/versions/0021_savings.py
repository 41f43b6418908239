"""Invoices and declared costs."""

revision = "0021_savings"
down_revision = "0020_retention"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
