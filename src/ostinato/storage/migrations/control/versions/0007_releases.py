"""Releases, their evidence and their history."""

import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0007_releases"
down_revision = "0006_approvals"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "release",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("org", sa.String(32), nullable=False),
        sa.Column("project", sa.String(32), nullable=False),
        sa.Column("prompt", sa.String(255), nullable=False),
        sa.Column("label", sa.String(255), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("base_number", sa.Integer, nullable=True),
        sa.Column("base_release", sa.String(32), nullable=False),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("intent", sa.String(255), nullable=False),
        sa.Column("gates", sa.Text, nullable=False),
        sa.Column("approvals_needed", sa.Integer, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("bundle", sa.Text, nullable=False),
        sa.Column("reason", sa.String(2000), nullable=False),
        sa.Column("author", sa.String(255), nullable=False),
        sa.Column("proposed_by", sa.String(255), nullable=False),
        sa.Column("proposed_at", columns.Micros, nullable=False),
        sa.Column("request_id", columns.Id, nullable=False),
        sa.Column("salt", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("step_since", columns.Micros, nullable=True),
        sa.Column("started_at", columns.Micros, nullable=True),
        sa.Column("ended_at", columns.Micros, nullable=True),
        sa.Column("ended_why", sa.String(2000), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("open_slot", sa.String(600), nullable=True),
        sa.Column("active_slot", sa.String(600), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_release"),
        sa.UniqueConstraint("open_slot", name="uq_release_open_slot"),
        sa.UniqueConstraint("active_slot", name="uq_release_active_slot"),
    )
    op.create_index("ix_release_org_project_prompt", "release", ["org", "project", "prompt"])
    op.create_index("ix_release_state", "release", ["state"])
    op.create_table(
        "release_evidence",
        sa.Column("release_id", columns.Id, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("about", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("passed", sa.Boolean, nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("principal", sa.String(255), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("at", columns.Micros, nullable=False),
        sa.PrimaryKeyConstraint("release_id", "number", name="pk_release_evidence"),
        sa.ForeignKeyConstraint(["release_id"], ["release.id"], name="fk_release_evidence_release_id"),
    )
    op.create_table(
        "release_event",
        sa.Column("release_id", columns.Id, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("at", columns.Micros, nullable=False),
        sa.Column("reason", sa.String(2000), nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("leaf", sa.BigInteger, nullable=True),
        sa.PrimaryKeyConstraint("release_id", "number", name="pk_release_event"),
        sa.ForeignKeyConstraint(["release_id"], ["release.id"], name="fk_release_event_release_id"),
    )


def downgrade() -> None:
    op.drop_table("release_event")
    op.drop_table("release_evidence")
    op.drop_index("ix_release_state", "release")
    op.drop_index("ix_release_org_project_prompt", "release")
    op.drop_table("release")
