"""Storage's own tables in the database ``control``: declarations with their history, counters of notices, and
answers kept under idempotency keys."""

import sqlalchemy as sa

from ostinato.storage import columns

metadata = columns.metadata()

declaration = sa.Table(
    "declaration",
    metadata,
    sa.Column("kind", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("digest", columns.Bytes, nullable=False),
    sa.Column("body", columns.Json, nullable=False),
    sa.Column("source", sa.String(32), nullable=False),
    sa.Column("actor", sa.String(255), nullable=False),
    sa.Column("changed_at", columns.Micros, nullable=False),
)
"""What stands now: the latest version of everything declared and not removed."""

declaration_change = sa.Table(
    "declaration_change",
    metadata,
    sa.Column("seq", columns.Serial, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("action", sa.String(16), nullable=False),
    sa.Column("digest", columns.Bytes, nullable=True),
    sa.Column("body", columns.Json, nullable=True),
    sa.Column("source", sa.String(32), nullable=False),
    sa.Column("actor", sa.String(255), nullable=False),
    sa.Column("changed_at", columns.Micros, nullable=False),
    sa.UniqueConstraint("kind", "name", "version"),
)
"""Every change, never altered: ``put`` with the new body or ``remove`` without one."""

notice = sa.Table(
    "notice",
    metadata,
    sa.Column("topic", sa.String(64), primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
)
"""One counter per topic; other processes poll it, so a lost notification is healed."""

kept_answer = sa.Table(
    "kept_answer",
    metadata,
    sa.Column("principal", sa.String(64), primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("digest", columns.Bytes, nullable=False),
    sa.Column("request_id", sa.String(128), nullable=False),
    sa.Column("holder", columns.Id, nullable=False),
    sa.Column("begun_at", columns.Micros, nullable=False),
    sa.Column("finished_at", columns.Micros, nullable=True),
    sa.Column("status", sa.Integer, nullable=True),
    sa.Column("headers", columns.Json, nullable=True),
    sa.Column("body", columns.Bytes, nullable=True),
    sa.Column("omitted", sa.String(16), nullable=True),
    sa.Index("ix_kept_answer_begun_at", "begun_at"),
)
"""Requests with an idempotency key within a day: begun, and once finished with their answer. See ``answers``."""
