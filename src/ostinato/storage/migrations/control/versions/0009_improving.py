"""What owners may do since there are datasets, scorers, experiments, reviews and optimization runs.

A key that had every permission there was is an owner's, and an owner has every permission: it gets the new ones. All
other keys keep what they were given.
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0009_improving"
down_revision = "0008_api"
branch_labels = None
depends_on = None

BEFORE = [
    "audit:export", "audit:read", "audit:witness", "breakglass:use", "cache:read", "cache:write", "chat:call",
    "explain:read", "intents:read", "intents:write", "keys:read", "keys:write", "labels:move", "labels:write",
    "metrics:read", "organizations:read", "organizations:write", "policies:read", "policies:write", "prices:read",
    "prices:write", "principals:read", "principals:write", "projects:read", "projects:write", "prompts:call",
    "prompts:read", "prompts:write", "releases:approve", "releases:operate", "releases:propose", "releases:read",
    "roles:read", "roles:write", "stats:read", "targets:read", "targets:write", "traces:read", "traces:text",
]  # fmt: skip
ADDED = [
    "datasets:read", "datasets:text", "datasets:write", "evals:read", "evals:run", "feedback:write",
    "optimizations:read", "optimizations:run", "reviews:decide", "reviews:read", "reviews:write", "scorers:read",
    "scorers:write", "signals:read",
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
