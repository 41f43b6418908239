"""What detectors remember."""

revision = "0008_monitoring"
down_revision = "0007_triage"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
