"""Where messages go."""

import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0019_notifying"
down_revision = "0018_breakers"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("org", sa.String(32), nullable=False),
        sa.Column("project", sa.String(32), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("address", sa.String(2000), nullable=False),
        sa.Column("events", sa.Text, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("why", sa.String(255), nullable=False),
        sa.Column("sealed_address", columns.Bytes, nullable=False),
        sa.Column("sealed_secrets", columns.Bytes, nullable=True),
        sa.Column("created_at", columns.Micros, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_endpoint"),
        sa.UniqueConstraint("org", "project", "name", name="uq_webhook_endpoint_org_project_name"),
    )


def downgrade() -> None:
    op.drop_table("webhook_endpoint")
