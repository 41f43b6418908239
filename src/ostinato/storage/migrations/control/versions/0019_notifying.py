"""Where messages go."""

revision = "0019_notifying"
down_revision = "0018_breakers"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
