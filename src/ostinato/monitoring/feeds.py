"""From new rows of the ledger, signals and the rollup to observations of series, behind a cursor.

Rows are numbered when they are written and seen when their transaction ends, so a look reads only as far as the look
before saw the end: what was under way then has ended since.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
import sqlalchemy as sa

from ostinato.monitoring.model import Feed, Observation, Series
from ostinato.signals.tables import signal
from ostinato.traces.tables import call, hit, rollup

Fed: TypeAlias = dict[tuple[Feed, Series], list[Observation]]

PAGE = 5_000
_CHAT = ("openai.chat", "openai.responses", "anthropic.messages")
_REFUSED_FINISH = ("refusal", "content_filter")
_REFUSED_REASON = ("refusal", "content-filter")
_MALFORMED = ("schema", "tool-arguments", "incomplete", "truncated", "empty")
_BETTER = ("resolved", "csat", "task_success")
"""Outcomes of which more is better; of the others a higher value is no higher quality."""
_HITS = ("hit_raw", "hit_memory", "hit_shared", "hit_joined", "hit_stale")
_MINUTE = 60_000_000
_HOUR = 60 * _MINUTE
HITS = 500_000
"""Hits that one page goes through at most; about ``PAGE`` of them, evenly, are looked at, each for others too."""
SETTLED = 90_000_000
"""Microseconds after which a minute of the rollup is taken for whole."""

_CALL = (
    "seq",
    "request_id",
    "at",
    "org",
    "project",
    "intent",
    "prompt",
    "release",
    "target",
    "model",
    "attempts",
    "cache",
    "reason",
    "cost",
    "status",
    "finish",
    "upstream_us",
    "total_us",
    "system_fingerprint",
    "answered_by",
    "family",
    "user_digest",
)
_SIGNAL = ("seq", "at", "org", "project", "source", "name", "value", "prompt", "release", "intent", "origin")


class Candidate(msgspec.Struct, frozen=True):
    """A request whose question was kept, and may be drawn."""

    request_id: str
    at: int
    series: Series
    user_digest: str


class Read(msgspec.Struct):
    """What one look has read."""

    fed: Fed = msgspec.field(default_factory=dict)
    candidates: list[Candidate] = msgspec.field(default_factory=list)
    positions: dict[str, int] = msgspec.field(default_factory=dict)
    """New cursors, by name."""
    more: bool = False
    """Whether there is more to be read at once."""
    asked: dict[tuple[Series, str, int], tuple[int, int]] = msgspec.field(default_factory=dict)
    """How often something was asked in an hour, and when last."""

    def ask(self, series: Series, label: str, at: int, n: int = 1) -> None:
        """Count a request of a family."""
        key = (series, label, at // _HOUR)
        before = self.asked.get(key, (0, 0))
        self.asked[key] = (before[0] + n, max(before[1], at))

    def add(self, feed: Feed, series: Series, one: Observation) -> None:
        self.fed.setdefault((feed, series), []).append(one)


def heads(connection: sa.Connection) -> dict[str, int]:
    """The last row of each table."""
    return {
        table.name: int(connection.execute(sa.select(sa.func.coalesce(sa.func.max(table.c.seq), 0))).scalar() or 0)
        for table in (call, signal, hit)
    }


def read(connection: sa.Connection, cursors: Mapping[str, int], upto: Mapping[str, int], now: int) -> Read:
    """One page of everything behind ``cursors``, as far as ``upto``."""
    found = Read()
    for table, columns, take in ((call, _CALL, _call), (signal, _SIGNAL, _signal)):
        after, end = cursors.get(table.name, 0), upto.get(table.name, 0)
        chosen: list[Any] = [table.c[name] for name in columns]
        if table is call:
            # Whether the question was kept; the text itself is read only of those that are drawn.
            chosen.append((table.c.input_text.is_not(None)).label("kept"))
        query = sa.select(*chosen).where(table.c.seq > after, table.c.seq <= end).order_by(table.c.seq).limit(PAGE)
        if table is call:
            query = query.where(table.c.key_id != "", table.c.wire.in_(_CHAT))
        rows = connection.execute(query).mappings().all()
        for row in rows:
            take(found, row)
        whole = len(rows) < PAGE
        found.more = found.more or not whole
        found.positions[table.name] = max(after, end) if whole else int(rows[-1]["seq"])
    _hits(connection, found, cursors.get(hit.name, 0), upto.get(hit.name, 0))
    for (series, label, _), (n, at) in sorted(found.asked.items(), key=lambda one: one[1][1]):
        found.add("families", series, Observation(at, label=label, n=n))
    _minutes(connection, found, cursors.get("rollup", 0), now)
    return found


def _call(found: Read, row: Mapping[Any, Any]) -> None:
    of = Series(row["org"], row["project"], row["intent"], row["release"], row["prompt"])
    whole = Series(row["org"], row["project"], row["intent"])
    at, status = row["at"], row["status"]
    if row["family"] and status < 400:
        # A prompt is one thing that is asked, whatever its version: a release is no change of what people want.
        found.ask(whole, row["prompt"] or row["family"], at)
    if row["attempts"] in ("", "[]") or row["reason"] == "held":
        return  # nobody was asked
    failed = status >= 500 or status == 429
    if failed or status < 400:
        # The caller's own mistakes, and callers who left, say nothing of the model.
        found.add("errors", of, Observation(at, float(failed)))
    if status >= 400 or row["cache"] in ("hit-exact", "stale") or not row["upstream_us"]:
        return
    refused = row["finish"] in _REFUSED_FINISH or row["reason"] in _REFUSED_REASON
    found.add("refusals", of, Observation(at, float(refused)))
    malformed = row["reason"] in _MALFORMED or row["finish"] == "length"
    found.add("format", of, Observation(at, float(malformed)))
    found.add("latency", of, Observation(at, float(row["total_us"])))
    if row["cost"] is not None:
        found.add("cost", of, Observation(at, float(row["cost"])))
    if row["system_fingerprint"] or row["answered_by"]:
        # A dated snapshot behind a name, or the configuration that a provider tells of it: either is another model.
        target = Series(row["org"], row["project"], part=row["target"])
        label = f"{row['answered_by'] or row['model']} {row['system_fingerprint']}".rstrip()
        found.add("fingerprints", target, Observation(at, label=label))
    if row["kept"]:
        found.candidates.append(Candidate(row["request_id"], at, whole, row["user_digest"]))


def _hits(connection: sa.Connection, found: Read, after: int, upto: int) -> None:
    """What was asked and answered from the cache: of the family of the call that is repeated. A row of a hit is small
    and says nothing of it, so that a hit costs nothing more; here it is looked up."""
    end = min(max(after, upto), after + HITS)
    step = max(1, -(-(end - after) // PAGE))
    names = ("org", "project", "intent", "prompt", "family")
    query = (
        sa.select(*(call.c[name] for name in names), sa.func.count().label("n"), sa.func.max(hit.c.at).label("at"))
        .select_from(hit.join(call, call.c.request_id == hit.c.origin))
        .where(hit.c.seq > after, hit.c.seq <= end, hit.c.key_id != "", call.c.family != "", call.c.wire.in_(_CHAT))
        .group_by(*(call.c[name] for name in names), hit.c.at // _HOUR)
    )
    if step > 1:
        query = query.where(hit.c.seq % step == 0)
    if end > after:
        for row in connection.execute(query).mappings():
            whole = Series(row["org"], row["project"], row["intent"])
            found.ask(whole, row["prompt"] or row["family"], int(row["at"]), int(row["n"]) * step)
    found.positions[hit.name] = end
    found.more = found.more or end < upto


def _signal(found: Read, row: Mapping[Any, Any]) -> None:
    source, name, at, value = row["source"], row["name"], row["at"], row["value"]
    part = f"{source}:{name}"
    of = Series(row["org"], row["project"], row["intent"], row["release"], row["prompt"], part)
    if source == "scorer":
        whole = Series(row["org"], row["project"], row["intent"], part=part)
        found.add("volume", whole, Observation(at, 1.0))
    if source != "outcome" or name in _BETTER:
        found.add("scores", of, Observation(at, value))
    if row["origin"] and value is not None and (source == "review" or name.startswith("audit")):
        found.add("checked-hits", msgspec.structs.replace(of, part=""), Observation(at, float(value < 0.5)))


def _minutes(connection: sa.Connection, found: Read, after: int, now: int) -> None:
    """Whole minutes of the rollup: how many requests came, and how many hits were stale."""
    end = now - SETTLED
    end -= end % _MINUTE
    table = rollup
    names = ("org", "project", "intent", "prompt", "release", "bucket")
    if end <= after:
        # A clock that went back: wait until it is where it was.
        found.positions["rollup"] = after if after <= now + SETTLED else end
        return
    low = max(after, end - 120 * _MINUTE)
    query = (
        sa.select(
            *(table.c[name] for name in names),
            sa.func.sum(table.c.requests - table.c.refused).label("asked"),
            *(sa.func.sum(table.c[name]).label(name) for name in _HITS),
        )
        .where(table.c.grain == 60, table.c.bucket >= low, table.c.bucket < end, table.c.key_id != "")
        .group_by(*(table.c[name] for name in names))
        .order_by(table.c.bucket)
    )
    for row in connection.execute(query).mappings():
        if not row["org"]:
            continue  # hits whose call is gone
        at, hits = int(row["bucket"]) + _MINUTE, sum(int(row[name]) for name in _HITS)
        if row["asked"]:
            whole = Series(row["org"], row["project"], row["intent"])
            found.add("volume", whole, Observation(at, float(row["asked"])))
        if hits:
            of = Series(row["org"], row["project"], row["intent"], row["release"], row["prompt"])
            found.add("stale", of, Observation(at, int(row["hit_stale"]) / hits, n=hits))
    found.positions["rollup"] = end


def texts(connection: sa.Connection, request_ids: Sequence[str]) -> dict[str, str]:
    """The questions of some requests, as far as they are kept."""
    query = sa.select(call.c.request_id, call.c.input_text).where(call.c.request_id.in_(request_ids))
    return {row[0]: row[1] for row in connection.execute(query) if row[1]}
