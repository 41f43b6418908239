"""The table of changes of models in the database ``control``."""

import sqlalchemy as sa

from ostinato.storage import columns

metadata = columns.metadata()

update = sa.Table(
    "model_update",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("org", sa.String(32), nullable=False),
    sa.Column("project", sa.String(32), nullable=False),
    sa.Column("alias", sa.String(255), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("body", columns.Json, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("open_slot", sa.String(600), nullable=True, unique=True),
    sa.Index(None, "project", "state"),
)
"""``open_slot`` names project and alias while the update is open: the database keeps a second one out."""
