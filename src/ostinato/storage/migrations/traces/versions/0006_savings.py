"""The hold-out."""

revision = "0006_savings"
down_revision = "0005_kpis"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
