"""Candidates, rounds, measurements and decisions of optimization runs."""

import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0003_optimization"
down_revision = "0002_evals"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "optimization_candidate",
        sa.Column("run", columns.Id, nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("run", "id", name="pk_optimization_candidate"),
    )
    op.create_table(
        "optimization_round",
        sa.Column("run", columns.Id, nullable=False),
        sa.Column("stage", sa.String(20), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("run", "stage", "number", name="pk_optimization_round"),
    )
    op.create_table(
        "optimization_measured",
        sa.Column("run", columns.Id, nullable=False),
        sa.Column("stage", sa.String(20), nullable=False),
        sa.Column("candidate", sa.String(64), nullable=False),
        sa.Column("example", sa.String(64), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("run", "stage", "candidate", "example", name="pk_optimization_measured"),
    )
    op.create_table(
        "optimization_decided",
        sa.Column("run", columns.Id, nullable=False),
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("at", columns.Micros, nullable=False),
        sa.PrimaryKeyConstraint("run", "name", name="pk_optimization_decided"),
    )


def downgrade() -> None:
    op.drop_table("optimization_decided")
    op.drop_table("optimization_measured")
    op.drop_table("optimization_round")
    op.drop_table("optimization_candidate")
