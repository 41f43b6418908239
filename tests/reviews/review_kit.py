"""Two processes on one database, each with its own connections and ``Reviews``; and who may do what there."""

from typing import Any

import sqlalchemy as sa

from ostinato import audit, storage
from ostinato.access import Caller, SystemActor
from ostinato.access import tables as access_tables
from ostinato.audit import tables as audit_tables
from ostinato.core.clock import ManualClock
from ostinato.reviews import Content, NewItem, NewVerdict, Output, Reviews

ORG, PROJECT, OTHER = "a" * 32, "b" * 32, "c" * 32
EVERYTHING = frozenset({"reviews:read", "reviews:write", "reviews:decide", "projects:read"})
SYSTEM = SystemActor("test")


def caller(name: str, principal: str = "", project: str = PROJECT, without: str = "", **more: Any) -> Caller:
    return Caller(
        key_id=name,
        key_prefix=name,
        org=more.pop("org", ORG),
        project=project,
        permissions=EVERYTHING - {without},
        principal=f"principal:{principal or name}",
        **more,
    )


ALICE, BOB, CAROL, DAN = (caller(name) for name in ("alice", "bob", "carol", "dan"))
ALICE_AGAIN = caller("alices-second-key", "alice")
STRANGER = caller("stranger", project=OTHER)


class Process:
    """One process of the installation."""

    def __init__(self, url: str, clock: ManualClock, **options: Any) -> None:
        self.database = storage.open_database("control", url, readers=4)
        self.clock = clock
        self.log = audit.Log(self.database, clock, secret=b"s" * 32)
        self.reviews = Reviews(self.database, clock, self.log, secret=b"s" * 32, **options)

    def leaves(self) -> list[str]:
        leaf = audit_tables.leaf
        return list(self.database.query(lambda c: c.scalars(sa.select(leaf.c.action).order_by(leaf.c.seq)).all()))

    def rows(self, table: sa.Table) -> list[dict[str, Any]]:
        return self.database.query(lambda c: [dict(row) for row in c.execute(sa.select(table)).mappings()])


def seed(connection: sa.Connection) -> None:
    by = {"created_at": 1, "created_by": "system:test", "version": 1}
    connection.execute(access_tables.organization.insert().values(id=ORG, key="org", name="Org", **by))
    for identifier, key in ((PROJECT, "main"), (OTHER, "other")):
        project = {"id": identifier, "org_id": ORG, "key": key, "name": key, "store_text": False, "budget": None}
        connection.execute(access_tables.project.insert().values(**project, **by))


def item(text: str = "an answer", **more: Any) -> NewItem:
    content = more.pop("content", None) or Content(input_text="a question", outputs=(Output(text=text, name="base"),))
    return NewItem(content=content, **{"mark": text, **more})


def pair(first: str, second: str, **more: Any) -> NewItem:
    outputs = (Output(text=first, name="base"), Output(text=second, name="candidate"))
    return item(first, content=Content(input_text="a question", outputs=outputs), **more)


def said(decision: str = "approve", **more: Any) -> NewVerdict:
    return NewVerdict(decision=decision, **more)
