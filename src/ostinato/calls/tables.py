"""The journal's table in the database ``work``."""

import sqlalchemy as sa

from ostinato.storage import columns

metadata = columns.metadata()

paid_call = sa.Table(
    "paid_call",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("namespace", sa.String(64), nullable=False),
    sa.Column("example", sa.String(64), nullable=False),
    sa.Column("org", sa.String(32), nullable=False),
    sa.Column("project", sa.String(32), nullable=False),
    sa.Column("alias", sa.String(255), nullable=False),
    sa.Column("target", sa.String(1100), nullable=False),
    sa.Column("purpose", sa.String(32), nullable=False),
    sa.Column("replicate", sa.Integer, nullable=False),
    sa.Column("answer", columns.Bytes, nullable=True),
    sa.Column("usage", columns.Bytes, nullable=False),
    sa.Column("tokens", sa.BigInteger, nullable=False),
    sa.Column("cost", columns.Nano, nullable=True),
    sa.Column("upstream_us", sa.BigInteger, nullable=False),
    sa.Column("at", columns.Micros, nullable=False),
    sa.Index("ix_paid_call_namespace", "namespace"),
    sa.Index("ix_paid_call_example", "example"),
)
"""One row per call that was paid for. Without ``answer``: it was paid for and never heard, or it was erased."""
