"""The hold-out as sums, requests that ask for no answer apart from those that do, and answers cut short.

Who took no part in the hold-out is known where rows are written, and need not be stored any more. What was held out
before this revision is not added up again: rows of hits do not say whether they took part.
"""

import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0010_trial"
down_revision = "0009_answered_by"
branch_labels = None
depends_on = None

_ABOUT = ("intent", "prompt", "release", "arm", "stratum", "side")
_SUMS = ("requests", "cost", "saved", "errors", "unpriced")
_NEW = ("asides", "short")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def upgrade() -> None:
    keys = ("org", "project", "grain", "bucket", "writer", *_ABOUT)
    op.create_table(
        "trial",
        _text("org"),
        _text("project"),
        sa.Column("grain", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("bucket", columns.Micros, autoincrement=False, nullable=False),
        sa.Column("writer", columns.Id, nullable=False),
        *map(_text, _ABOUT),
        *map(_count, _SUMS),
        sa.Column("detail", columns.Bytes, nullable=False),
        sa.PrimaryKeyConstraint(*keys, name="pk_trial"),
    )
    op.create_index("ix_trial_grain_bucket_writer", "trial", ["grain", "bucket", "writer"])
    op.drop_index("ix_holdout_absence_until", "holdout_absence")
    op.drop_index("ix_holdout_absence_what_since", "holdout_absence")
    op.drop_table("holdout_absence")
    op.drop_column("holdout_rule", "refusing")
    for table in ("rollup", "traffic"):
        for name in _NEW:
            # With a default, both engines add a column without touching the rows, however many there are.
            op.add_column(table, sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))


def downgrade() -> None:
    for table in ("rollup", "traffic"):
        for name in _NEW:
            op.drop_column(table, name)
    op.add_column("holdout_rule", sa.Column("refusing", sa.Text, nullable=False, server_default="[]"))
    op.create_table(
        "holdout_absence",
        sa.Column("seq", columns.Serial, autoincrement=True),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("since", columns.Micros, nullable=False),
        sa.Column("until", columns.Micros, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_holdout_absence"),
    )
    op.create_index("ix_holdout_absence_what_since", "holdout_absence", ["what", "since"])
    op.create_index("ix_holdout_absence_until", "holdout_absence", ["until"])
    op.drop_index("ix_trial_grain_bucket_writer", "trial")
    op.drop_table("trial")
