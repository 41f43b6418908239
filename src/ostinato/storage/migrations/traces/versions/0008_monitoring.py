"""What detectors remember."""

import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0008_monitoring"
down_revision = "0007_triage"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def upgrade() -> None:
    op.create_table(
        "detector_cursor",
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_detector_cursor"),
    )
    op.create_table(
        "detector_lease",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("beats", sa.BigInteger, nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_detector_lease"),
    )
    op.create_table(
        "detector_state",
        sa.Column("key", sa.String(64), nullable=False),
        _text("detector"),
        _text("kind"),
        sa.Column("version", sa.Integer, nullable=False),
        _text("org"),
        _text("project"),
        _text("intent"),
        _text("release"),
        _text("prompt"),
        _text("part"),
        sa.Column("body", columns.Bytes, nullable=False),
        sa.Column("last", columns.Micros, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_detector_state"),
    )
    op.create_index("ix_detector_state_project_intent", "detector_state", ["project", "intent"])
    op.create_table(
        "detector_alarm",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("at", columns.Micros, nullable=False),
        sa.Column("org", sa.String(32), nullable=False),
        sa.Column("project", sa.String(32), nullable=False),
        sa.Column("body", columns.Json, nullable=False),
        sa.Column("handed", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_detector_alarm"),
    )
    op.create_index("ix_detector_alarm_handed_id", "detector_alarm", ["handed", "id"])
    op.create_index("ix_detector_alarm_project_id", "detector_alarm", ["project", "id"])
    op.create_table(
        "detector_vector",
        sa.Column("state_key", sa.String(64), nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("at", columns.Micros, nullable=False),
        sa.Column("user_digest", sa.Text, nullable=False),
        sa.Column("past", sa.Boolean, nullable=False),
        sa.Column("embedder", sa.Text, nullable=False),
        sa.Column("vector", columns.Bytes, nullable=False),
        sa.PrimaryKeyConstraint("state_key", "request_id", name="pk_detector_vector"),
    )
    op.create_index("ix_detector_vector_user_digest", "detector_vector", ["user_digest"])


def downgrade() -> None:
    op.drop_index("ix_detector_vector_user_digest", "detector_vector")
    op.drop_table("detector_vector")
    op.drop_index("ix_detector_alarm_project_id", "detector_alarm")
    op.drop_index("ix_detector_alarm_handed_id", "detector_alarm")
    op.drop_table("detector_alarm")
    op.drop_index("ix_detector_state_project_intent", "detector_state")
    for name in ("detector_state", "detector_lease", "detector_cursor"):
        op.drop_table(name)
