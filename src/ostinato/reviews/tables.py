"""Reviews' tables in the database ``control``. Texts are sealed, apart from what is counted and sorted by."""

import sqlalchemy as sa

from ostinato.storage import columns

metadata = columns.metadata()

queue = sa.Table(
    "review_queue",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("org", sa.String(32), nullable=False),
    sa.Column("project", sa.String(32), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("declared", columns.Json, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("created_at", columns.Micros, nullable=False),
    sa.Column("created_by", sa.String(255), nullable=False),
    sa.Column("changed_at", columns.Micros, nullable=False),
    sa.Column("changed_by", sa.String(255), nullable=False),
    sa.UniqueConstraint("project", "name"),
)

item = sa.Table(
    "review_item",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("queue_id", columns.Id, sa.ForeignKey("review_queue.id"), nullable=False),
    sa.Column("queue", sa.String(64), nullable=False),
    sa.Column("org", sa.String(32), nullable=False),
    sa.Column("project", sa.String(32), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("mark", sa.String(64), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("origin", sa.String(16), nullable=False),
    sa.Column("origin_ref", sa.String(255), nullable=False),
    sa.Column("request_id", sa.String(64), nullable=False),
    sa.Column("entry", sa.String(64), nullable=False),
    sa.Column("prompt", sa.String(255), nullable=False),
    sa.Column("prompt_version", sa.Integer, nullable=False),
    sa.Column("intent", sa.String(255), nullable=False),
    sa.Column("stratum", sa.String(255), nullable=False),
    sa.Column("group", sa.String(255), nullable=False),
    sa.Column("author", sa.String(255), nullable=False),
    sa.Column("subject", sa.String(255), nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("weight", sa.Float, nullable=False),
    sa.Column("why", columns.Json, nullable=False),
    sa.Column("evidence", columns.Json, nullable=False),
    sa.Column("needed", sa.Integer, nullable=False),
    sa.Column("given", sa.Integer, nullable=False),
    sa.Column("escalated", sa.Boolean, nullable=False),
    sa.Column("erased", sa.Boolean, nullable=False),
    sa.Column("created_at", columns.Micros, nullable=False),
    sa.Column("due_at", columns.Micros, nullable=True),
    sa.Column("done_at", columns.Micros, nullable=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("pending", sa.String(16), nullable=False),
    sa.Column("sealed", columns.Bytes, nullable=True),
    sa.UniqueConstraint("queue_id", "mark"),
    sa.Index(None, "queue_id", "state", "priority"),
    sa.Index(None, "state", "due_at"),
    sa.Index(None, "project", "request_id"),
    sa.Index(None, "project", "subject"),
    sa.Index(None, "pending"),
    sa.Index(None, "erased", "done_at"),
)
"""``sealed``: a ``Content``, encrypted; ``None``: erased."""

reservation = sa.Table(
    "review_reservation",
    metadata,
    sa.Column("item_id", columns.Id, sa.ForeignKey("review_item.id"), primary_key=True),
    sa.Column("principal", sa.String(255), primary_key=True),
    sa.Column("actor", sa.String(255), nullable=False),
    sa.Column("taken_at", columns.Micros, nullable=False),
    sa.Column("until", columns.Micros, nullable=False),
)
"""Who has an item in hand. A row whose time is over keeps nobody out. ``until`` 0: handed back; ``taken_at`` is
then how long it was in hand."""

verdict = sa.Table(
    "review_verdict",
    metadata,
    sa.Column("item_id", columns.Id, sa.ForeignKey("review_item.id"), primary_key=True),
    sa.Column("principal", sa.String(255), primary_key=True),
    sa.Column("decision", sa.String(16), nullable=False),
    sa.Column("values", columns.Json, nullable=False),
    sa.Column("sealed", columns.Bytes, nullable=True),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("swapped", sa.Boolean, nullable=False),
    sa.Column("at", columns.Micros, nullable=False),
    sa.Column("actor", sa.String(255), nullable=False),
    sa.Index(None, "at"),
)
"""The key keeps a principal from deciding an item twice. ``sealed``: comment, edited text and free texts."""

held = sa.Table(
    "held_answer",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("item", columns.Id, sa.ForeignKey("review_item.id"), nullable=False),
    sa.Column("org", sa.String(32), nullable=False),
    sa.Column("project", sa.String(32), nullable=False),
    sa.Column("principal", sa.String(255), nullable=False),
    sa.Column("private", sa.Boolean, nullable=False),
    sa.Column("request_id", sa.String(64), nullable=False),
    sa.Column("intent", sa.String(255), nullable=False),
    sa.Column("wire", sa.String(32), nullable=False),
    sa.Column("model", sa.String(512), nullable=False),
    sa.Column("echo", columns.Json, nullable=True),
    sa.Column("key", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("fallback", sa.String(4000), nullable=False),
    sa.Column("default", sa.String(16), nullable=False),
    sa.Column("created_at", columns.Micros, nullable=False),
    sa.Column("deadline_at", columns.Micros, nullable=False),
    sa.Column("decided_at", columns.Micros, nullable=True),
    sa.Column("admit", columns.Json, nullable=True),
    sa.Column("format", columns.Json, nullable=True),
    sa.Column("sealed", columns.Bytes, nullable=True),
    sa.Column("open_key", sa.String(128), nullable=True, unique=True),
    sa.Index(None, "item", unique=True),
)
"""``open_key`` holds project and key while it waits, else nothing: the database itself keeps a second one out.
``sealed``: the answer as it may be handed out, encrypted."""
