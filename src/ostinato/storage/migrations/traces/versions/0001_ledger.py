"""Hits and calls, the view that joins them, the writers' numbers, losses, and the rollup."""

import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0001_ledger"
down_revision = None
branch_labels = None
depends_on = None

_REQUEST_EVENT = """
CREATE VIEW request_event AS
SELECT hit.request_id AS request_id, hit.at AS at, hit.client_request_id AS client_request_id, coalesce(call.org,
'') AS org, coalesce(call.project, '') AS project, hit.key_id AS key_id, coalesce(call.wire, '') AS wire, hit.stream
AS stream, coalesce(call.alias, '') AS alias, coalesce(call.provider, '') AS provider, coalesce(call.model, '') AS
model, coalesce(call.target, '') AS target, '[]' AS attempts, CASE WHEN hit.kind = 4 THEN 'stale' ELSE 'hit-exact'
END AS cache, CASE hit.kind WHEN 0 THEN 'raw' WHEN 1 THEN 'memory' WHEN 2 THEN 'shared' WHEN 3 THEN 'joined' WHEN 4
THEN 'stale' ELSE '' END AS kind, hit.origin AS origin, hit.age_s AS age_s, '' AS reason, hit.kind < 0 AS stored,
coalesce(call.generation, '') AS generation, coalesce(call.fingerprint, '') AS fingerprint,
coalesce(call.input_digest, '') AS input_digest, hit.user_digest AS user_digest, hit.session AS session,
coalesce(call.tags, '') AS tags, coalesce(call.intent, '') AS intent, call.input AS input, call.cache_read AS
cache_read, call.cache_write AS cache_write, call.output AS output, call.reasoning AS reasoning, call.usage_raw AS
usage_raw, 0 AS cost, hit.saved AS counterfactual, hit.saved AS saved, 200 AS status, '' AS error,
coalesce(call.finish, '') AS finish, 0 AS auth_us, 0 AS lookup_us, 0 AS upstream_us, 0 AS first_token_us,
hit.total_us AS total_us, coalesce(call.system_fingerprint, '') AS system_fingerprint, NULL AS input_text, NULL AS
output_text, NULL AS extra FROM hit LEFT JOIN call ON call.request_id = hit.origin
UNION ALL
SELECT call.request_id AS request_id, call.at AS at, call.client_request_id AS client_request_id, call.org AS org,
call.project AS project, call.key_id AS key_id, call.wire AS wire, call.stream AS stream, call.alias AS alias,
call.provider AS provider, call.model AS model, call.target AS target, call.attempts AS attempts, call.cache AS
cache, '' AS kind, '' AS origin, NULL AS age_s, call.reason AS reason, call.stored AS stored, call.generation AS
generation, call.fingerprint AS fingerprint, call.input_digest AS input_digest, call.user_digest AS user_digest,
call.session AS session, call.tags AS tags, call.intent AS intent, call.input AS input, call.cache_read AS
cache_read, call.cache_write AS cache_write, call.output AS output, call.reasoning AS reasoning, call.usage_raw AS
usage_raw, call.cost AS cost, call.counterfactual AS counterfactual, call.saved AS saved, call.status AS status,
call.error AS error, call.finish AS finish, call.auth_us AS auth_us, call.lookup_us AS lookup_us, call.upstream_us
AS upstream_us, call.first_token_us AS first_token_us, call.total_us AS total_us, call.system_fingerprint AS
system_fingerprint, call.input_text AS input_text, call.output_text AS output_text, call.extra AS extra FROM call
"""
"""Frozen as it was made; ``tables.EVENT_COLUMNS`` is what it is now."""


