"""The hold-out: what it must remember beside the rows of calls. And what budgets of intents touched."""

import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0006_savings"
down_revision = "0005_kpis"
branch_labels = None
depends_on = None


def upgrade() -> None:
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
    op.create_table(
        "holdout_rule",
        sa.Column("seq", columns.Serial, autoincrement=True),
        sa.Column("at", columns.Micros, nullable=False),
        sa.Column("share", sa.Float, nullable=False),
        sa.Column("refusing", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_holdout_rule"),
    )
    op.create_index("ix_holdout_rule_at", "holdout_rule", ["at"])
    op.create_table(
        "budget_touch",
        sa.Column("seq", columns.Serial, autoincrement=True),
        sa.Column("hour", columns.Micros, nullable=False),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("intent", sa.Text, nullable=False),
        sa.Column("effect", sa.Text, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_budget_touch"),
    )
    op.create_index("ix_budget_touch_project_hour", "budget_touch", ["project", "hour"])


def downgrade() -> None:
    for name in ("budget_touch", "holdout_rule", "holdout_absence"):
        op.drop_table(name)
