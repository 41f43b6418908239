"""Optimization runs."""

import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0013_optimization"
down_revision = "0012_evals"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "optimization_run",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("org", sa.String(32), nullable=False),
        sa.Column("project", sa.String(32), nullable=False),
        sa.Column("prompt", sa.String(255), nullable=False),
        sa.Column("prompt_id", columns.Id, nullable=False),
        sa.Column("label", sa.String(255), nullable=False),
        sa.Column("intent", sa.String(255), nullable=False),
        sa.Column("alias", sa.String(255), nullable=False),
        sa.Column("dataset", sa.String(255), nullable=False),
        sa.Column("dataset_number", sa.Integer, nullable=False),
        sa.Column("dataset_version", columns.Id, nullable=False),
        sa.Column("holdout_digest", sa.String(64), nullable=False),
        sa.Column("base_number", sa.Integer, nullable=False),
        sa.Column("base_digest", sa.String(64), nullable=False),
        sa.Column("assigned_number", sa.Integer, nullable=True),
        sa.Column("wish", sa.Text, nullable=False),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("phase", sa.String(20), nullable=False),
        sa.Column("why", sa.String(2000), nullable=False),
        sa.Column("wanted", sa.String(20), nullable=False),
        sa.Column("turns", sa.Integer, nullable=False),
        sa.Column("author", sa.String(255), nullable=False),
        sa.Column("started_by", sa.String(255), nullable=False),
        sa.Column("created_at", columns.Micros, nullable=False),
        sa.Column("started_at", columns.Micros, nullable=True),
        sa.Column("ended_at", columns.Micros, nullable=True),
        sa.Column("champion", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer, nullable=True),
        sa.Column("release", sa.String(32), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("open_slot", sa.String(600), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_optimization_run"),
        sa.UniqueConstraint("open_slot", name="uq_optimization_run_open_slot"),
    )
    op.create_index("ix_optimization_run_org_project_prompt", "optimization_run", ["org", "project", "prompt"])
    op.create_index("ix_optimization_run_state", "optimization_run", ["state"])


def downgrade() -> None:
    op.drop_index("ix_optimization_run_state", "optimization_run")
    op.drop_index("ix_optimization_run_org_project_prompt", "optimization_run")
    op.drop_table("optimization_run")
