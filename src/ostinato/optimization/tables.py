"""Optimization's tables: runs in the database ``control``; what they found, in ``work``."""

import sqlalchemy as sa

from ostinato.storage import columns

control = columns.metadata()

run = sa.Table(
    "optimization_run",
    control,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("org", sa.String(32), nullable=False),
    sa.Column("project", sa.String(32), nullable=False),
    sa.Column("prompt", sa.String(255), nullable=False),
    sa.Column("prompt_id", columns.Id, nullable=False),
    sa.Column("label", sa.String(255), nullable=False),
    sa.Column("intent", sa.String(255), nullable=False),
    sa.Column("alias", sa.String(255), nullable=False),
    sa.Column("dataset", sa.String(255), nullable=False),
    sa.Column("dataset_number", sa.Integer, nullable=False),
    sa.Column("dataset_version", columns.Id, nullable=False),
    sa.Column("holdout_digest", sa.String(64), nullable=False),
    sa.Column("base_number", sa.Integer, nullable=False),
    sa.Column("base_digest", sa.String(64), nullable=False),
    sa.Column("assigned_number", sa.Integer, nullable=True),
    sa.Column("wish", columns.Json, nullable=False),
    sa.Column("plan", columns.Json, nullable=False),
    sa.Column("state", sa.String(20), nullable=False, index=True),
    sa.Column("phase", sa.String(20), nullable=False),
    sa.Column("why", sa.String(2000), nullable=False),
    sa.Column("wanted", sa.String(20), nullable=False),
    sa.Column("turns", sa.Integer, nullable=False),
    sa.Column("author", sa.String(255), nullable=False),
    sa.Column("started_by", sa.String(255), nullable=False),
    sa.Column("created_at", columns.Micros, nullable=False),
    sa.Column("started_at", columns.Micros, nullable=True),
    sa.Column("ended_at", columns.Micros, nullable=True),
    sa.Column("champion", sa.String(64), nullable=False),
    sa.Column("number", sa.Integer, nullable=True),
    sa.Column("release", sa.String(32), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("open_slot", sa.String(600), nullable=True, unique=True),
    sa.Index(None, "org", "project", "prompt"),
)
"""``open_slot`` holds project and prompt while a run is open, else nothing: the database keeps a second one out."""

work = columns.metadata()

candidate = sa.Table(
    "optimization_candidate",
    work,
    sa.Column("run", columns.Id, primary_key=True),
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("body", columns.Json, nullable=False),
)
"""``number``: in the order in which they were first measured."""

round_ = sa.Table(
    "optimization_round",
    work,
    sa.Column("run", columns.Id, primary_key=True),
    sa.Column("stage", sa.String(20), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("body", columns.Json, nullable=False),
)

measured = sa.Table(
    "optimization_measured",
    work,
    sa.Column("run", columns.Id, primary_key=True),
    sa.Column("stage", sa.String(20), primary_key=True),
    sa.Column("candidate", sa.String(64), primary_key=True),
    sa.Column("example", sa.String(64), primary_key=True),
    sa.Column("body", columns.Json, nullable=False),
)
"""Without outputs: those are in the journal of calls, where erasure finds them."""

decided = sa.Table(
    "optimization_decided",
    work,
    sa.Column("run", columns.Id, primary_key=True),
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("body", columns.Json, nullable=False),
    sa.Column("at", columns.Micros, nullable=False),
)
"""Written once: what a run that was killed goes on by."""
