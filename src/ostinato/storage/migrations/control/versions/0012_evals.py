"""Scorers and experiments."""

revision = "0012_evals"
down_revision = "0011_reviews"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
