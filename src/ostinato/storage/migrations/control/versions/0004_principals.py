"""People, service principals, role bindings and break-glass.

A key that had every permission there was is an owner's, and an owner has every permission: it gets the new ones. All
other keys keep what they were given.
"""

import json

import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0004_principals"
down_revision = "0003_audit"
branch_labels = None
depends_on = None


BEFORE = [
    "chat:call", "organizations:read", "organizations:write", "projects:read", "projects:write", "keys:read",
    "keys:write", "targets:read", "targets:write", "prices:read", "prices:write", "policies:read",
    "policies:write", "cache:read", "cache:write", "traces:read", "traces:text", "stats:read", "metrics:read",
]  # fmt: skip
ADDED = [
    "principals:read", "principals:write", "roles:read", "roles:write", "breakglass:use", "intents:read",
    "intents:write", "prompts:read", "prompts:write", "prompts:call", "labels:write", "labels:move",
    "releases:read", "releases:propose", "releases:approve", "releases:operate", "audit:read", "audit:export",
    "explain:read", "audit:witness",
]  # fmt: skip


def upgrade() -> None:
    _give_owners(BEFORE, BEFORE + ADDED)
    op.add_column("api_key", sa.Column("principal", columns.Id, nullable=True))
    op.add_column("api_key", sa.Column("allowed_intents", sa.Text, nullable=True))
    op.create_table(
        "principal",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("org_id", columns.Id, nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("governed", sa.Boolean, nullable=False),
        sa.Column("disabled_at", columns.Micros, nullable=True),
        sa.Column("created_at", columns.Micros, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_principal"),
        sa.ForeignKeyConstraint(["org_id"], ["organization.id"], name="fk_principal_org_id"),
        sa.UniqueConstraint("org_id", "key", name="uq_principal_org_id_key"),
    )
    op.create_table(
        "role_binding",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("org_id", columns.Id, nullable=False),
        sa.Column("principal_id", columns.Id, nullable=False),
        sa.Column("effect", sa.String(8), nullable=False),
        sa.Column("role", sa.String(64), nullable=False),
        sa.Column("permissions", sa.Text, nullable=False),
        sa.Column("on_project", sa.String(32), nullable=False),
        sa.Column("on_label", sa.String(200), nullable=False),
        sa.Column("on_intent", sa.String(200), nullable=False),
        sa.Column("on_prompt", sa.String(200), nullable=False),
        sa.Column("expires_at", columns.Micros, nullable=True),
        sa.Column("created_at", columns.Micros, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_role_binding"),
        sa.ForeignKeyConstraint(["principal_id"], ["principal.id"], name="fk_role_binding_principal_id"),
    )
    op.create_index("ix_role_binding_principal_id", "role_binding", ["principal_id"])
    op.create_table(
        "breakglass",
        sa.Column("id", columns.Id, nullable=False),
        sa.Column("org_id", columns.Id, nullable=False),
        sa.Column("key_id", columns.Id, nullable=False),
        sa.Column("key_prefix", sa.String(16), nullable=False),
        sa.Column("principal", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("began_at", columns.Micros, nullable=False),
        sa.Column("ends_at", columns.Micros, nullable=False),
        sa.Column("ended_at", columns.Micros, nullable=True),
        sa.Column("ended_by", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_breakglass"),
    )
    op.create_index("ix_breakglass_ends_at", "breakglass", ["ends_at"])


def downgrade() -> None:
    _give_owners(BEFORE + ADDED, BEFORE)
    op.drop_index("ix_breakglass_ends_at", "breakglass")
    op.drop_table("breakglass")
    op.drop_index("ix_role_binding_principal_id", "role_binding")
    op.drop_table("role_binding")
    op.drop_table("principal")
    op.drop_column("api_key", "allowed_intents")
    op.drop_column("api_key", "principal")


def _give_owners(has: list[str], gets: list[str]) -> None:
    """Keys with exactly these permissions get those. The column holds sorted JSON without spaces."""
    texts = [json.dumps(sorted(names), separators=(",", ":")) for names in (gets, has)]
    statement = sa.text("UPDATE api_key SET permissions = :gets WHERE permissions = :has")
    op.execute(statement.bindparams(gets=texts[0], has=texts[1]))
