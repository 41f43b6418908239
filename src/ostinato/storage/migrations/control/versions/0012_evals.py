"""Scorers and experiments."""

import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0012_evals"
down_revision = "0011_reviews"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _scorers()
    _experiments()


def downgrade() -> None:
    _no_experiments()
    _no_scorers()


def _experiments() -> None:
    op.create_table(
        "experiment",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("org", sa.String(32), nullable=False),
        sa.Column("project", sa.String(32), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("dataset", sa.String(255), nullable=False),
        sa.Column("version_id", columns.Id, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("variants", sa.Text, nullable=False),
        sa.Column("created_at", columns.Micros, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_experiment"),
    )
    op.create_index("ix_experiment_project", "experiment", ["project", "id"])
    op.create_index("ix_experiment_state", "experiment", ["state"])


def _no_experiments() -> None:
    op.drop_index("ix_experiment_state", "experiment")
    op.drop_index("ix_experiment_project", "experiment")
    op.drop_table("experiment")


def _scorers() -> None:
    op.create_table(
        "scorer",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("org", sa.String(32), nullable=False),
        sa.Column("project", sa.String(32), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("version", sa.String(8), nullable=False),
        sa.Column("spec", columns.Json, nullable=False),
        sa.Column("note", sa.String(2000), nullable=False),
        sa.Column("created_at", columns.Micros, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("standing", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_scorer"),
        sa.UniqueConstraint("project", "name", "number", name="uq_scorer_project_name_number"),
    )
    op.create_table(
        "sampling",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("org", sa.String(32), nullable=False),
        sa.Column("project", sa.String(32), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("intent", sa.String(255), nullable=False),
        sa.Column("prompt", sa.String(255), nullable=False),
        sa.Column("share", sa.Float, nullable=False),
        sa.Column("scorers", columns.Json, nullable=False),
        sa.Column("quarantine", sa.Float, nullable=True),
        sa.Column("review", sa.String(255), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", columns.Micros, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sampling"),
        sa.UniqueConstraint("project", "name", name="uq_sampling_project_name"),
    )
    op.create_table(
        "scorer_calibration",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("org", sa.String(32), nullable=False),
        sa.Column("project", sa.String(32), nullable=False),
        sa.Column("scorer", sa.String(64), nullable=False),
        sa.Column("version", sa.String(8), nullable=False),
        sa.Column("dataset", sa.String(255), nullable=False),
        sa.Column("dataset_version", columns.Id, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("cost", columns.Nano, nullable=False),
        sa.Column("result", columns.Json, nullable=False),
        sa.Column("at", columns.Micros, nullable=False),
        sa.Column("by", sa.String(255), nullable=False),
        sa.Column("queue", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_scorer_calibration"),
    )
    op.create_index("ix_scorer_calibration_project_scorer", "scorer_calibration", ["project", "scorer"])


def _no_scorers() -> None:
    op.drop_index("ix_scorer_calibration_project_scorer", "scorer_calibration")
    for name in ("scorer_calibration", "sampling", "scorer"):
        op.drop_table(name)
