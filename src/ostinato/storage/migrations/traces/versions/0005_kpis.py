"""Interactions and sums of signals."""

revision = "0005_kpis"
down_revision = "0004_family"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
