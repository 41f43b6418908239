"""Datasets."""

revision = "0010_datasets"
down_revision = "0009_improving"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
