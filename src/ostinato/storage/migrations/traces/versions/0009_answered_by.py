"""What the provider says has answered: a snapshot that changes behind a model's name is seen by it."""

import sqlalchemy as sa
from alembic import op

revision = "0009_answered_by"
down_revision = "0008_monitoring"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # With a default, both engines add a column without touching the rows, however many there are.
    op.add_column("call", sa.Column("answered_by", sa.Text, nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("call", "answered_by")
