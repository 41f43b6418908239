"""Approvals' tables in the database ``control``."""

import sqlalchemy as sa

from ostinato.storage import columns

metadata = columns.metadata()

approval_request = sa.Table(
    "approval_request",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("org", sa.String(32), nullable=False),
    sa.Column("project", sa.String(32), nullable=False),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("target", sa.String(512), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("body", columns.Json, nullable=True),
    sa.Column("needed", sa.Integer, nullable=False),
    sa.Column("author", sa.String(255), nullable=False),
    sa.Column("opened_by", sa.String(255), nullable=False),
    sa.Column("opened_at", columns.Micros, nullable=False),
    sa.Column("expires_at", columns.Micros, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("closed_at", columns.Micros, nullable=True),
    sa.Column("closed_why", sa.String(1000), nullable=False),
    sa.Index(None, "org", "state"),
    sa.Index(None, "target"),
)

approval_decision = sa.Table(
    "approval_decision",
    metadata,
    sa.Column("request_id", columns.Id, sa.ForeignKey("approval_request.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("principal", sa.String(255), nullable=False),
    sa.Column("actor", sa.String(255), nullable=False),
    sa.Column("decision", sa.String(16), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("comment", sa.String(2000), nullable=False),
    sa.Column("decided_at", columns.Micros, nullable=False),
)
"""Append-only: a principal who thinks again writes a new row."""
