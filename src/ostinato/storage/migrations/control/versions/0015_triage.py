"""Decisions of triage, and the inventory."""

revision = "0015_triage"
down_revision = "0014_governing"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
