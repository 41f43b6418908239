"""Requests for approval and their decisions."""

import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0006_approvals"
down_revision = "0005_prompts"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "approval_request",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("org", sa.String(32), nullable=False),
        sa.Column("project", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("target", sa.String(512), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("body", sa.Text, nullable=True),
        sa.Column("needed", sa.Integer, nullable=False),
        sa.Column("author", sa.String(255), nullable=False),
        sa.Column("opened_by", sa.String(255), nullable=False),
        sa.Column("opened_at", columns.Micros, nullable=False),
        sa.Column("expires_at", columns.Micros, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("closed_at", columns.Micros, nullable=True),
        sa.Column("closed_why", sa.String(1000), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_approval_request"),
    )
    op.create_index("ix_approval_request_org_state", "approval_request", ["org", "state"])
    op.create_index("ix_approval_request_target", "approval_request", ["target"])
    op.create_table(
        "approval_decision",
        sa.Column("request_id", columns.Id, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("principal", sa.String(255), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("decision", sa.String(16), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("comment", sa.String(2000), nullable=False),
        sa.Column("decided_at", columns.Micros, nullable=False),
        sa.PrimaryKeyConstraint("request_id", "number", name="pk_approval_decision"),
        sa.ForeignKeyConstraint(["request_id"], ["approval_request.id"], name="fk_approval_decision_request_id"),
    )


def downgrade() -> None:
    op.drop_table("approval_decision")
    op.drop_index("ix_approval_request_target", "approval_request")
    op.drop_index("ix_approval_request_org_state", "approval_request")
    op.drop_table("approval_request")
