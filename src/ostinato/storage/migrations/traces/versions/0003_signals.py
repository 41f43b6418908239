"""Signals of quality."""

import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0003_signals"
down_revision = "0002_release"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def upgrade() -> None:
    op.create_table(
        "signal",
        sa.Column("seq", columns.Serial, autoincrement=True, nullable=False),
        _text("id"),
        _text("request_id"),
        sa.Column("at", columns.Micros, nullable=False),
        _text("org"),
        _text("project"),
        _text("source"),
        _text("name"),
        sa.Column("value", sa.Float, nullable=True),
        _text("label"),
        sa.Column("comment", sa.Text, nullable=True),
        sa.Column("weight", sa.Float, nullable=False),
        _text("scorer"),
        _text("prompt"),
        sa.Column("prompt_version", sa.Integer, nullable=False),
        _text("release"),
        _text("arm"),
        _text("intent"),
        _text("entry"),
        _text("origin"),
        _text("actor"),
        sa.PrimaryKeyConstraint("seq", name="pk_signal"),
        sa.UniqueConstraint("id", name="uq_signal_id"),
    )
    op.create_index("ix_signal_request_id", "signal", ["request_id"])
    op.create_index("ix_signal_project_at", "signal", ["project", "at"])
    op.create_index("ix_signal_release_at", "signal", ["release", "at"])


def downgrade() -> None:
    for name in ("release_at", "project_at", "request_id"):
        op.drop_index(f"ix_signal_{name}", "signal")
    op.drop_table("signal")
