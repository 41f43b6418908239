"""Signals of quality."""

revision = "0003_signals"
down_revision = "0002_release"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
