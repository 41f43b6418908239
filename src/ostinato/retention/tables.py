"""Retention's tables in the database ``control``."""

import sqlalchemy as sa

from ostinato.storage import columns

metadata = columns.metadata()

rule = sa.Table(
    "retention_rule",
    metadata,
    sa.Column("org", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("project", sa.String(32), nullable=False),
    sa.Column("body", columns.Json, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("changed_at", columns.Micros, nullable=False),
    sa.Column("changed_by", sa.String(255), nullable=False),
)
"""``body``: intent, data class and periods."""

hold = sa.Table(
    "retention_hold",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("org", sa.String(32), nullable=False),
    sa.Column("project", sa.String(32), nullable=False),
    sa.Column("matter", sa.String(255), nullable=False),
    sa.Column("intent", sa.String(255), nullable=False),
    sa.Column("subject", sa.String(64), nullable=False),
    sa.Column("since", columns.Micros, nullable=True),
    sa.Column("until", columns.Micros, nullable=True),
    sa.Column("placed_at", columns.Micros, nullable=False),
    sa.Column("placed_by", sa.String(255), nullable=False),
    sa.Column("lifted_at", columns.Micros, nullable=True),
    sa.Column("lifted_by", sa.String(255), nullable=False),
    sa.Index(None, "org", "lifted_at"),
)

sweep = sa.Table(
    "retention_sweep",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("org", sa.String(32), nullable=False),
    sa.Column("project", sa.String(32), nullable=False),
    sa.Column("dry_run", sa.Boolean, nullable=False),
    sa.Column("started_at", columns.Micros, nullable=False),
    sa.Column("ended_at", columns.Micros, nullable=True),
    sa.Column("by", sa.String(255), nullable=False),
    sa.Column("report", columns.Json, nullable=False),
)

mark = sa.Table(
    "retention_mark",
    metadata,
    sa.Column("store", sa.String(64), primary_key=True),
    sa.Column("days", sa.Float, primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("upto", columns.Micros, nullable=False),
)
"""How far a store has been swept for one period, under the rules and holds of ``digest``."""

lease = sa.Table(
    "retention_lease",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("until", columns.Micros, nullable=False),
)
"""Which process sweeps, and which works on an erasure."""

erasure = sa.Table(
    "erasure",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("org", sa.String(32), nullable=False),
    sa.Column("project", sa.String(32), nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("effect", sa.String(32), nullable=False),
    sa.Column("sealed", columns.Bytes, nullable=True),
    sa.Column("body", columns.Json, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Index(None, "project", "id"),
)
"""``body``: the ``Erasure``; ``sealed``: who it is about, encrypted, gone when it is done."""
