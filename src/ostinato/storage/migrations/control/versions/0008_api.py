"""Answers kept for idempotency keys."""

revision = "0008_api"
down_revision = "0007_releases"
branch_labels = None
depends_on = None


def upgrade() -> None:
    return


def downgrade() -> None:
    return
