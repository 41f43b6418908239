"""Prompts, their versions, labels and the moves of labels."""

revision = "0005_prompts"
down_revision = "0004_principals"
branch_labels = None
depends_on = None


def upgrade() -> None:
    return


def downgrade() -> None:
    return
