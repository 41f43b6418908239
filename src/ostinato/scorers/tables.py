"""Scorers' tables in the database ``control``."""

import sqlalchemy as sa

from ostinato.storage import columns

metadata = columns.metadata()

scorer = sa.Table(
    "scorer",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("org", sa.String(32), nullable=False),
    sa.Column("project", sa.String(32), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("version", sa.String(8), nullable=False),
    sa.Column("spec", columns.Json, nullable=False),
    sa.Column("note", sa.String(2000), nullable=False),
    sa.Column("created_at", columns.Micros, nullable=False),
    sa.Column("created_by", sa.String(255), nullable=False),
    sa.Column("standing", sa.Boolean, nullable=False),
    sa.UniqueConstraint("project", "name", "number"),
)
"""A row for each version, never changed but for ``standing``: of one name at most one stands, and none where it was
removed. Scores of old versions can so always be explained."""

sampling = sa.Table(
    "sampling",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("org", sa.String(32), nullable=False),
    sa.Column("project", sa.String(32), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("intent", sa.String(255), nullable=False),
    sa.Column("prompt", sa.String(255), nullable=False),
    sa.Column("share", sa.Float, nullable=False),
    sa.Column("scorers", columns.Json, nullable=False),
    sa.Column("quarantine", sa.Float, nullable=True),
    sa.Column("review", sa.String(255), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("created_at", columns.Micros, nullable=False),
    sa.Column("created_by", sa.String(255), nullable=False),
    sa.UniqueConstraint("project", "name"),
)
"""Which share of the traffic is scored, and by what."""

calibration = sa.Table(
    "scorer_calibration",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("org", sa.String(32), nullable=False),
    sa.Column("project", sa.String(32), nullable=False),
    sa.Column("scorer", sa.String(64), nullable=False),
    sa.Column("version", sa.String(8), nullable=False),
    sa.Column("dataset", sa.String(255), nullable=False),
    sa.Column("dataset_version", columns.Id, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("cost", columns.Nano, nullable=False),
    sa.Column("result", columns.Json, nullable=False),
    sa.Column("at", columns.Micros, nullable=False),
    sa.Column("by", sa.String(255), nullable=False),
    sa.Column("queue", sa.String(255), nullable=False),
    sa.Index(None, "project", "scorer"),
)
"""How versions of judges agreed with people; append-only."""
