"""The audit log's tables in the database ``control``. Leaves and nodes are only ever added."""

import sqlalchemy as sa

from ostinato.storage import columns

metadata = columns.metadata()

head = sa.Table(
    "audit_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("origin", sa.String(64), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("frontier", columns.Bytes, nullable=False),
)
"""One row, made by the migration: who appends holds it locked until the end of the transaction, so leaves are numbered
without gaps. ``frontier``: the roots of the complete subtrees that cover all leaves, largest first, 32 bytes each."""

leaf = sa.Table(
    "audit_leaf",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", columns.Micros, nullable=False),
    sa.Column("actor", sa.String(255), nullable=False),
    sa.Column("principal", sa.String(255), nullable=False),
    sa.Column("action", sa.String(64), nullable=False),
    sa.Column("resource", sa.String(512), nullable=False),
    sa.Column("org", sa.String(64), nullable=False),
    sa.Column("project", sa.String(64), nullable=False),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("request_id", sa.String(128), nullable=False),
    sa.Column("subject", sa.String(255), nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("hash", columns.Bytes, nullable=False),
    sa.Index(None, "resource"),
    sa.Index(None, "request_id"),
    sa.Index(None, "at"),
)
"""``seq`` is the leaf's index; ``body`` is what is hashed, byte for byte; the columns before it are for looking.
``subject`` and ``generation`` name the key of its commitments."""

node = sa.Table(
    "audit_node",
    metadata,
    sa.Column("place", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hash", columns.Bytes, nullable=False),
)
"""Roots of complete subtrees of two leaves and more, by their place in the order of the tree (see ``tree.place``)."""

text = sa.Table(
    "audit_text",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("subject", sa.String(255), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Index(None, "subject"),
)
"""Reasons in clear, beside the tree: can be erased without touching a leaf."""

subject_key = sa.Table(
    "audit_subject_key",
    metadata,
    sa.Column("subject", sa.String(255), primary_key=True),
    sa.Column("generation", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("wrapped", columns.Bytes, nullable=True),
    sa.Column("created_at", columns.Micros, nullable=False),
    sa.Column("destroyed_at", columns.Micros, nullable=True),
)
"""The key of a subject's commitments, wrapped with the master key; without it nobody can tell what was committed to."""

signer = sa.Table(
    "audit_signer",
    metadata,
    sa.Column("verifier", sa.String(255), primary_key=True),
    sa.Column("wrapped", columns.Bytes, nullable=True),
    sa.Column("created_at", columns.Micros, nullable=False),
)
"""Every key that has signed checkpoints, as a C2SP verifier key; ``wrapped``: the private one, where processes on
several machines share it."""

checkpoint = sa.Table(
    "audit_checkpoint",
    metadata,
    sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", columns.Micros, nullable=False),
    sa.Column("root", columns.Bytes, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
)
"""Signed statements: a log of ``size`` leaves has this root."""

receipt = sa.Table(
    "audit_receipt",
    metadata,
    sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("anchor", sa.String(255), primary_key=True),
    sa.Column("at", columns.Micros, nullable=False),
    sa.Column("receipt", columns.Json, nullable=False),
)
"""What an anchor said when it took a checkpoint."""

witnessed = sa.Table(
    "audit_witnessed",
    metadata,
    sa.Column("origin", sa.String(255), primary_key=True),
    sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("root", columns.Bytes, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("at", columns.Micros, nullable=False),
    sa.Column("actor", sa.String(255), nullable=False),
)
"""Checkpoints of other installations that were left here."""

effect = sa.Table(
    "audit_effect",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("intent", sa.BigInteger, nullable=False),
    sa.Column("deed", columns.Json, nullable=False),
    sa.Column("payload", columns.Json, nullable=False),
    sa.Column("begun_at", columns.Micros, nullable=False),
)
"""Effects outside ``control`` that were intended and whose outcome is not written down yet."""
