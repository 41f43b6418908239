"""Datasets' tables in the database ``control``."""

import sqlalchemy as sa

from ostinato.storage import columns

metadata = columns.metadata()

dataset = sa.Table(
    "dataset",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("org", sa.String(32), nullable=False),
    sa.Column("project", sa.String(32), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("description", sa.String(2000), nullable=False),
    sa.Column("shares", columns.Json, nullable=False),
    sa.Column("latest", sa.Integer, nullable=False),
    sa.Column("counted", sa.Integer, nullable=False),
    sa.Column("created_at", columns.Micros, nullable=False),
    sa.Column("created_by", sa.String(255), nullable=False),
    sa.UniqueConstraint("project", "name"),
)
"""``latest``: newest sealed version; ``counted``: highest number ever given, so that none is given twice."""

dataset_version = sa.Table(
    "dataset_version",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("dataset_id", columns.Id, sa.ForeignKey("dataset.id"), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("open", sa.Boolean, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("holdout_digest", sa.String(64), nullable=False, index=True),
    sa.Column("counts", columns.Json, nullable=False),
    sa.Column("strata", columns.Json, nullable=False),
    sa.Column("dropped", columns.Json, nullable=False),
    sa.Column("findings", columns.Json, nullable=False),
    sa.Column("origin", columns.Json, nullable=False),
    sa.Column("note", sa.String(2000), nullable=False),
    sa.Column("created_at", columns.Micros, nullable=False),
    sa.Column("created_by", sa.String(255), nullable=False),
    sa.Column("used_at", columns.Micros, nullable=True),
    sa.UniqueConstraint("dataset_id", "number"),
)

example = sa.Table(
    "example",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("dataset_id", columns.Id, sa.ForeignKey("dataset.id"), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("inputs_key", sa.String(64), nullable=False),
    sa.Column("answer_key", sa.String(64), nullable=False),
    sa.Column("stratum", sa.String(255), nullable=False),
    sa.Column("subject", sa.String(255), nullable=False),
    sa.Column("source", sa.String(255), nullable=False),
    sa.Column("body", columns.Json, nullable=True),
    sa.Column("created_at", columns.Micros, nullable=False),
    sa.Column("erased_at", columns.Micros, nullable=True),
    sa.UniqueConstraint("dataset_id", "digest"),
    sa.Index(None, "dataset_id", "inputs_key"),
    sa.Index(None, "dataset_id", "subject"),
    sa.Index(None, "digest"),
)
"""Written once and shared by versions, so an example has one id in all of them; erased: ``body`` is gone."""

dataset_member = sa.Table(
    "dataset_member",
    metadata,
    sa.Column("version_id", columns.Id, sa.ForeignKey("dataset_version.id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("example_id", columns.Id, sa.ForeignKey("example.id"), nullable=False, index=True),
    sa.Column("split", sa.String(16), nullable=False),
    sa.UniqueConstraint("version_id", "example_id"),
)

holdout_look = sa.Table(
    "holdout_look",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("project", sa.String(32), nullable=False),
    sa.Column("version_id", columns.Id, sa.ForeignKey("dataset_version.id"), nullable=False),
    sa.Column("holdout_digest", sa.String(64), nullable=False),
    sa.Column("prompt", sa.String(255), nullable=False),
    sa.Column("run", sa.String(255), nullable=False),
    sa.Column("alpha", sa.Float, nullable=False),
    sa.Column("spent", sa.Float, nullable=False),
    sa.Column("examples", sa.Integer, nullable=False),
    sa.Column("at", columns.Micros, nullable=False),
    sa.Column("actor", sa.String(255), nullable=False),
    sa.UniqueConstraint("version_id", "prompt", "run"),
    sa.Index(None, "project", "prompt"),
)
"""Append-only: every opening of a sealed part, and what it cost."""
