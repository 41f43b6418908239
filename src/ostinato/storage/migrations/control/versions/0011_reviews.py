"""Review queues, their items, reservations and verdicts; answers held until somebody looked."""

import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0011_reviews"
down_revision = "0010_datasets"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "review_queue",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("org", sa.String(32), nullable=False),
        sa.Column("project", sa.String(32), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("declared", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", columns.Micros, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("changed_at", columns.Micros, nullable=False),
        sa.Column("changed_by", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_review_queue"),
        sa.UniqueConstraint("project", "name", name="uq_review_queue_project_name"),
    )
    op.create_table(
        "review_item",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("queue_id", columns.Id, nullable=False),
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
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
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
        sa.PrimaryKeyConstraint("id", name="pk_review_item"),
        sa.ForeignKeyConstraint(["queue_id"], ["review_queue.id"], name="fk_review_item_queue_id"),
        sa.UniqueConstraint("queue_id", "mark", name="uq_review_item_queue_id_mark"),
    )
    op.create_index("ix_review_item_pending", "review_item", ["pending"])
    op.create_index("ix_review_item_project_request_id", "review_item", ["project", "request_id"])
    op.create_index("ix_review_item_project_subject", "review_item", ["project", "subject"])
    op.create_index("ix_review_item_queue_id_state_priority", "review_item", ["queue_id", "state", "priority"])
    op.create_index("ix_review_item_state_due_at", "review_item", ["state", "due_at"])
    op.create_table(
        "held_answer",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("item", columns.Id, nullable=False),
        sa.Column("org", sa.String(32), nullable=False),
        sa.Column("project", sa.String(32), nullable=False),
        sa.Column("principal", sa.String(255), nullable=False),
        sa.Column("private", sa.Boolean, nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("intent", sa.String(255), nullable=False),
        sa.Column("wire", sa.String(32), nullable=False),
        sa.Column("model", sa.String(512), nullable=False),
        sa.Column("echo", sa.Text, nullable=True),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("fallback", sa.String(4000), nullable=False),
        sa.Column("default", sa.String(16), nullable=False),
        sa.Column("created_at", columns.Micros, nullable=False),
        sa.Column("deadline_at", columns.Micros, nullable=False),
        sa.Column("decided_at", columns.Micros, nullable=True),
        sa.Column("admit", sa.Text, nullable=True),
        sa.Column("format", sa.Text, nullable=True),
        sa.Column("sealed", columns.Bytes, nullable=True),
        sa.Column("open_key", sa.String(128), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_held_answer"),
        sa.ForeignKeyConstraint(["item"], ["review_item.id"], name="fk_held_answer_item"),
        sa.UniqueConstraint("open_key", name="uq_held_answer_open_key"),
    )
    op.create_index("ix_held_answer_item", "held_answer", ["item"], unique=True)
    op.create_table(
        "review_reservation",
        sa.Column("item_id", columns.Id, nullable=False),
        sa.Column("principal", sa.String(255), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("taken_at", columns.Micros, nullable=False),
        sa.Column("until", columns.Micros, nullable=False),
        sa.PrimaryKeyConstraint("item_id", "principal", name="pk_review_reservation"),
        sa.ForeignKeyConstraint(["item_id"], ["review_item.id"], name="fk_review_reservation_item_id"),
    )
    op.create_table(
        "review_verdict",
        sa.Column("item_id", columns.Id, nullable=False),
        sa.Column("principal", sa.String(255), nullable=False),
        sa.Column("decision", sa.String(16), nullable=False),
        sa.Column("values", sa.Text, nullable=False),
        sa.Column("sealed", columns.Bytes, nullable=True),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("swapped", sa.Boolean, nullable=False),
        sa.Column("at", columns.Micros, nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("item_id", "principal", name="pk_review_verdict"),
        sa.ForeignKeyConstraint(["item_id"], ["review_item.id"], name="fk_review_verdict_item_id"),
    )


def downgrade() -> None:
    op.drop_table("review_verdict")
    op.drop_table("review_reservation")
    op.drop_index("ix_held_answer_item", "held_answer")
    op.drop_table("held_answer")
    op.drop_index("ix_review_item_pending", "review_item")
    op.drop_index("ix_review_item_project_request_id", "review_item")
    op.drop_index("ix_review_item_project_subject", "review_item")
    op.drop_index("ix_review_item_queue_id_state_priority", "review_item")
    op.drop_index("ix_review_item_state_due_at", "review_item")
    op.drop_table("review_item")
    op.drop_table("review_queue")
