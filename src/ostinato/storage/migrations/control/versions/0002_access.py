"""Organizations, projects, API keys, and the leases of money budgets."""

import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0002_access"
down_revision = "0001_storage"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "organization",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("created_at", columns.Micros, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_organization"),
        sa.UniqueConstraint("key", name="uq_organization_key"),
    )
    op.create_table(
        "project",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("org_id", columns.Id, nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("store_text", sa.Boolean, nullable=False),
        sa.Column("budget", sa.Text, nullable=True),
        sa.Column("created_at", columns.Micros, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_project"),
        sa.ForeignKeyConstraint(["org_id"], ["organization.id"], name="fk_project_org_id"),
        sa.UniqueConstraint("org_id", "key", name="uq_project_org_id_key"),
    )
    op.create_table(
        "api_key",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("org_id", columns.Id, nullable=False),
        sa.Column("project_id", columns.Id, nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("prefix", sa.String(16), nullable=False),
        sa.Column("secret_sha256", columns.Bytes, nullable=False),
        sa.Column("permissions", sa.Text, nullable=False),
        sa.Column("allowed_models", sa.Text, nullable=True),
        sa.Column("end_user_required", sa.Boolean, nullable=False),
        sa.Column("may_act_for_users", sa.Boolean, nullable=False),
        sa.Column("rate", sa.Text, nullable=True),
        sa.Column("budget", sa.Text, nullable=True),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("bound_by", sa.Text, nullable=False),
        sa.Column("created_at", columns.Micros, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("expires_at", columns.Micros, nullable=True),
        sa.Column("revoked_at", columns.Micros, nullable=True),
        sa.Column("rotated_from", columns.Id, nullable=True),
        sa.Column("rotated_to", columns.Id, nullable=True),
        sa.Column("last_used_at", columns.Micros, nullable=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_api_key"),
        sa.ForeignKeyConstraint(["org_id"], ["organization.id"], name="fk_api_key_org_id"),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_api_key_project_id"),
        sa.UniqueConstraint("secret_sha256", name="uq_api_key_secret_sha256"),
    )
    op.create_index("ix_api_key_project_id", "api_key", ["project_id"])
    op.create_index("ix_api_key_prefix", "api_key", ["prefix"])
    op.create_table(
        "budget_period",
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("period", sa.String(16), nullable=False),
        sa.Column("leased", columns.Nano, nullable=False),
        sa.Column("updated_at", columns.Micros, nullable=False),
        sa.PrimaryKeyConstraint("account", "period", name="pk_budget_period"),
    )
    op.create_table(
        "budget_lease",
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("period", sa.String(16), nullable=False),
        sa.Column("holder", columns.Id, nullable=False),
        sa.Column("granted", columns.Nano, nullable=False),
        sa.Column("spent", columns.Nano, nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("updated_at", columns.Micros, nullable=False),
        sa.PrimaryKeyConstraint("account", "period", "holder", name="pk_budget_lease"),
    )


def downgrade() -> None:
    op.drop_table("budget_lease")
    op.drop_table("budget_period")
    op.drop_index("ix_api_key_prefix", "api_key")
    op.drop_index("ix_api_key_project_id", "api_key")
    op.drop_table("api_key")
    op.drop_table("project")
    op.drop_table("organization")
