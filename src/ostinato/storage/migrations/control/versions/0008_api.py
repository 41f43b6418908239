"""Answers kept for idempotency keys."""

import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0008_api"
down_revision = "0007_releases"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "kept_answer",
        sa.Column("principal", sa.String(64), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("digest", columns.Bytes, nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("holder", columns.Id, nullable=False),
        sa.Column("begun_at", columns.Micros, nullable=False),
        sa.Column("finished_at", columns.Micros, nullable=True),
        sa.Column("status", sa.Integer, nullable=True),
        sa.Column("headers", sa.Text, nullable=True),
        sa.Column("body", columns.Bytes, nullable=True),
        sa.Column("omitted", sa.String(16), nullable=True),
        sa.PrimaryKeyConstraint("principal", "key", name="pk_kept_answer"),
    )
    op.create_index("ix_kept_answer_begun_at", "kept_answer", ["begun_at"])


def downgrade() -> None:
    op.drop_index("ix_kept_answer_begun_at", "kept_answer")
    op.drop_table("kept_answer")
