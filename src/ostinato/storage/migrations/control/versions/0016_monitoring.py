"""Detectors."""

import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0016_monitoring"
down_revision = "0015_triage"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "detector",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("org", sa.String(32), nullable=False),
        sa.Column("project", sa.String(32), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("declared", columns.Json, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", columns.Micros, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_detector"),
        sa.UniqueConstraint("project", "name", name="uq_detector_project_name"),
    )


def downgrade() -> None:
    op.drop_table("detector")
