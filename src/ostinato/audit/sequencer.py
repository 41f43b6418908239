"""The sequencer: leaves are numbered, committed to and hung into the tree, in the transaction of the change."""

from collections.abc import Callable
from typing import cast

import msgspec
import sqlalchemy as sa

from ostinato import storage
from ostinato.audit import keys, subjects, tables, tree
from ostinato.audit.model import Deed, Leaf, Occasion
from ostinato.audit.model import occasion as current_occasion
from ostinato.audit.settings import Settings
from ostinato.core import hashing
from ostinato.core.clock import Clock
from ostinato.core.errors import Invalid, Unavailable

HEAD = 1
_REASON_CHARACTERS = 4_000
_FACTS = 64
_FACT_CHARACTERS = 1_000


class Sequencer:
    """What writes leaves.

    :meth:`append` is for who changes something and has a connection in a transaction; call it after the rows were
    changed, because the log's head stays locked until the commit.
    """

    def __init__(
        self,
        database: storage.Database,
        clock: Clock,
        notices: storage.Notices | None = None,
        settings: Settings | None = None,
        *,
        secret: bytes = b"",
    ) -> None:
        self.settings = settings or Settings()
        self.settings.check()
        self.database = database
        self.clock = clock
        self.notices = notices
        self.vault = keys.Vault(secret)
        self.appended = 0
        """Leaves that this process has added since its start; some of them may have been rolled back."""

    def append(self, connection: sa.Connection, deed: Deed, occasion: Occasion | None = None) -> int:
        """Write a leaf in the caller's transaction; gives its index, from 0. It stands if and only if that commits.

        ``occasion``: the request it belongs to; by default what :func:`occasion` gives here. Raises ``Invalid`` for a
        reason or facts beyond their bounds.
        """
        return self.append_all(connection, [deed], occasion)[0]

    def append_all(self, connection: sa.Connection, deeds: list[Deed], occasion: Occasion | None = None) -> list[int]:
        """Several leaves at once, in this order."""
        seen = occasion or current_occasion()
        size, frontier = lock(connection)
        now = self.clock.now()
        rows: list[dict[str, object]] = []
        texts: list[dict[str, object]] = []
        completed: list[tuple[int, bytes]] = []
        found: dict[str, tuple[int, bytes]] = {}

        def key_for(subject: str) -> tuple[int, bytes]:
            if subject not in found:
                found[subject] = subjects.key_for(connection, self.vault, subject, now)
            return found[subject]

        for index, deed in enumerate(deeds, size):
            row, reason = _row(index, now, deed, seen, key_for)
            rows.append(row)
            completed += tree.grow(index, frontier, cast("bytes", row["hash"]))
            if reason:
                texts.append({"seq": index, "subject": row["subject"], "reason": reason})
        if not rows:
            return []
        connection.execute(sa.insert(tables.leaf), rows)
        if texts:
            connection.execute(sa.insert(tables.text), texts)
        if completed:
            connection.execute(
                sa.insert(tables.node), [{"place": place, "hash": digest} for place, digest in completed]
            )
        connection.execute(
            sa.update(tables.head)
            .where(tables.head.c.id == HEAD)
            .values(size=size + len(deeds), frontier=tree.pack(frontier))
        )
        self.appended += len(deeds)
        return list(range(size, size + len(rows)))

    async def record(self, deed: Deed) -> int:
        """Write a leaf in a transaction of its own: for what changes nothing here, such as a denied attempt."""
        seen = current_occasion()
        return await self.database.run(lambda connection: self.append(connection, deed, seen))


def _row(
    index: int, now: int, deed: Deed, seen: Occasion, key_for: Callable[[str], tuple[int, bytes]]
) -> tuple[dict[str, object], str]:
    """A leaf as it is stored, and the reason that is kept beside it."""
    reason = _bounded(deed.reason or seen.reason)
    actor, principal = _clean(deed.actor, 255), _clean(deed.principal or seen.principal, 255)
    subject = _clean(deed.subject, 255) or principal or actor
    texts = {
        name: value
        for name, value in (
            ("before", None if deed.before is None else hashing.canonical_json(deed.before)),
            ("after", None if deed.after is None else hashing.canonical_json(deed.after)),
            ("reason", reason.encode() if reason else None),
        )
        if value is not None
    }
    generation, commitments = 0, {}
    if texts:
        generation, key = key_for(subject)
        commitments = {name: keys.commitment(key, index, name, value) for name, value in texts.items()}
    leaf = Leaf(
        index=index,
        at=now,
        actor=actor,
        principal=principal,
        action=_clean(deed.action, 64),
        resource=_clean(deed.resource, 512),
        org=_clean(deed.org or seen.org, 64),
        project=_clean(deed.project, 64),
        outcome=_clean(deed.outcome, 16),
        request_id=_clean(seen.request_id, 128),
        facts=_facts({**deed.facts, **seen.facts}),
        **commitments,
    )
    body = hashing.canonical_json(msgspec.to_builtins(leaf))
    looked_for = ("at", "actor", "principal", "action", "resource", "org", "project", "outcome", "request_id")
    row: dict[str, object] = {
        "seq": index,
        **{name: getattr(leaf, name) for name in looked_for},
        "subject": subject,
        "generation": generation,
        "body": body.decode(),
        "hash": tree.leaf_hash(body),
    }
    return row, reason


def lock(connection: sa.Connection) -> tuple[int, list[bytes]]:
    """The log's size and frontier, locked until the end of the transaction: nobody else appends meanwhile."""
    row = connection.execute(
        sa.select(tables.head.c.size, tables.head.c.frontier).where(tables.head.c.id == HEAD).with_for_update()
    ).first()
    if row is None:
        raise Unavailable("The audit log has lost its head.", code="audit_broken", hint="Restore `control`.")
    return row.size, tree.unpack(row.frontier)


def _clean(text: str, most: int) -> str:
    """Text that any database takes, and not too much of it: it may come from an attempt that is to be written down."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")[:most]


def _bounded(reason: str) -> str:
    if len(reason) > _REASON_CHARACTERS:
        raise Invalid(f"A reason has at most {_REASON_CHARACTERS} characters.", code="reason_too_long", param="reason")
    return _clean(reason, _REASON_CHARACTERS)


def _facts(facts: dict[str, str | int]) -> dict[str, str | int]:
    if len(facts) > _FACTS:
        raise Invalid(f"A leaf holds at most {_FACTS} facts.", code="too_many_facts")
    return {
        _clean(name, 64): _clean(value, _FACT_CHARACTERS) if isinstance(value, str) else value
        for name, value in facts.items()
    }
