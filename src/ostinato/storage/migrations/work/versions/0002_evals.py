"""Cells of experiments."""

revision = "0002_evals"
down_revision = "0001_calls"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
