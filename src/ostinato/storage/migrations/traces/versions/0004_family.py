"""The family of a request, and whether the hold-out drew it: on calls and in the view."""

import sqlalchemy as sa
from alembic import op

revision = "0004_family"
down_revision = "0003_signals"
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
output_text, NULL AS extra, coalesce(call.prompt, '') AS prompt, coalesce(call.prompt_version, 0) AS prompt_version,
coalesce(call.release, '') AS release, hit.arm AS arm, coalesce(call.family, '') AS family, '' AS trial FROM hit
LEFT JOIN call ON call.request_id = hit.origin
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
system_fingerprint, call.input_text AS input_text, call.output_text AS output_text, call.extra AS extra, call.prompt
AS prompt, call.prompt_version AS prompt_version, call.release AS release, call.arm AS arm, call.family AS family,
call.trial AS trial FROM call
"""
"""Frozen as it was made; ``tables.EVENT_COLUMNS`` is what it is now."""

_BEFORE = """
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
output_text, NULL AS extra, coalesce(call.prompt, '') AS prompt, coalesce(call.prompt_version, 0) AS prompt_version,
coalesce(call.release, '') AS release, hit.arm AS arm FROM hit LEFT JOIN call ON call.request_id = hit.origin
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
system_fingerprint, call.input_text AS input_text, call.output_text AS output_text, call.extra AS extra, call.prompt
AS prompt, call.prompt_version AS prompt_version, call.release AS release, call.arm AS arm FROM call
"""
"""The view of ``0002_release``."""


def upgrade() -> None:
    op.execute("DROP VIEW request_event")
    # With a default, both engines add a column without touching the rows, however many there are.
    op.add_column("call", sa.Column("family", sa.Text, nullable=False, server_default=""))
    op.add_column("call", sa.Column("trial", sa.Text, nullable=False, server_default=""))
    op.execute(_REQUEST_EVENT)


def downgrade() -> None:
    op.execute("DROP VIEW request_event")
    op.drop_column("call", "trial")
    op.drop_column("call", "family")
    op.execute(_BEFORE)
