"""What is looked for again and again, over all projects: what waits, when people judged, whose texts are old."""

from alembic import op

revision = "0024_sweeps"
down_revision = "0023_case_keys"
branch_labels = None
depends_on = None

_INDEXES = (
    ("ix_triage_decision_state_project", "triage_decision", ("state", "project")),
    ("ix_review_verdict_at", "review_verdict", ("at",)),
    ("ix_review_item_erased_done_at", "review_item", ("erased", "done_at")),
)


def upgrade() -> None:
    for name, table, columns in _INDEXES:
        op.create_index(name, table, columns)


def downgrade() -> None:
    for name, table, _ in _INDEXES:
        op.drop_index(name, table)
