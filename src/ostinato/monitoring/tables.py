"""Detectors' tables: declarations in ``control``; what they remember, and alarms not yet handed on, in ``traces``."""

import sqlalchemy as sa

from ostinato.storage import columns

governed = columns.metadata()
"""In ``control``."""
machine = columns.metadata()
"""In ``traces``."""


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


detector = sa.Table(
    "detector",
    governed,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("org", sa.String(32), nullable=False),
    sa.Column("project", sa.String(32), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("declared", columns.Json, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("created_at", columns.Micros, nullable=False),
    sa.Column("created_by", sa.String(255), nullable=False),
    sa.UniqueConstraint("project", "name"),
)

cursor = sa.Table(
    "detector_cursor",
    machine,
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
)
"""How far ``call``, ``signal`` and ``rollup`` were read; and which night each nightly detector asked last."""

lease = sa.Table(
    "detector_lease",
    machine,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("beats", sa.BigInteger, nullable=False),
    sa.Column("fence", sa.BigInteger, nullable=False),
)
"""One row: who watches. ``fence`` counts up with every change of hands; who holds an old one writes nothing."""

state = sa.Table(
    "detector_state",
    machine,
    sa.Column("key", sa.String(64), primary_key=True),
    _text("detector"),
    _text("kind"),
    sa.Column("version", sa.Integer, nullable=False),
    _text("org"),
    _text("project"),
    _text("intent"),
    _text("release"),
    _text("prompt"),
    _text("part"),
    sa.Column("body", columns.Bytes, nullable=False),
    sa.Column("last", columns.Micros, nullable=False),
    sa.Index(None, "project", "intent"),
)
"""``key``: digest of all that comes before ``body``. ``body``: the state, as its kind writes it (msgpack)."""

alarm = sa.Table(
    "detector_alarm",
    machine,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("at", columns.Micros, nullable=False),
    sa.Column("org", sa.String(32), nullable=False),
    sa.Column("project", sa.String(32), nullable=False),
    sa.Column("body", columns.Json, nullable=False),
    sa.Column("handed", sa.Boolean, nullable=False),
    sa.Index(None, "handed", "id"),
    sa.Index(None, "project", "id"),
)
"""Written with the state that it comes from; handed on afterwards, at least once."""

vector = sa.Table(
    "detector_vector",
    machine,
    sa.Column("state_key", sa.String(64), primary_key=True),
    sa.Column("request_id", sa.String(64), primary_key=True),
    sa.Column("at", columns.Micros, nullable=False),
    sa.Column("user_digest", sa.Text, nullable=False),
    sa.Column("past", sa.Boolean, nullable=False),
    sa.Column("embedder", sa.Text, nullable=False),
    sa.Column("vector", columns.Bytes, nullable=False),
    sa.Index(None, "user_digest"),
)
"""A sample of questions as float16; ``past``: what the others are compared with."""
