"""What is known of families."""

revision = "0007_triage"
down_revision = "0006_savings"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
