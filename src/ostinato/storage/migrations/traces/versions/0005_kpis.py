"""Traffic without keys and targets, interactions, sums of signals, and conversations.

The rollup that stands is added up once more, without keys, aliases and targets. Interactions are counted from now on.
"""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

from ostinato.storage import columns

revision = "0005_kpis"
down_revision = "0004_family"
branch_labels = None
depends_on = None

_TRAFFIC = (
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
)
_INTERACTION = (
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
_ABOUT = ("intent", "prompt", "release", "arm")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _cells(name: str, dimensions: Iterable[str], sums: Iterable[str], moments: Iterable[str] = ()) -> None:
    keys = ("org", "project", "grain", "bucket", "writer", *dimensions)
    op.create_table(
        name,
        _text("org"),
        _text("project"),
        sa.Column("grain", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("bucket", columns.Micros, autoincrement=False, nullable=False),
        sa.Column("writer", columns.Id, nullable=False),
        *map(_text, dimensions),
        *map(_count, sums),
        *(sa.Column(one, sa.Float, nullable=False) for one in moments),
        sa.Column("detail", columns.Bytes, nullable=False),
        sa.PrimaryKeyConstraint(*keys, name=f"pk_{name}"),
    )
    op.create_index(f"ix_{name}_grain_bucket_writer", name, ["grain", "bucket", "writer"])


def upgrade() -> None:
    _cells("traffic", (*_ABOUT, "purpose"), _TRAFFIC)
    _cells("interaction", (*_ABOUT, "tier"), _INTERACTION)
    _cells(
        "signal_rollup",
        ("source", "name", *_ABOUT, "tier"),
        ("n", "valued", "bad"),
        ("w", "wv", "wvv", "w2", "w2v", "w2vv"),
    )
    op.create_table(
        "conversation",
        _text("project"),
        _text("name"),
        _text("org"),
        sa.Column("at", columns.Micros, nullable=False),
        sa.Column("ended", columns.Micros, nullable=False),
        *map(_text, ("request_id", *_ABOUT, "tier")),
        sa.Column("named", sa.Boolean, nullable=False),
        *map(_count, ("turns", "answer_us", "decided_us")),
        _text("opening"),
        _text("asked"),
        _count("flags"),
        sa.Column("csat", sa.SmallInteger, nullable=True),
        sa.Column("seconds", sa.BigInteger, nullable=True),
        sa.PrimaryKeyConstraint("project", "name", name="pk_conversation"),
    )
    op.create_index("ix_conversation_ended", "conversation", ["ended"])
    _fill()


def _fill() -> None:
    """Add up what there is of the rollup, bucket by bucket. Calls of our own, which no key made, are kept apart."""
    connection = op.get_bind()
    mark = "%s" if connection.dialect.name == "postgresql" else "?"
    names = ("org", "project", "grain", "bucket", "writer", *_ABOUT)
    order = ", ".join(names)
    purpose = "CASE WHEN key_id = '' THEN 'own' ELSE '' END"
    selected = (
        f"SELECT {order}, {purpose} AS purpose, {', '.join(_TRAFFIC)}, detail FROM rollup "  # noqa: S608 - constants
        f"WHERE grain = {mark} AND bucket = {mark} ORDER BY {order}, purpose"
    )
    into = (*names, "purpose", *_TRAFFIC, "detail")
    statement = f"INSERT INTO traffic ({', '.join(into)}) VALUES ({', '.join([mark] * len(into))})"  # noqa: S608
    keyed = len(names) + 1
    for grain, bucket in connection.exec_driver_sql("SELECT DISTINCT grain, bucket FROM rollup").all():
        found = connection.exec_driver_sql(selected, (grain, bucket)).all()
        for key, rows in groupby(found, key=lambda row: tuple(row[:keyed])):
            sums = [0] * len(_TRAFFIC)
            detail: list[dict[Any, int]] = []
            for row in rows:
                sums = [mine + theirs for mine, theirs in zip(sums, row[keyed:-1], strict=True)]
                _merge(detail, msgspec.msgpack.decode(bytes(row[-1]), strict=False))
            connection.exec_driver_sql(statement, (*key, *sums, msgspec.msgpack.encode(detail)))


def _merge(into: list[dict[Any, int]], more: list[dict[Any, int]]) -> None:
    while len(into) < len(more):
        into.append({})
    for mine, theirs in zip(into, more, strict=False):
        for name, count in theirs.items():
            mine[name] = mine.get(name, 0) + count


def downgrade() -> None:
    op.drop_index("ix_conversation_ended", "conversation")
    op.drop_table("conversation")
    for name in ("signal_rollup", "interaction", "traffic"):
        op.drop_index(f"ix_{name}_grain_bucket_writer", name)
        op.drop_table(name)
