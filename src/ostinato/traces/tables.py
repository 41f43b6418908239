"""The ledger's tables in the database ``traces``, and the view that shows a hit and a call alike.

Rows are only ever inserted. Beside the order of writing (``seq``) there is an index on the request id - a UUIDv7, hence
also the index on time - and one on the caller's own ``x-request-id`` that holds only rows that have one.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from ostinato.storage import columns
from ostinato.traces.model import HIT_KINDS, RequestEvent

metadata = columns.metadata()


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _optional(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=True)


hit = sa.Table(
    "hit",
    metadata,
    sa.Column("seq", columns.Serial, primary_key=True, autoincrement=True),
    _text("request_id"),
    sa.Column("at", columns.Micros, nullable=False),
    _text("key_id"),
    _text("origin"),
    _count("total_us"),
    sa.Column("saved", columns.Nano, nullable=False),
    _count("age_s"),
    sa.Column("kind", sa.SmallInteger, nullable=False),
    sa.Column("stream", sa.Boolean, nullable=False),
    _text("user_digest"),
    _text("session"),
    _text("client_request_id"),
    _text("arm"),
    sa.UniqueConstraint("request_id"),
)
"""Columns after ``seq`` are the fields of ``HitRow``, in order: a row is written as the struct's tuple."""

call = sa.Table(
    "call",
    metadata,
    sa.Column("seq", columns.Serial, primary_key=True, autoincrement=True),
    _text("request_id"),
    sa.Column("at", columns.Micros, nullable=False),
    _text("client_request_id"),
    _text("org"),
    _text("project"),
    _text("key_id"),
    _text("wire"),
    sa.Column("stream", sa.Boolean, nullable=False),
    _text("alias"),
    _text("provider"),
    _text("model"),
    _text("target"),
    _text("attempts"),
    _text("cache"),
    _text("reason"),
    sa.Column("stored", sa.Boolean, nullable=False),
    _text("generation"),
    _text("fingerprint"),
    _text("input_digest"),
    _text("user_digest"),
    _text("session"),
    _text("tags"),
    _text("intent"),
    _optional("input"),
    _optional("cache_read"),
    _optional("cache_write"),
    _optional("output"),
    _optional("reasoning"),
    sa.Column("usage_raw", sa.Text, nullable=True),
    sa.Column("cost", columns.Nano, nullable=True),
    sa.Column("counterfactual", columns.Nano, nullable=True),
    sa.Column("saved", columns.Nano, nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    _text("error"),
    _text("finish"),
    _count("auth_us"),
    _count("lookup_us"),
    _count("upstream_us"),
    _count("first_token_us"),
    _count("total_us"),
    _text("system_fingerprint"),
    sa.Column("input_text", sa.Text, nullable=True),
    sa.Column("output_text", sa.Text, nullable=True),
    sa.Column("extra", sa.Text, nullable=True),
    _text("prompt"),
    sa.Column("prompt_version", sa.Integer, nullable=False),
    _text("release"),
    _text("arm"),
    _text("family"),
    _text("trial"),
    _text("answered_by"),
    sa.UniqueConstraint("request_id"),
)

for _table in (hit, call):
    _named = _table.c.client_request_id != ""
    sa.Index(None, _table.c.client_request_id, sqlite_where=_named, postgresql_where=_named)

ledger_writer = sa.Table(
    "ledger_writer",
    metadata,
    sa.Column("writer", columns.Id, primary_key=True),
    _count("batch"),
    _count("accounted"),
    _count("dropped"),
    sa.Column("updated_at", columns.Micros, nullable=False),
)
"""Per writer: its last batch, the accepted rows accounted for (written, refused or lost), and those shed."""

ledger_loss = sa.Table(
    "ledger_loss",
    metadata,
    sa.Column("seq", columns.Serial, primary_key=True, autoincrement=True),
    sa.Column("at", columns.Micros, nullable=False),
    sa.Column("writer", columns.Id, nullable=False),
    _text("kind"),
    _count("rows"),
)
"""Rows that are missing, counted: ``dropped`` (queue full), ``crash`` (killed before the write), ``refused``."""

SUMS = (
    "requests",
    "hit_raw",
    "hit_memory",
    "hit_shared",
    "hit_joined",
    "hit_stale",
    "unattributed",
    "misses",
    "bypasses",
    "refused",
    "errors",
    "input",
    "cache_read",
    "cache_write",
    "output",
    "reasoning",
    "avoided",
    "priced",
    "cost",
    "saved",
    "counterfactual",
    "asides",
    "short",
)
"""Columns of ``rollup`` that are simply added up. ``asides`` ask for no answer (lists of models, counts of tokens,
feedback, a look at a held answer) and are no ``requests``; ``short``: answers whose length was used up. Tokens and
nano-dollars; ``priced`` counts tokens with a price."""

DIMENSIONS = ("org", "project", "key_id", "alias", "target", "intent", "prompt", "release", "arm")

rollup = sa.Table(
    "rollup",
    metadata,
    sa.Column("grain", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("bucket", columns.Micros, primary_key=True, autoincrement=False),
    sa.Column("writer", columns.Id, primary_key=True),
    *(sa.Column(name, sa.Text, primary_key=True) for name in DIMENSIONS),
    *(_count(name) for name in SUMS),
    sa.Column("detail", columns.Bytes, nullable=False),
)
"""Sums per ``grain`` (10 s to a day) and writer, by the time a request *ended*. ``detail`` is ``rollup.Detail``."""

TRAFFIC_DIMENSIONS = ("intent", "prompt", "release", "arm", "purpose")

INTERACTION_SUMS = (
    "interactions",
    "conversations",
    "turns",
    "first_pass",
    "failed",
    "reworked",
    "disliked",
    "escalated",
    "reopened",
    "abandoned",
    "uncontained",
    "resolved",
    "told",
    "task_told",
    "task_done",
    "success",
    "confirmed",
    "unaided",
    "rated",
    "satisfied",
    "rating",
    "rating_squares",
    "timed",
    "seconds",
    "seconds_squares",
)
"""Columns of ``interaction`` that are simply added up; ``interactions.contribution`` says what each counts."""

INTERACTION_DIMENSIONS = ("intent", "prompt", "release", "arm", "tier")

TRIAL_DIMENSIONS = ("intent", "prompt", "release", "arm", "stratum", "side")
TRIAL_SUMS = ("requests", "cost", "saved", "errors", "unpriced")
"""Columns of ``trial`` that are simply added up; money in nano-dollars."""

SIGNAL_DIMENSIONS = ("source", "name", "intent", "prompt", "release", "arm", "tier")
SIGNAL_SUMS = ("n", "valued", "bad")
SIGNAL_MOMENTS = ("w", "wv", "wvv", "w2", "w2v", "w2vv")
"""Sums over weights and values: of w, wv, wv^2, w^2, w^2v, w^2v^2. Enough for a weighted mean and its variance."""


def _cells(name: str, dimensions: Sequence[str], sums: Sequence[str], moments: Sequence[str] = ()) -> sa.Table:
    """Sums per project, ``grain`` and writer. A project's window is one range of the primary key."""
    return sa.Table(
        name,
        metadata,
        sa.Column("org", sa.Text, primary_key=True),
        sa.Column("project", sa.Text, primary_key=True),
        sa.Column("grain", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("bucket", columns.Micros, primary_key=True, autoincrement=False),
        sa.Column("writer", columns.Id, primary_key=True),
        *(sa.Column(one, sa.Text, primary_key=True) for one in dimensions),
        *(_count(one) for one in sums),
        *(sa.Column(one, sa.Float, nullable=False) for one in moments),
        sa.Column("detail", columns.Bytes, nullable=False),
        sa.Index(None, "grain", "bucket", "writer"),
    )


traffic = _cells("traffic", TRAFFIC_DIMENSIONS, SUMS)
"""``rollup`` without keys, aliases and targets: what pages of figures read. ``purpose``: of calls of our own."""

interaction = _cells("interaction", INTERACTION_DIMENSIONS, INTERACTION_SUMS)
"""Interactions by the time at which they began; corrected when it is known how they ended."""

signal_rollup = _cells("signal_rollup", SIGNAL_DIMENSIONS, SIGNAL_SUMS, SIGNAL_MOMENTS)
"""Sums of signals by the time at which they were told; of what one actor said again of a request, the last counts."""

trial = _cells("trial", TRIAL_DIMENSIONS, TRIAL_SUMS)
"""The hold-out's two sides, by the hour and the day in which a request was asked: see ``drawing``."""

conversation = sa.Table(
    "conversation",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    _text("org"),
    sa.Column("at", columns.Micros, nullable=False),
    sa.Column("ended", columns.Micros, nullable=False),
    _text("request_id"),
    _text("intent"),
    _text("prompt"),
    _text("release"),
    _text("arm"),
    _text("tier"),
    sa.Column("named", sa.Boolean, nullable=False),
    _count("turns"),
    _count("answer_us"),
    _count("decided_us"),
    _text("opening"),
    _text("asked"),
    _count("flags"),
    sa.Column("csat", sa.SmallInteger, nullable=True),
    sa.Column("seconds", sa.BigInteger, nullable=True),
    sa.Index(None, "ended"),
)
"""One row per session, and per single request that an outcome was told of: how far it has come.

Columns after ``name`` are the fields of ``interactions.State``, in order."""

EVENT_COLUMNS = RequestEvent.__struct_fields__
"""Columns of the view ``request_event``, in order."""

_OF_HIT = {
    **{name: f"hit.{name}" for name in ("request_id", "at", "client_request_id", "key_id", "stream", "user_digest")},
    **{name: f"hit.{name}" for name in ("session", "origin", "age_s", "saved", "total_us", "arm")},
    "prompt_version": "coalesce(call.prompt_version, 0)",
    "cache": "CASE WHEN hit.kind = 4 THEN 'stale' ELSE 'hit-exact' END",
    "kind": "CASE hit.kind {} ELSE '' END".format(
        " ".join(f"WHEN {i} THEN '{kind}'" for i, kind in enumerate(HIT_KINDS))
    ),
    "stored": "hit.kind < 0",
    "attempts": "'[]'",
    "cost": "0",
    "counterfactual": "hit.saved",
    "status": "200",
    **dict.fromkeys(("reason", "error", "trial"), "''"),
    **dict.fromkeys(("auth_us", "lookup_us", "upstream_us", "first_token_us"), "0"),
    **dict.fromkeys(("input_text", "output_text", "extra"), "NULL"),
}
_OF_ORIGIN = ("input", "cache_read", "cache_write", "output", "reasoning", "usage_raw")
_OF_CALL = {"kind": "''", "origin": "''", "age_s": "NULL"}


def _hit_column(name: str) -> str:
    if name in _OF_HIT:
        return _OF_HIT[name]
    return f"call.{name}" if name in _OF_ORIGIN else f"coalesce(call.{name}, '')"


HIT_EVENTS = "SELECT {} FROM hit LEFT JOIN call ON call.request_id = hit.origin".format(  # noqa: S608 - all names are constants of this module
    ", ".join(f"{_hit_column(name)} AS {name}" for name in EVENT_COLUMNS)
)
CALL_EVENTS = "SELECT {} FROM call".format(  # noqa: S608 - as above
    ", ".join(f"{_OF_CALL.get(name, f'call.{name}')} AS {name}" for name in EVENT_COLUMNS)
)
"""The two halves of the view; ``ledger`` reads them apart where it walks in the order of writing."""
