"""The table of signals, in the database ``traces``."""

import sqlalchemy as sa

from ostinato.storage import columns

metadata = columns.metadata()


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


signal = sa.Table(
    "signal",
    metadata,
    sa.Column("seq", columns.Serial, primary_key=True, autoincrement=True),
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
    sa.UniqueConstraint("id"),
    sa.Index(None, "request_id"),
    sa.Index(None, "project", "at"),
    sa.Index(None, "release", "at"),
)
"""Columns after ``seq`` are the fields of ``Signal``, in order."""
