"""Tables of alerts and cases in the database ``control``."""

import sqlalchemy as sa

from ostinato.storage import columns

metadata = columns.metadata()

case = sa.Table(
    "case_file",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("org", sa.String(32), nullable=False),
    sa.Column("project", sa.String(32), nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("detector", sa.String(255), nullable=False),
    sa.Column("key", sa.String(64), nullable=False),
    sa.Column("title", sa.String(500), nullable=False),
    sa.Column("intent", sa.String(255), nullable=False),
    sa.Column("prompt", sa.String(255), nullable=False),
    sa.Column("release", sa.String(32), nullable=False),
    sa.Column("target", sa.String(255), nullable=False),
    sa.Column("severity", sa.String(16), nullable=False),
    sa.Column("stakes", sa.String(16), nullable=False),
    sa.Column("owner", sa.String(255), nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("evidence", columns.Json, nullable=False),
    sa.Column("latest", columns.Json, nullable=False),
    sa.Column("alarms", sa.Integer, nullable=False),
    sa.Column("first_at", columns.Micros, nullable=False),
    sa.Column("last_at", columns.Micros, nullable=False),
    sa.Column("opened_at", columns.Micros, nullable=False),
    sa.Column("due_at", columns.Micros, nullable=False),
    sa.Column("overdue", sa.Boolean, nullable=False),
    sa.Column("verify_at", columns.Micros, nullable=True),
    sa.Column("escalated", sa.Integer, nullable=False),
    sa.Column("reopened", sa.Integer, nullable=False),
    sa.Column("closed_at", columns.Micros, nullable=True),
    sa.Column("closed_why", sa.String(2000), nullable=False),
    sa.Column("quiet_until", columns.Micros, nullable=True),
    sa.Column("action", sa.String(32), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("open_key", sa.String(64), nullable=True, unique=True),
    sa.Index(None, "key", "opened_at"),
)
"""``open_key`` holds the key while the case is open, else nothing: the database keeps a second one out."""

action = sa.Table(
    "case_action",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("case", columns.Id, nullable=False, index=True),
    sa.Column("name", sa.String(32), nullable=False),
    sa.Column("params", columns.Json, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reason", sa.String(2000), nullable=False),
    sa.Column("automatic", sa.Boolean, nullable=False),
    sa.Column("needs_other", sa.Boolean, nullable=False),
    sa.Column("proposed_by", sa.String(255), nullable=False),
    sa.Column("proposed_at", columns.Micros, nullable=False),
    sa.Column("decided_by", sa.String(255), nullable=False),
    sa.Column("decided_at", columns.Micros, nullable=True),
    sa.Column("executed_at", columns.Micros, nullable=True),
    sa.Column("facts", columns.Json, nullable=False),
    sa.Column("helped", sa.Boolean, nullable=True),
)

event = sa.Table(
    "case_event",
    metadata,
    sa.Column("case", columns.Id, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("verb", sa.String(32), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("actor", sa.String(255), nullable=False),
    sa.Column("at", columns.Micros, nullable=False),
    sa.Column("text", sa.String(2000), nullable=False),
    sa.Column("facts", columns.Json, nullable=False),
    sa.Column("leaf", sa.BigInteger, nullable=True),
    sa.Column("untold", sa.Boolean, nullable=True, index=True),
)
"""Append-only. ``untold``: whoever wants to know has not been told yet; NULL once they have."""

alert = sa.Table(
    "alert",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("org", sa.String(32), nullable=False),
    sa.Column("project", sa.String(32), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("alert", columns.Json, nullable=False),
    sa.Column("declared_by", sa.String(255), nullable=False),
    sa.Column("declared_at", columns.Micros, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("value", sa.Float, nullable=True),
    sa.Column("samples", sa.BigInteger, nullable=False),
    sa.Column("looked_at", columns.Micros, nullable=False),
    sa.Column("beyond_since", columns.Micros, nullable=True),
    sa.Column("raised_at", columns.Micros, nullable=True),
    sa.Column("alarms", sa.Integer, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.UniqueConstraint("project", "name"),
)
"""What is declared, and what it has seen last; the latter changes without a new version."""
