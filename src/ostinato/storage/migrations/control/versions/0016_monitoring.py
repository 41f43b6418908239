"""Detectors."""

revision = "0016_monitoring"
down_revision = "0015_triage"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
