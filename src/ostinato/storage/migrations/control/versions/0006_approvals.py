"""Requests for approval and their decisions."""

revision = "0006_approvals"
down_revision = "0005_prompts"
branch_labels = None
depends_on = None


def upgrade() -> None:
    return


def downgrade() -> None:
    return
