"""Changes of models."""

import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0022_updating"
down_revision = "0021_savings"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "model_update",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("org", sa.String(32), nullable=False),
        sa.Column("project", sa.String(32), nullable=False),
        sa.Column("alias", sa.String(255), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("open_slot", sa.String(600), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_model_update"),
        sa.UniqueConstraint("open_slot", name="uq_model_update_open_slot"),
    )
    op.create_index("ix_model_update_project_state", "model_update", ["project", "state"])


def downgrade() -> None:
    op.drop_table("model_update")
