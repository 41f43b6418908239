"""Reviews."""

revision = "0011_reviews"
down_revision = "0010_datasets"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
