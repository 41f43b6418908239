"""Candidates and rounds of optimization runs."""

revision = "0003_optimization"
down_revision = "0002_evals"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
