"""Changes of models."""

revision = "0022_updating"
down_revision = "0021_savings"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
