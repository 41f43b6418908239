"""Experiments in the database ``control``, their cells in the database ``work``."""

import sqlalchemy as sa

from ostinato.storage import columns

metadata = columns.metadata()
work_metadata = columns.metadata()

experiment = sa.Table(
    "experiment",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("org", sa.String(32), nullable=False),
    sa.Column("project", sa.String(32), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("dataset", sa.String(255), nullable=False),
    sa.Column("version_id", columns.Id, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("body", columns.Json, nullable=False),
    sa.Column("variants", columns.Json, nullable=False),
    sa.Column("created_at", columns.Micros, nullable=False),
    sa.Index("ix_experiment_project", "project", "id"),
    sa.Index("ix_experiment_state", "state"),
)
"""``body``: the whole ``Experiment``; ``variants``: what is asked, with its texts."""

cell = sa.Table(
    "cell",
    work_metadata,
    sa.Column("experiment", columns.Id, primary_key=True),
    sa.Column("variant", sa.Integer, primary_key=True),
    sa.Column("example", sa.String(64), primary_key=True),
    sa.Column("body", columns.Bytes, nullable=False),
    sa.Index("ix_cell_example", "example"),
)
"""``variant``: its place in the experiment; ``body``: the ``Cell``, in MessagePack."""
