"""What owners may do since there are triage, KPIs, savings, detectors, cases, breakers, webhooks and retention.

A key that had every permission there was is an owner's, and an owner has every permission: it gets the new ones. All
other keys keep what they were given.
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0014_governing"
down_revision = "0013_optimization"
branch_labels = None
depends_on = None

BEFORE = [
    "audit:export", "audit:read", "audit:witness", "breakglass:use", "cache:read", "cache:write", "chat:call",
    "datasets:read", "datasets:text", "datasets:write", "evals:read", "evals:run", "explain:read", "feedback:write",
    "intents:read", "intents:write", "keys:read", "keys:write", "labels:move", "labels:write", "metrics:read",
    "optimizations:read", "optimizations:run", "organizations:read", "organizations:write", "policies:read",
    "policies:write", "prices:read", "prices:write", "principals:read", "principals:write", "projects:read",
    "projects:write", "prompts:call", "prompts:read", "prompts:write", "releases:approve", "releases:operate",
    "releases:propose", "releases:read", "reviews:decide", "reviews:read", "reviews:write", "roles:read",
    "roles:write", "scorers:read", "scorers:write", "signals:read", "stats:read", "targets:read", "targets:write",
    "traces:read", "traces:text",
]  # fmt: skip
ADDED = [
    "breakers:operate", "breakers:read", "cases:act", "cases:read", "cases:write", "kpis:read", "monitoring:read",
    "monitoring:write", "retention:erase", "retention:hold", "retention:read", "retention:write", "savings:write",
    "triage:decide", "triage:read", "updates:read", "updates:run", "webhooks:read", "webhooks:write",
]  # fmt: skip


def upgrade() -> None:
    _give_owners(BEFORE, BEFORE + ADDED)


def downgrade() -> None:
    _give_owners(BEFORE + ADDED, BEFORE)


def _give_owners(has: list[str], gets: list[str]) -> None:
    """Keys with exactly these permissions get those. The column holds sorted JSON without spaces."""
    texts = [json.dumps(sorted(names), separators=(",", ":")) for names in (gets, has)]
    statement = sa.text("UPDATE api_key SET permissions = :gets WHERE permissions = :has")
    op.execute(statement.bindparams(gets=texts[0], has=texts[1]))
