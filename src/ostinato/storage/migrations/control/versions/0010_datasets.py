"""Datasets: examples in versions, and the looks at their sealed parts."""

import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0010_datasets"
down_revision = "0009_improving"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "dataset",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("org", sa.String(32), nullable=False),
        sa.Column("project", sa.String(32), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.String(2000), nullable=False),
        sa.Column("shares", sa.Text, nullable=False),
        sa.Column("latest", sa.Integer, nullable=False),
        sa.Column("counted", sa.Integer, nullable=False),
        sa.Column("created_at", columns.Micros, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_dataset"),
        sa.UniqueConstraint("project", "name", name="uq_dataset_project_name"),
    )
    op.create_table(
        "dataset_version",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("dataset_id", columns.Id, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("open", sa.Boolean, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("holdout_digest", sa.String(64), nullable=False),
        sa.Column("counts", sa.Text, nullable=False),
        sa.Column("strata", sa.Text, nullable=False),
        sa.Column("dropped", sa.Text, nullable=False),
        sa.Column("findings", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("note", sa.String(2000), nullable=False),
        sa.Column("created_at", columns.Micros, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("used_at", columns.Micros, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_dataset_version"),
        sa.UniqueConstraint("dataset_id", "number", name="uq_dataset_version_dataset_id_number"),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name="fk_dataset_version_dataset_id"),
    )
    op.create_index("ix_dataset_version_holdout_digest", "dataset_version", ["holdout_digest"])
    op.create_table(
        "example",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("dataset_id", columns.Id, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("inputs_key", sa.String(64), nullable=False),
        sa.Column("answer_key", sa.String(64), nullable=False),
        sa.Column("stratum", sa.String(255), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("source", sa.String(255), nullable=False),
        sa.Column("body", sa.Text, nullable=True),
        sa.Column("created_at", columns.Micros, nullable=False),
        sa.Column("erased_at", columns.Micros, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_example"),
        sa.UniqueConstraint("dataset_id", "digest", name="uq_example_dataset_id_digest"),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name="fk_example_dataset_id"),
    )
    op.create_index("ix_example_dataset_id_inputs_key", "example", ["dataset_id", "inputs_key"])
    op.create_index("ix_example_dataset_id_subject", "example", ["dataset_id", "subject"])
    op.create_index("ix_example_digest", "example", ["digest"])
    op.create_table(
        "dataset_member",
        sa.Column("version_id", columns.Id, nullable=False),
        sa.Column("position", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("example_id", columns.Id, nullable=False),
        sa.Column("split", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("version_id", "position", name="pk_dataset_member"),
        sa.UniqueConstraint("version_id", "example_id", name="uq_dataset_member_version_id_example_id"),
        sa.ForeignKeyConstraint(["version_id"], ["dataset_version.id"], name="fk_dataset_member_version_id"),
        sa.ForeignKeyConstraint(["example_id"], ["example.id"], name="fk_dataset_member_example_id"),
    )
    op.create_index("ix_dataset_member_example_id", "dataset_member", ["example_id"])
    op.create_table(
        "holdout_look",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("project", sa.String(32), nullable=False),
        sa.Column("version_id", columns.Id, nullable=False),
        sa.Column("holdout_digest", sa.String(64), nullable=False),
        sa.Column("prompt", sa.String(255), nullable=False),
        sa.Column("run", sa.String(255), nullable=False),
        sa.Column("alpha", sa.Float, nullable=False),
        sa.Column("spent", sa.Float, nullable=False),
        sa.Column("examples", sa.Integer, nullable=False),
        sa.Column("at", columns.Micros, nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_holdout_look"),
        sa.UniqueConstraint("version_id", "prompt", "run", name="uq_holdout_look_version_id_prompt_run"),
        sa.ForeignKeyConstraint(["version_id"], ["dataset_version.id"], name="fk_holdout_look_version_id"),
    )
    op.create_index("ix_holdout_look_project_prompt", "holdout_look", ["project", "prompt"])


def downgrade() -> None:
    op.drop_index("ix_holdout_look_project_prompt", "holdout_look")
    op.drop_table("holdout_look")
    op.drop_index("ix_dataset_member_example_id", "dataset_member")
    op.drop_table("dataset_member")
    for name in ("digest", "dataset_id_subject", "dataset_id_inputs_key"):
        op.drop_index(f"ix_example_{name}", "example")
    op.drop_table("example")
    op.drop_index("ix_dataset_version_holdout_digest", "dataset_version")
    op.drop_table("dataset_version")
    op.drop_table("dataset")
