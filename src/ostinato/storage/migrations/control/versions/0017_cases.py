"""Alerts and cases."""

revision = "0017_cases"
down_revision = "0016_monitoring"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
