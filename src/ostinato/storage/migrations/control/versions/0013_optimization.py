"""Optimization runs."""

revision = "0013_optimization"
down_revision = "0012_evals"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
