"""Messages to be delivered."""

revision = "0004_notifying"
down_revision = "0003_optimization"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
