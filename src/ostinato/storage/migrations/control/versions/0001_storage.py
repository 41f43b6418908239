"""Declarations with their history, and counters of notices."""

import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0001_storage"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "declaration",
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("digest", columns.Bytes, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("source", sa.String(32), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("changed_at", columns.Micros, nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name="pk_declaration"),
    )
    op.create_table(
        "declaration_change",
        sa.Column("seq", columns.Serial, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("digest", columns.Bytes, nullable=True),
        sa.Column("body", sa.Text, nullable=True),
        sa.Column("source", sa.String(32), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("changed_at", columns.Micros, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_declaration_change"),
        sa.UniqueConstraint("kind", "name", "version", name="uq_declaration_change_kind_name_version"),
    )
    op.create_table(
        "notice",
        sa.Column("topic", sa.String(64), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("topic", name="pk_notice"),
    )


def downgrade() -> None:
    op.drop_table("notice")
    op.drop_table("declaration_change")
    op.drop_table("declaration")
