"""Intents that are tripped."""

revision = "0018_breakers"
down_revision = "0017_cases"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
