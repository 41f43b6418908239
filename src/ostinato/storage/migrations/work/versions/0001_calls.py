"""The journal of paid calls, and which processes run jobs."""

import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0001_calls"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "paid_call",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("namespace", sa.String(64), nullable=False),
        sa.Column("example", sa.String(64), nullable=False),
        sa.Column("org", sa.String(32), nullable=False),
        sa.Column("project", sa.String(32), nullable=False),
        sa.Column("alias", sa.String(255), nullable=False),
        sa.Column("target", sa.String(1100), nullable=False),
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("replicate", sa.Integer, nullable=False),
        sa.Column("answer", columns.Bytes, nullable=True),
        sa.Column("usage", columns.Bytes, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("cost", columns.Nano, nullable=True),
        sa.Column("upstream_us", sa.BigInteger, nullable=False),
        sa.Column("at", columns.Micros, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_paid_call"),
    )
    op.create_index("ix_paid_call_namespace", "paid_call", ["namespace"])
    op.create_index("ix_paid_call_example", "paid_call", ["example"])
    op.create_table(
        "job_executor",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("beats", sa.BigInteger, nullable=False),
        sa.Column("begun_at", columns.Micros, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_job_executor"),
    )


def downgrade() -> None:
    op.drop_table("job_executor")
    op.drop_index("ix_paid_call_example", "paid_call")
    op.drop_index("ix_paid_call_namespace", "paid_call")
    op.drop_table("paid_call")
