"""Alerts, cases, their actions and what happened to them."""

import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0017_cases"
down_revision = "0016_monitoring"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "case_file",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("org", sa.String(32), nullable=False),
        sa.Column("project", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("detector", sa.String(255), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("title", sa.String(500), nullable=False),
        sa.Column("intent", sa.String(255), nullable=False),
        sa.Column("prompt", sa.String(255), nullable=False),
        sa.Column("release", sa.String(32), nullable=False),
        sa.Column("target", sa.String(255), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("stakes", sa.String(16), nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.Column("latest", sa.Text, nullable=False),
        sa.Column("alarms", sa.Integer, nullable=False),
        sa.Column("first_at", columns.Micros, nullable=False),
        sa.Column("last_at", columns.Micros, nullable=False),
        sa.Column("opened_at", columns.Micros, nullable=False),
        sa.Column("due_at", columns.Micros, nullable=False),
        sa.Column("overdue", sa.Boolean, nullable=False),
        sa.Column("verify_at", columns.Micros, nullable=True),
        sa.Column("escalated", sa.Integer, nullable=False),
        sa.Column("reopened", sa.Integer, nullable=False),
        sa.Column("closed_at", columns.Micros, nullable=True),
        sa.Column("closed_why", sa.String(2000), nullable=False),
        sa.Column("quiet_until", columns.Micros, nullable=True),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("open_key", sa.String(64), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_case_file"),
        sa.UniqueConstraint("open_key", name="uq_case_file_open_key"),
    )
    op.create_index("ix_case_file_key_opened_at", "case_file", ["key", "opened_at"])
    op.create_index("ix_case_file_state", "case_file", ["state"])
    op.create_table(
        "case_action",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("case", columns.Id, nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("params", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(2000), nullable=False),
        sa.Column("automatic", sa.Boolean, nullable=False),
        sa.Column("needs_other", sa.Boolean, nullable=False),
        sa.Column("proposed_by", sa.String(255), nullable=False),
        sa.Column("proposed_at", columns.Micros, nullable=False),
        sa.Column("decided_by", sa.String(255), nullable=False),
        sa.Column("decided_at", columns.Micros, nullable=True),
        sa.Column("executed_at", columns.Micros, nullable=True),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("helped", sa.Boolean, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_case_action"),
    )
    op.create_index("ix_case_action_case", "case_action", ["case"])
    op.create_table(
        "case_event",
        sa.Column("case", columns.Id, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("verb", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("at", columns.Micros, nullable=False),
        sa.Column("text", sa.String(2000), nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("leaf", sa.BigInteger, nullable=True),
        sa.Column("untold", sa.Boolean, nullable=True),
        sa.PrimaryKeyConstraint("case", "number", name="pk_case_event"),
    )
    op.create_index("ix_case_event_untold", "case_event", ["untold"])
    op.create_table(
        "alert",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("org", sa.String(32), nullable=False),
        sa.Column("project", sa.String(32), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("alert", sa.Text, nullable=False),
        sa.Column("declared_by", sa.String(255), nullable=False),
        sa.Column("declared_at", columns.Micros, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("value", sa.Float, nullable=True),
        sa.Column("samples", sa.BigInteger, nullable=False),
        sa.Column("looked_at", columns.Micros, nullable=False),
        sa.Column("beyond_since", columns.Micros, nullable=True),
        sa.Column("raised_at", columns.Micros, nullable=True),
        sa.Column("alarms", sa.Integer, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alert"),
        sa.UniqueConstraint("project", "name", name="uq_alert_project_name"),
    )


def downgrade() -> None:
    for name in ("alert", "case_event", "case_action", "case_file"):
        op.drop_table(name)
