"""Access's tables in the database ``control``: who there is, which keys, and what has been spent."""

import sqlalchemy as sa

from ostinato.storage import columns

metadata = columns.metadata()

organization = sa.Table(
    "organization",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("key", sa.String(64), nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("created_at", columns.Micros, nullable=False),
    sa.Column("created_by", sa.String(255), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.UniqueConstraint("key"),
)

project = sa.Table(
    "project",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("org_id", columns.Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("key", sa.String(64), nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("store_text", sa.Boolean, nullable=False),
    sa.Column("budget", columns.Json, nullable=True),
    sa.Column("created_at", columns.Micros, nullable=False),
    sa.Column("created_by", sa.String(255), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.UniqueConstraint("org_id", "key"),
)

api_key = sa.Table(
    "api_key",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("org_id", columns.Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("project_id", columns.Id, sa.ForeignKey("project.id"), nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("prefix", sa.String(16), nullable=False),
    sa.Column("secret_sha256", columns.Bytes, nullable=False),
    sa.Column("permissions", columns.Json, nullable=False),
    sa.Column("allowed_models", columns.Json, nullable=True),
    sa.Column("end_user_required", sa.Boolean, nullable=False),
    sa.Column("may_act_for_users", sa.Boolean, nullable=False),
    sa.Column("rate", columns.Json, nullable=True),
    sa.Column("budget", columns.Json, nullable=True),
    sa.Column("account", sa.String(64), nullable=False),
    sa.Column("bound_by", columns.Json, nullable=False),
    sa.Column("created_at", columns.Micros, nullable=False),
    sa.Column("created_by", sa.String(255), nullable=False),
    sa.Column("expires_at", columns.Micros, nullable=True),
    sa.Column("revoked_at", columns.Micros, nullable=True),
    sa.Column("rotated_from", columns.Id, nullable=True),
    sa.Column("rotated_to", columns.Id, nullable=True),
    sa.Column("last_used_at", columns.Micros, nullable=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("principal", columns.Id, nullable=True),
    sa.Column("allowed_intents", columns.Json, nullable=True),
    sa.UniqueConstraint("secret_sha256"),
    sa.Index(None, "project_id"),
    sa.Index(None, "prefix"),
)
"""Never the secret: its SHA-256 is enough, because the secret carries 256 random bits."""

principal = sa.Table(
    "principal",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("org_id", columns.Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("key", sa.String(64), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("governed", sa.Boolean, nullable=False),
    sa.Column("disabled_at", columns.Micros, nullable=True),
    sa.Column("created_at", columns.Micros, nullable=False),
    sa.Column("created_by", sa.String(255), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.UniqueConstraint("org_id", "key"),
)

role_binding = sa.Table(
    "role_binding",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("org_id", columns.Id, nullable=False),
    sa.Column("principal_id", columns.Id, sa.ForeignKey("principal.id"), nullable=False),
    sa.Column("effect", sa.String(8), nullable=False),
    sa.Column("role", sa.String(64), nullable=False),
    sa.Column("permissions", columns.Json, nullable=False),
    sa.Column("on_project", sa.String(32), nullable=False),
    sa.Column("on_label", sa.String(200), nullable=False),
    sa.Column("on_intent", sa.String(200), nullable=False),
    sa.Column("on_prompt", sa.String(200), nullable=False),
    sa.Column("expires_at", columns.Micros, nullable=True),
    sa.Column("created_at", columns.Micros, nullable=False),
    sa.Column("created_by", sa.String(255), nullable=False),
    sa.Index(None, "principal_id"),
)
"""Those that stand (expired ones too); what was unbound is in the audit log."""

breakglass = sa.Table(
    "breakglass",
    metadata,
    sa.Column("id", columns.Id, primary_key=True),
    sa.Column("org_id", columns.Id, nullable=False),
    sa.Column("key_id", columns.Id, nullable=False),
    sa.Column("key_prefix", sa.String(16), nullable=False),
    sa.Column("principal", sa.String(64), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("began_at", columns.Micros, nullable=False),
    sa.Column("ends_at", columns.Micros, nullable=False),
    sa.Column("ended_at", columns.Micros, nullable=True),
    sa.Column("ended_by", sa.String(255), nullable=False),
    sa.Index(None, "ends_at"),
)

budget_period = sa.Table(
    "budget_period",
    metadata,
    sa.Column("account", sa.String(64), primary_key=True),
    sa.Column("period", sa.String(16), primary_key=True),
    sa.Column("leased", columns.Nano, nullable=False),
    sa.Column("updated_at", columns.Micros, nullable=False),
)
"""Per purse and period (``2025-10-08``, ``2025-10``, ``total``): what processes were handed and did not return."""

budget_lease = sa.Table(
    "budget_lease",
    metadata,
    sa.Column("account", sa.String(64), primary_key=True),
    sa.Column("period", sa.String(16), primary_key=True),
    sa.Column("holder", columns.Id, primary_key=True),
    sa.Column("granted", columns.Nano, nullable=False),
    sa.Column("spent", columns.Nano, nullable=False),
    sa.Column("step", sa.BigInteger, nullable=False),
    sa.Column("updated_at", columns.Micros, nullable=False),
)
"""The part of one process, for as long as it keeps it. ``granted`` counts against the budget; ``spent`` is for people
and lags by seconds; ``step`` counts the holder's writes, so that one which arrives late (a stalled connection) changes
nothing."""
