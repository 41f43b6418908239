"""Messages to be delivered."""

import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0004_notifying"
down_revision = "0003_optimization"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "notify_message",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("org", sa.String(32), nullable=False),
        sa.Column("project", sa.String(32), nullable=False),
        sa.Column("event", sa.String(100), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("at", columns.Micros, nullable=False),
        sa.Column("body", columns.Bytes, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_notify_message"),
    )
    op.create_index("ix_notify_message_at", "notify_message", ["at"])
    op.create_table(
        "notify_delivery",
        sa.Column("endpoint", columns.Id, nullable=False),
        sa.Column("message", columns.Id, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("next_at", columns.Micros, nullable=False),
        sa.Column("lease", sa.String(32), nullable=False),
        sa.Column("leased_until", columns.Micros, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("said", sa.String(255), nullable=False),
        sa.Column("done_at", columns.Micros, nullable=True),
        sa.PrimaryKeyConstraint("endpoint", "message", name="pk_notify_delivery"),
    )
    op.create_index("ix_notify_delivery_state_endpoint_next_at", "notify_delivery", ["state", "endpoint", "next_at"])
    op.create_table(
        "notify_health",
        sa.Column("endpoint", columns.Id, nullable=False),
        sa.Column("failing_since", columns.Micros, nullable=True),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("refused", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("endpoint", name="pk_notify_health"),
    )
    op.create_table(
        "notify_cursor",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_notify_cursor"),
    )


def downgrade() -> None:
    for table in ("notify_cursor", "notify_health", "notify_delivery", "notify_message"):
        op.drop_table(table)
