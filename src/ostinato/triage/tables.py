"""Triage's tables in the database ``control``."""

import sqlalchemy as sa

from ostinato.storage import columns

metadata = columns.metadata()

triage_decision = sa.Table(
    "triage_decision",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("org", sa.String(32), nullable=False),
    sa.Column("project", sa.String(32), nullable=False),
    sa.Column("family", sa.String(255), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("choice", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reasons", columns.Json, nullable=False),
    sa.Column("saving", columns.Json, nullable=False),
    sa.Column("wrong", columns.Json, nullable=False),
    sa.Column("risk", sa.Float, nullable=False),
    sa.Column("policy", columns.Json, nullable=False),
    sa.Column("figures", columns.Json, nullable=False),
    sa.Column("worth", columns.Json, nullable=False),
    sa.Column("stakes", sa.String(16), nullable=False),
    sa.Column("intent", sa.String(255), nullable=False),
    sa.Column("prompt", sa.String(255), nullable=False),
    sa.Column("automatic", sa.Boolean, nullable=False),
    sa.Column("decided_at", columns.Micros, nullable=False),
    sa.Column("closed_at", columns.Micros, nullable=True),
    sa.Column("closed_by", sa.String(255), nullable=False),
    sa.Column("comment", sa.String(2000), nullable=False),
    sa.Column("effects", columns.Json, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.UniqueConstraint("project", "family", "number"),
    sa.Index(None, "state", "project"),
)
"""Append-only but for what became of a decision: what is decided anew is a new row."""

triage_inventory = sa.Table(
    "triage_inventory",
    metadata,
    sa.Column("org", sa.String(32), nullable=False),
    sa.Column("project", sa.String(32), primary_key=True),
    sa.Column("prompt", sa.String(255), primary_key=True),
    sa.Column("intent", sa.String(255), nullable=False),
    sa.Column("owner", sa.String(255), nullable=False),
    sa.Column("findings", columns.Json, nullable=False),
    sa.Column("reasons", columns.Json, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("asked_at", columns.Micros, nullable=False),
    sa.Column("due_at", columns.Micros, nullable=False),
    sa.Column("attested_at", columns.Micros, nullable=True),
    sa.Column("attested_by", sa.String(255), nullable=False),
    sa.Column("comment", sa.String(2000), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
)

triage_round = sa.Table(
    "triage_round",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("at", columns.Micros, nullable=False),
)
"""When each round was begun last: of several processes one makes it."""
