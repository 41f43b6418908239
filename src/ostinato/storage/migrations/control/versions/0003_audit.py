"""Audit leaves, checkpoints, anchors and subject keys."""

import secrets

import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0003_audit"
down_revision = "0002_access"
branch_labels = None
depends_on = None


def upgrade() -> None:
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("origin", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("frontier", columns.Bytes, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
    )
    # The one row that appends lock; the number tells this installation's log from all others.
    op.bulk_insert(head, [{"id": 1, "origin": secrets.token_hex(8), "size": 0, "frontier": b""}])
    op.create_table(
        "audit_leaf",
        sa.Column("seq", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("at", columns.Micros, nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("principal", sa.String(255), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("resource", sa.String(512), nullable=False),
        sa.Column("org", sa.String(64), nullable=False),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("hash", columns.Bytes, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit_leaf"),
    )
    op.create_index("ix_audit_leaf_resource", "audit_leaf", ["resource"])
    op.create_index("ix_audit_leaf_request_id", "audit_leaf", ["request_id"])
    op.create_index("ix_audit_leaf_at", "audit_leaf", ["at"])
    op.create_table(
        "audit_node",
        sa.Column("place", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("hash", columns.Bytes, nullable=False),
        sa.PrimaryKeyConstraint("place", name="pk_audit_node"),
    )
    op.create_table(
        "audit_text",
        sa.Column("seq", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit_text"),
    )
    op.create_index("ix_audit_text_subject", "audit_text", ["subject"])
    op.create_table(
        "audit_subject_key",
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("generation", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("wrapped", columns.Bytes, nullable=True),
        sa.Column("created_at", columns.Micros, nullable=False),
        sa.Column("destroyed_at", columns.Micros, nullable=True),
        sa.PrimaryKeyConstraint("subject", "generation", name="pk_audit_subject_key"),
    )
    op.create_table(
        "audit_signer",
        sa.Column("verifier", sa.String(255), nullable=False),
        sa.Column("wrapped", columns.Bytes, nullable=True),
        sa.Column("created_at", columns.Micros, nullable=False),
        sa.PrimaryKeyConstraint("verifier", name="pk_audit_signer"),
    )
    op.create_table(
        "audit_checkpoint",
        sa.Column("size", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("at", columns.Micros, nullable=False),
        sa.Column("root", columns.Bytes, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("size", name="pk_audit_checkpoint"),
    )
    op.create_table(
        "audit_receipt",
        sa.Column("size", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("anchor", sa.String(255), nullable=False),
        sa.Column("at", columns.Micros, nullable=False),
        sa.Column("receipt", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("size", "anchor", name="pk_audit_receipt"),
    )
    op.create_table(
        "audit_witnessed",
        sa.Column("origin", sa.String(255), nullable=False),
        sa.Column("size", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("root", columns.Bytes, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("at", columns.Micros, nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("origin", "size", name="pk_audit_witnessed"),
    )
    op.create_table(
        "audit_effect",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("intent", sa.BigInteger, nullable=False),
        sa.Column("deed", sa.Text, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("begun_at", columns.Micros, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_effect"),
    )


def downgrade() -> None:
    for table in ("effect", "witnessed", "receipt", "checkpoint", "signer", "subject_key"):
        op.drop_table(f"audit_{table}")
    op.drop_index("ix_audit_text_subject", "audit_text")
    op.drop_table("audit_text")
    op.drop_table("audit_node")
    for column in ("at", "request_id", "resource"):
        op.drop_index(f"ix_audit_leaf_{column}", "audit_leaf")
    op.drop_table("audit_leaf")
    op.drop_table("audit_head")
