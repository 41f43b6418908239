"""Endpoints in the database ``control``; messages and their deliveries in ``work``."""

import sqlalchemy as sa

from ostinato.storage import columns

metadata = columns.metadata()
work_metadata = columns.metadata()

endpoint = sa.Table(
    "webhook_endpoint",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("org", sa.String(32), nullable=False),
    sa.Column("project", sa.String(32), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("address", sa.String(2000), nullable=False),
    sa.Column("events", columns.Json, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("why", sa.String(255), nullable=False),
    sa.Column("sealed_address", columns.Bytes, nullable=False),
    sa.Column("sealed_secrets", columns.Bytes, nullable=True),
    sa.Column("created_at", columns.Micros, nullable=False),
    sa.Column("created_by", sa.String(255), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.UniqueConstraint("org", "project", "name"),
)
"""``address`` is what may be seen; the real one and the secrets are sealed."""

message = sa.Table(
    "notify_message",
    work_metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("org", sa.String(32), nullable=False),
    sa.Column("project", sa.String(32), nullable=False),
    sa.Column("event", sa.String(100), nullable=False),
    sa.Column("subject", sa.String(255), nullable=False),
    sa.Column("at", columns.Micros, nullable=False, index=True),
    sa.Column("body", columns.Bytes, nullable=False),
)
"""Written once, before anything is sent: ``body`` is what every try sends, byte for byte."""

delivery = sa.Table(
    "notify_delivery",
    work_metadata,
    sa.Column("endpoint", columns.Id, primary_key=True),
    sa.Column("message", columns.Id, primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("next_at", columns.Micros, nullable=False),
    sa.Column("lease", sa.String(32), nullable=False),
    sa.Column("leased_until", columns.Micros, nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("said", sa.String(255), nullable=False),
    sa.Column("done_at", columns.Micros, nullable=True),
    sa.Index(None, "state", "endpoint", "next_at"),
)
"""``lease``: which taking holds it, until ``leased_until``; a process that died lets it go by time."""

health = sa.Table(
    "notify_health",
    work_metadata,
    sa.Column("endpoint", columns.Id, primary_key=True),
    sa.Column("failing_since", columns.Micros, nullable=True),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("refused", sa.BigInteger, nullable=False),
)
"""How endpoints fare; machines write it, so it is not in ``control``."""

cursor = sa.Table(
    "notify_cursor",
    work_metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
)
"""Up to which leaf of the audit log messages have been written; moves in the transaction that writes them."""