def upgrade() -> None:
    op.create_table(
        "hit",
        sa.Column("seq", columns.Serial, autoincrement=True, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("at", columns.Micros, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("total_us", sa.BigInteger, nullable=False),
        sa.Column("saved", columns.Nano, nullable=False),
        sa.Column("age_s", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.SmallInteger, nullable=False),
        sa.Column("stream", sa.Boolean, nullable=False),
        sa.Column("user_digest", sa.Text, nullable=False),
        sa.Column("session", sa.Text, nullable=False),
        sa.Column("client_request_id", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_hit"),
        sa.UniqueConstraint("request_id", name="uq_hit_request_id"),
    )
    op.create_table(
        "call",
        sa.Column("seq", columns.Serial, autoincrement=True, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("at", columns.Micros, nullable=False),
        sa.Column("client_request_id", sa.Text, nullable=False),
        sa.Column("org", sa.Text, nullable=False),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("wire", sa.Text, nullable=False),
        sa.Column("stream", sa.Boolean, nullable=False),
        sa.Column("alias", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("attempts", sa.Text, nullable=False),
        sa.Column("cache", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("stored", sa.Boolean, nullable=False),
        sa.Column("generation", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("input_digest", sa.Text, nullable=False),
        sa.Column("user_digest", sa.Text, nullable=False),
        sa.Column("session", sa.Text, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("intent", sa.Text, nullable=False),
        sa.Column("input", sa.BigInteger, nullable=True),
        sa.Column("cache_read", sa.BigInteger, nullable=True),
        sa.Column("cache_write", sa.BigInteger, nullable=True),
        sa.Column("output", sa.BigInteger, nullable=True),
        sa.Column("reasoning", sa.BigInteger, nullable=True),
        sa.Column("usage_raw", sa.Text, nullable=True),
        sa.Column("cost", columns.Nano, nullable=True),
        sa.Column("counterfactual", columns.Nano, nullable=True),
        sa.Column("saved", columns.Nano, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("finish", sa.Text, nullable=False),
        sa.Column("auth_us", sa.BigInteger, nullable=False),
        sa.Column("lookup_us", sa.BigInteger, nullable=False),
        sa.Column("upstream_us", sa.BigInteger, nullable=False),
        sa.Column("first_token_us", sa.BigInteger, nullable=False),
        sa.Column("total_us", sa.BigInteger, nullable=False),
        sa.Column("system_fingerprint", sa.Text, nullable=False),
        sa.Column("input_text", sa.Text, nullable=True),
        sa.Column("output_text", sa.Text, nullable=True),
        sa.Column("extra", sa.Text, nullable=True),
        sa.PrimaryKeyConstraint("seq", name="pk_call"),
        sa.UniqueConstraint("request_id", name="uq_call_request_id"),
    )
    op.create_table(
        "ledger_writer",
        sa.Column("writer", columns.Id, nullable=False),
        sa.Column("batch", sa.BigInteger, nullable=False),
        sa.Column("accounted", sa.BigInteger, nullable=False),
        sa.Column("dropped", sa.BigInteger, nullable=False),
        sa.Column("updated_at", columns.Micros, nullable=False),
        sa.PrimaryKeyConstraint("writer", name="pk_ledger_writer"),
    )
    op.create_table(
        "ledger_loss",
        sa.Column("seq", columns.Serial, autoincrement=True, nullable=False),
        sa.Column("at", columns.Micros, nullable=False),
        sa.Column("writer", columns.Id, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_ledger_loss"),
    )
    op.create_table(
        "rollup",
        sa.Column("grain", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("bucket", columns.Micros, autoincrement=False, nullable=False),
        sa.Column("writer", columns.Id, nullable=False),
        sa.Column("org", sa.Text, nullable=False),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("alias", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("intent", sa.Text, nullable=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("hit_raw", sa.BigInteger, nullable=False),
        sa.Column("hit_memory", sa.BigInteger, nullable=False),
        sa.Column("hit_shared", sa.BigInteger, nullable=False),
        sa.Column("hit_joined", sa.BigInteger, nullable=False),
        sa.Column("hit_stale", sa.BigInteger, nullable=False),
        sa.Column("unattributed", sa.BigInteger, nullable=False),
        sa.Column("misses", sa.BigInteger, nullable=False),
        sa.Column("bypasses", sa.BigInteger, nullable=False),
        sa.Column("refused", sa.BigInteger, nullable=False),
        sa.Column("errors", sa.BigInteger, nullable=False),
        sa.Column("input", sa.BigInteger, nullable=False),
        sa.Column("cache_read", sa.BigInteger, nullable=False),
        sa.Column("cache_write", sa.BigInteger, nullable=False),
        sa.Column("output", sa.BigInteger, nullable=False),
        sa.Column("reasoning", sa.BigInteger, nullable=False),
        sa.Column("avoided", sa.BigInteger, nullable=False),
        sa.Column("priced", sa.BigInteger, nullable=False),
        sa.Column("cost", columns.Nano, nullable=False),
        sa.Column("saved", columns.Nano, nullable=False),
        sa.Column("counterfactual", columns.Nano, nullable=False),
        sa.Column("detail", columns.Bytes, nullable=False),
        sa.PrimaryKeyConstraint(
            "grain", "bucket", "writer", "org", "project", "key_id", "alias", "target", "intent", name="pk_rollup"
        ),
    )
    named = sa.text("client_request_id <> ''")
    for table in ("hit", "call"):
        op.create_index(
            f"ix_{table}_client_request_id", table, ["client_request_id"], sqlite_where=named, postgresql_where=named
        )
    op.execute(_REQUEST_EVENT)


def downgrade() -> None:
    op.execute("DROP VIEW request_event")
    for table in ("rollup", "ledger_loss", "ledger_writer"):
        op.drop_table(table)
    for table in ("call", "hit"):
        op.drop_index(f"ix_{table}_client_request_id", table)
        op.drop_table(table)
