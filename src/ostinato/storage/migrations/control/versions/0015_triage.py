"""Decisions of triage, and the inventory."""

import sqlalchemy as sa
from alembic import op

revision = "0015_triage"
down_revision = "0014_governing"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "triage_decision",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("org", sa.String(32), nullable=False),
        sa.Column("project", sa.String(32), nullable=False),
        sa.Column("family", sa.String(255), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("choice", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reasons", sa.Text, nullable=False),
        sa.Column("saving", sa.Text, nullable=False),
        sa.Column("wrong", sa.Text, nullable=False),
        sa.Column("risk", sa.Float, nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("figures", sa.Text, nullable=False),
        sa.Column("worth", sa.Text, nullable=False),
        sa.Column("stakes", sa.String(16), nullable=False),
        sa.Column("intent", sa.String(255), nullable=False),
        sa.Column("prompt", sa.String(255), nullable=False),
        sa.Column("automatic", sa.Boolean, nullable=False),
        sa.Column("decided_at", sa.BigInteger, nullable=False),
        sa.Column("closed_at", sa.BigInteger, nullable=True),
        sa.Column("closed_by", sa.String(255), nullable=False),
        sa.Column("comment", sa.String(2000), nullable=False),
        sa.Column("effects", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.UniqueConstraint("project", "family", "number", name="uq_triage_decision_project_family_number"),
        sa.PrimaryKeyConstraint("id", name="pk_triage_decision"),
    )
    op.create_table(
        "triage_inventory",
        sa.Column("org", sa.String(32), nullable=False),
        sa.Column("project", sa.String(32), nullable=False),
        sa.Column("prompt", sa.String(255), nullable=False),
        sa.Column("intent", sa.String(255), nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("findings", sa.Text, nullable=False),
        sa.Column("reasons", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("asked_at", sa.BigInteger, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("attested_at", sa.BigInteger, nullable=True),
        sa.Column("attested_by", sa.String(255), nullable=False),
        sa.Column("comment", sa.String(2000), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("project", "prompt", name="pk_triage_inventory"),
    )
    op.create_table(
        "triage_round",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_triage_round"),
    )


def downgrade() -> None:
    op.drop_table("triage_round")
    op.drop_table("triage_inventory")
    op.drop_table("triage_decision")
