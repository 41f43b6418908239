"""Retention rules, holds and receipts."""

revision = "0020_retention"
down_revision = "0019_notifying"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
