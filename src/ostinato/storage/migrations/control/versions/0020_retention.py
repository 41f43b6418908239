"""Retention rules, legal holds, sweeps and erasures."""

import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0020_retention"
down_revision = "0019_notifying"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "retention_rule",
        sa.Column("org", sa.String(32), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("project", sa.String(32), nullable=False),
        sa.Column("body", columns.Json, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("changed_at", columns.Micros, nullable=False),
        sa.Column("changed_by", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("org", "name", name="pk_retention_rule"),
    )
    op.create_table(
        "retention_hold",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("org", sa.String(32), nullable=False),
        sa.Column("project", sa.String(32), nullable=False),
        sa.Column("matter", sa.String(255), nullable=False),
        sa.Column("intent", sa.String(255), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("since", columns.Micros, nullable=True),
        sa.Column("until", columns.Micros, nullable=True),
        sa.Column("placed_at", columns.Micros, nullable=False),
        sa.Column("placed_by", sa.String(255), nullable=False),
        sa.Column("lifted_at", columns.Micros, nullable=True),
        sa.Column("lifted_by", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_retention_hold"),
    )
    op.create_index("ix_retention_hold_org_lifted_at", "retention_hold", ["org", "lifted_at"])
    op.create_table(
        "retention_sweep",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("org", sa.String(32), nullable=False),
        sa.Column("project", sa.String(32), nullable=False),
        sa.Column("dry_run", sa.Boolean, nullable=False),
        sa.Column("started_at", columns.Micros, nullable=False),
        sa.Column("ended_at", columns.Micros, nullable=True),
        sa.Column("by", sa.String(255), nullable=False),
        sa.Column("report", columns.Json, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_retention_sweep"),
    )
    op.create_table(
        "retention_mark",
        sa.Column("store", sa.String(64), nullable=False),
        sa.Column("days", sa.Float, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("upto", columns.Micros, nullable=False),
        sa.PrimaryKeyConstraint("store", "days", name="pk_retention_mark"),
    )
    op.create_table(
        "retention_lease",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("until", columns.Micros, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_retention_lease"),
    )
    op.create_table(
        "erasure",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("org", sa.String(32), nullable=False),
        sa.Column("project", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("effect", sa.String(32), nullable=False),
        sa.Column("sealed", columns.Bytes, nullable=True),
        sa.Column("body", columns.Json, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_erasure"),
    )
    op.create_index("ix_erasure_state", "erasure", ["state"])
    op.create_index("ix_erasure_project_id", "erasure", ["project", "id"])


def downgrade() -> None:
    for name in ("erasure", "retention_lease", "retention_mark", "retention_sweep", "retention_hold", "retention_rule"):
        op.drop_table(name)
