"""Releases' tables in the database ``control``."""

import sqlalchemy as sa

from ostinato.storage import columns

metadata = columns.metadata()

release = sa.Table(
    "release",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("org", sa.String(32), nullable=False),
    sa.Column("project", sa.String(32), nullable=False),
    sa.Column("prompt", sa.String(255), nullable=False),
    sa.Column("label", sa.String(255), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("base_number", sa.Integer, nullable=True),
    sa.Column("base_release", sa.String(32), nullable=False),
    sa.Column("plan", columns.Json, nullable=False),
    sa.Column("intent", sa.String(255), nullable=False),
    sa.Column("gates", columns.Json, nullable=False),
    sa.Column("approvals_needed", sa.Integer, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("bundle", columns.Json, nullable=False),
    sa.Column("reason", sa.String(2000), nullable=False),
    sa.Column("author", sa.String(255), nullable=False),
    sa.Column("proposed_by", sa.String(255), nullable=False),
    sa.Column("proposed_at", columns.Micros, nullable=False),
    sa.Column("request_id", columns.Id, nullable=False),
    sa.Column("salt", sa.String(32), nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("step_since", columns.Micros, nullable=True),
    sa.Column("started_at", columns.Micros, nullable=True),
    sa.Column("ended_at", columns.Micros, nullable=True),
    sa.Column("ended_why", sa.String(2000), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("open_slot", sa.String(600), nullable=True, unique=True),
    sa.Column("active_slot", sa.String(600), nullable=True, unique=True),
    sa.Index(None, "org", "project", "prompt"),
)
"""``open_slot`` and ``active_slot`` hold project, prompt and label while a release is open or active, else nothing: the
database itself keeps a second one out."""

release_evidence = sa.Table(
    "release_evidence",
    metadata,
    sa.Column("release_id", columns.Id, sa.ForeignKey("release.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("about", sa.String(64), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("passed", sa.Boolean, nullable=False),
    sa.Column("facts", columns.Json, nullable=False),
    sa.Column("principal", sa.String(255), nullable=False),
    sa.Column("actor", sa.String(255), nullable=False),
    sa.Column("at", columns.Micros, nullable=False),
)
"""Append-only; of several of one name the last counts."""

release_event = sa.Table(
    "release_event",
    metadata,
    sa.Column("release_id", columns.Id, sa.ForeignKey("release.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("action", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("actor", sa.String(255), nullable=False),
    sa.Column("at", columns.Micros, nullable=False),
    sa.Column("reason", sa.String(2000), nullable=False),
    sa.Column("facts", columns.Json, nullable=False),
    sa.Column("leaf", sa.BigInteger, nullable=True),
)
"""Everything that happened to a release, append-only; ``leaf``: its place in the audit log."""
