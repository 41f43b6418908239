"""Who runs jobs, in the database ``work``; what the jobs are is kept by DBOS, in tables of its own."""

import sqlalchemy as sa

from ostinato.storage import columns

metadata = columns.metadata()

job_executor = sa.Table(
    "job_executor",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("beats", sa.BigInteger, nullable=False),
    sa.Column("begun_at", columns.Micros, nullable=False),
)
"""One row per live process; ``beats`` counts up while it lives."""
