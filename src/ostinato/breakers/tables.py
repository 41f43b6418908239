"""The breakers' table in the database ``control``."""

import sqlalchemy as sa

from ostinato.storage import columns

metadata = columns.metadata()

trip = sa.Table(
    "breaker_trip",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("org", sa.String(32), nullable=False),
    sa.Column("project", sa.String(32), nullable=False),
    sa.Column("intent", sa.String(255), nullable=False),
    sa.Column("target", sa.String(255), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("cause", sa.String(16), nullable=False),
    sa.Column("code", sa.String(64), nullable=False),
    sa.Column("reason", sa.String(2000), nullable=False),
    sa.Column("since", columns.Micros, nullable=False),
    sa.Column("by", sa.String(255), nullable=False),
    sa.Column("case", sa.String(32), nullable=False),
    sa.Column("held", sa.Boolean, nullable=False),
    sa.Column("safety", columns.Json, nullable=False),
    sa.Column("changed_at", columns.Micros, nullable=False),
    sa.Column("cool_until", columns.Micros, nullable=False),
    sa.Column("good", sa.Float, nullable=False),
    sa.Column("bad", sa.Float, nullable=False),
    sa.Column("reopened", sa.Integer, nullable=False),
    sa.Column("closed_at", columns.Micros, nullable=True),
    sa.Column("closed_by", sa.String(255), nullable=False),
    sa.Column("closed_why", sa.String(2000), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("open_slot", sa.String(600), nullable=True, unique=True),
    sa.Index(None, "org", "project", "intent"),
)
"""``open_slot`` names intent or target while the trip is open, else nothing: the database keeps a second one out."""
