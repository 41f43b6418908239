"""Intents that are tripped, and targets that are held open."""

import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0018_breakers"
down_revision = "0017_cases"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "breaker_trip",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("org", sa.String(32), nullable=False),
        sa.Column("project", sa.String(32), nullable=False),
        sa.Column("intent", sa.String(255), nullable=False),
        sa.Column("target", sa.String(255), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("cause", sa.String(16), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(2000), nullable=False),
        sa.Column("since", columns.Micros, nullable=False),
        sa.Column("by", sa.String(255), nullable=False),
        sa.Column("case", sa.String(32), nullable=False),
        sa.Column("held", sa.Boolean, nullable=False),
        sa.Column("safety", sa.Text, nullable=False),
        sa.Column("changed_at", columns.Micros, nullable=False),
        sa.Column("cool_until", columns.Micros, nullable=False),
        sa.Column("good", sa.Float, nullable=False),
        sa.Column("bad", sa.Float, nullable=False),
        sa.Column("reopened", sa.Integer, nullable=False),
        sa.Column("closed_at", columns.Micros, nullable=True),
        sa.Column("closed_by", sa.String(255), nullable=False),
        sa.Column("closed_why", sa.String(2000), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("open_slot", sa.String(600), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_breaker_trip"),
        sa.UniqueConstraint("open_slot", name="uq_breaker_trip_open_slot"),
    )
    op.create_index("ix_breaker_trip_org_project_intent", "breaker_trip", ["org", "project", "intent"])


def downgrade() -> None:
    op.drop_table("breaker_trip")
