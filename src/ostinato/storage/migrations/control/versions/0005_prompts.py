"""Prompts, their versions, labels, and the moves of labels."""

import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0005_prompts"
down_revision = "0004_principals"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "prompt",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("org_id", columns.Id, nullable=False),
        sa.Column("project_id", columns.Id, nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("intent", sa.String(200), nullable=False),
        sa.Column("latest", sa.Integer, nullable=False),
        sa.Column("archived_at", columns.Micros, nullable=True),
        sa.Column("created_at", columns.Micros, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_prompt"),
        sa.UniqueConstraint("project_id", "name", name="uq_prompt_project_id_name"),
    )
    op.create_table(
        "prompt_version",
        sa.Column("prompt_id", columns.Id, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("author", sa.String(255), nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("created_at", columns.Micros, nullable=False),
        sa.Column("parent", sa.Integer, nullable=False),
        sa.Column("findings", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("prompt_id", "number", name="pk_prompt_version"),
        sa.ForeignKeyConstraint(["prompt_id"], ["prompt.id"], name="fk_prompt_version_prompt_id"),
        sa.UniqueConstraint("prompt_id", "digest", name="uq_prompt_version_prompt_id_digest"),
    )
    op.create_table(
        "prompt_reference",
        sa.Column("prompt_id", columns.Id, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("partial_id", columns.Id, nullable=False),
        sa.Column("partial_number", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("prompt_id", "number", "partial_id", name="pk_prompt_reference"),
        sa.ForeignKeyConstraint(["prompt_id"], ["prompt.id"], name="fk_prompt_reference_prompt_id"),
        sa.ForeignKeyConstraint(["partial_id"], ["prompt.id"], name="fk_prompt_reference_partial_id"),
    )
    op.create_index("ix_prompt_reference_partial_id", "prompt_reference", ["partial_id"])
    op.create_table(
        "prompt_label",
        sa.Column("project_id", columns.Id, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("protection", sa.Text, nullable=False),
        sa.Column("immutable", sa.Boolean, nullable=False),
        sa.Column("created_at", columns.Micros, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("project_id", "name", name="pk_prompt_label"),
    )
    op.create_table(
        "prompt_assignment",
        sa.Column("prompt_id", columns.Id, nullable=False),
        sa.Column("label", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("release", sa.String(64), nullable=False),
        sa.Column("canary", sa.Text, nullable=True),
        sa.Column("assigned_at", columns.Micros, nullable=False),
        sa.Column("assigned_by", sa.String(255), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("prompt_id", "label", name="pk_prompt_assignment"),
        sa.ForeignKeyConstraint(["prompt_id"], ["prompt.id"], name="fk_prompt_assignment_prompt_id"),
    )
    op.create_table(
        "prompt_move",
        sa.Column("seq", columns.Serial, autoincrement=True, nullable=False),
        sa.Column("prompt_id", columns.Id, nullable=False),
        sa.Column("label", sa.String(64), nullable=False),
        sa.Column("from_number", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("release", sa.String(64), nullable=False),
        sa.Column("canary", sa.Text, nullable=True),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("principal", sa.String(255), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text, nullable=True),
        sa.Column("at", columns.Micros, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_prompt_move"),
        sa.ForeignKeyConstraint(["prompt_id"], ["prompt.id"], name="fk_prompt_move_prompt_id"),
    )
    op.create_index("ix_prompt_move_prompt_id_seq", "prompt_move", ["prompt_id", "seq"])


def downgrade() -> None:
    op.drop_index("ix_prompt_move_prompt_id_seq", "prompt_move")
    op.drop_table("prompt_move")
    op.drop_table("prompt_assignment")
    op.drop_table("prompt_label")
    op.drop_index("ix_prompt_reference_partial_id", "prompt_reference")
    op.drop_table("prompt_reference")
    op.drop_table("prompt_version")
    op.drop_table("prompt")
