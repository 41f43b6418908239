"""This room's tables: what the hold-out must remember (database ``traces``), costs and invoices (``control``)."""

import sqlalchemy as sa

from ostinato.storage import columns

traces = columns.metadata()
control = columns.metadata()

rule = sa.Table(
    "holdout_rule",
    traces,
    sa.Column("seq", columns.Serial, primary_key=True, autoincrement=True),
    sa.Column("at", columns.Micros, nullable=False),
    sa.Column("share", sa.Float, nullable=False),
    sa.Index(None, "at"),
)
"""The share that every process holds out from ``at`` on: what was declared last. A row per change."""

touch = sa.Table(
    "budget_touch",
    traces,
    sa.Column("seq", columns.Serial, primary_key=True, autoincrement=True),
    sa.Column("hour", columns.Micros, nullable=False),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("intent", sa.Text, nullable=False),
    sa.Column("effect", sa.Text, nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Index(None, "project", "hour"),
)
"""Requests whose answer was cut, or that were refused, by an intent's budget; each process adds rows of its own."""

cost = sa.Table(
    "declared_cost",
    control,
    sa.Column("org", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("nano", columns.Nano, nullable=False),
    sa.Column("project", sa.String(32), nullable=False),
    sa.Column("since", columns.Micros, nullable=False),
    sa.Column("until", columns.Micros, nullable=True),
    sa.Column("note", sa.String(400), nullable=False),
    sa.Column("changed_at", columns.Micros, nullable=False),
    sa.Column("changed_by", sa.String(255), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
)

invoice = sa.Table(
    "invoice",
    control,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("org", sa.String(32), nullable=False, index=True),
    sa.Column("provider", sa.String(255), nullable=False),
    sa.Column("shape", sa.String(32), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("since", columns.Micros, nullable=False),
    sa.Column("until", columns.Micros, nullable=False),
    sa.Column("lines", columns.Json, nullable=False),
    sa.Column("at", columns.Micros, nullable=False),
    sa.Column("by", sa.String(255), nullable=False),
    sa.UniqueConstraint("org", "digest"),
)
"""What a provider billed, as it was handed in: never changed. The comparison is worked out when it is looked at."""
