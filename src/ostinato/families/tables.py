"""The table of families, in the database ``traces``."""

import sqlalchemy as sa

from ostinato.storage import columns

metadata = columns.metadata()

PAST = -1
"""The ``window`` of what is over."""

family = sa.Table(
    "family",
    metadata,
    sa.Column("org", sa.Text, nullable=False),
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("family", sa.Text, primary_key=True),
    sa.Column("window", sa.BigInteger, primary_key=True),
    sa.Column("writer", sa.Text, primary_key=True),
    sa.Column("state", columns.Bytes, nullable=False),
    sa.Column("updated_at", columns.Micros, nullable=False),
    sa.Index(None, "window"),
)
"""What each process (``writer``) saw in a window, and per family one row of all windows that are over."""
