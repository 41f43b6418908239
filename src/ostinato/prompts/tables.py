"""The room's tables in the database ``control``."""

import sqlalchemy as sa

from ostinato.storage import columns

metadata = columns.metadata()

prompt = sa.Table(
    "prompt",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("org_id", columns.Id, nullable=False),
    sa.Column("project_id", columns.Id, nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("tags", columns.Json, nullable=False),
    sa.Column("intent", sa.String(200), nullable=False),
    sa.Column("latest", sa.Integer, nullable=False),
    sa.Column("archived_at", columns.Micros, nullable=True),
    sa.Column("created_at", columns.Micros, nullable=False),
    sa.Column("created_by", sa.String(255), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("project_id", "name"),
)
"""``revision`` counts every change of the prompt, its versions and its labels: snapshots reload what it tells."""

prompt_version = sa.Table(
    "prompt_version",
    metadata,
    sa.Column("prompt_id", columns.Id, sa.ForeignKey("prompt.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("source", sa.String(16), nullable=False),
    sa.Column("author", sa.String(255), nullable=False),
    sa.Column("created_by", sa.String(255), nullable=False),
    sa.Column("created_at", columns.Micros, nullable=False),
    sa.Column("parent", sa.Integer, nullable=False),
    sa.Column("findings", columns.Json, nullable=False),
    sa.UniqueConstraint("prompt_id", "digest"),
)
"""Never altered. ``content`` is the canonical JSON itself, whose SHA-256 is ``digest``."""

prompt_reference = sa.Table(
    "prompt_reference",
    metadata,
    sa.Column("prompt_id", columns.Id, sa.ForeignKey("prompt.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("partial_id", columns.Id, sa.ForeignKey("prompt.id"), primary_key=True),
    sa.Column("partial_number", sa.Integer, nullable=False),
    sa.Index(None, "partial_id"),
)
"""Which version takes which version of a partial, directly."""

prompt_label = sa.Table(
    "prompt_label",
    metadata,
    sa.Column("project_id", columns.Id, primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("protection", columns.Json, nullable=False),
    sa.Column("immutable", sa.Boolean, nullable=False),
    sa.Column("created_at", columns.Micros, nullable=False),
    sa.Column("created_by", sa.String(255), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
)

prompt_assignment = sa.Table(
    "prompt_assignment",
    metadata,
    sa.Column("prompt_id", columns.Id, sa.ForeignKey("prompt.id"), primary_key=True),
    sa.Column("label", sa.String(64), primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("release", sa.String(64), nullable=False),
    sa.Column("canary", columns.Json, nullable=True),
    sa.Column("assigned_at", columns.Micros, nullable=False),
    sa.Column("assigned_by", sa.String(255), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
)
"""Where labels point now."""

prompt_move = sa.Table(
    "prompt_move",
    metadata,
    sa.Column("seq", columns.Serial, primary_key=True, autoincrement=True),
    sa.Column("prompt_id", columns.Id, sa.ForeignKey("prompt.id"), nullable=False),
    sa.Column("label", sa.String(64), nullable=False),
    sa.Column("from_number", sa.Integer, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("release", sa.String(64), nullable=False),
    sa.Column("canary", columns.Json, nullable=True),
    sa.Column("actor", sa.String(255), nullable=False),
    sa.Column("principal", sa.String(255), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("evidence", columns.Json, nullable=True),
    sa.Column("at", columns.Micros, nullable=False),
    sa.Index(None, "prompt_id", "seq"),
)
"""Every move of a label, never altered."""
