"""Releases, their evidence and their history."""

revision = "0007_releases"
down_revision = "0006_approvals"
branch_labels = None
depends_on = None


def upgrade() -> None:
    return


def downgrade() -> None:
    return
