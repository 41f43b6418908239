"""The ledger as a store: rows and texts by rule, and whose requests were whose."""

from collections.abc import Awaitable, Callable, Iterable, Mapping

import msgspec
import sqlalchemy as sa

from ostinato.retention.model import Kind, Limit, Swept
from ostinato.retention.ruling import Ruling
from ostinato.retention.stores import Counted, Effort, Subject
from ostinato.retention.walking import walk
from ostinato.storage import Database
from ostinato.traces import forgetting
from ostinato.traces.forgetting import Old, Theirs

_BATCH = 200


class Traffic(msgspec.Struct, frozen=True):
    """A subject's rows, as a search has found them."""

    calls: tuple[Theirs, ...]
    hits: tuple[Theirs, ...]

    def all(self) -> Iterable[Theirs]:
        """Both."""
        yield from self.calls
        yield from self.hits


class Ledger:
    """``call`` and ``hit``. Rollups have no personal data; of them the receipt tells that they stay."""

    name = "ledger"
    tables = ("traces.call", "traces.hit")
    kinds: tuple[Kind, ...] = ("texts", "rows")

    def __init__(self, traces: Database, keys: Callable[[], Awaitable[Mapping[str, str]]]) -> None:
        """``keys``: id of every key -> id of its project."""
        self._traces = traces
        self._keys = keys

    # -- sweeping ------------------------------------------------------------------------------------------------

    async def sweep(self, kind: Kind, ruling: Ruling, effort: Effort) -> Swept:
        """Hits before calls: a hit's project and intent are those of the call that it repeats."""
        keys = await self._keys()
        total = Swept(store=self.name, kind=kind)
        if kind == "rows":
            total = await self._walk("ledger.hit", kind, ruling, effort, keys, of_hits=True)
        calls = await self._walk(f"ledger.call.{kind}", kind, ruling, effort, keys, of_hits=False)
        return msgspec.structs.replace(total.plus(calls), store=self.name)

    async def _walk(
        self, name: str, kind: Kind, ruling: Ruling, effort: Effort, keys: Mapping[str, str], *, of_hits: bool
    ) -> Swept:
        def judge(row: Old) -> tuple[Limit | None, bool]:
            project = keys.get(row.key_id, "") if row.project is None else row.project
            if effort.project and project != effort.project:
                return None, False
            if row.project is None:
                limit = ruling.strictest(kind, project)
            else:
                limit = ruling.limit(kind, project, row.intent or "")
            return limit, ruling.held(project, intent=row.intent, at=row.at, subject=row.subject)

        def look(connection: sa.Connection, since: str, before: int, limit: int) -> list[Old]:
            until = forgetting.bound(before)
            if of_hits:
                return forgetting.hits(connection, since, until, limit)
            return forgetting.calls(connection, since, until, limit, texts=kind == "texts")

        def change(rows: list[Old]) -> Callable[[sa.Connection], int]:
            seqs = [row.seq for row in rows]
            act = forgetting.delete_hits if of_hits else forgetting.delete_calls
            if kind == "texts":
                act = forgetting.empty_calls
            return lambda connection: act(connection, seqs)

        return await walk(
            self._traces,
            name,
            kind,
            ruling,
            effort,
            look=look,
            behind=lambda row: row.request_id,
            begin=forgetting.bound,
            judge=judge,
            change=change,
        )

    # -- somebody ------------------------------------------------------------------------------------------------

    async def search(self, project: str, digest: str, sessions: Iterable[str], requests: Iterable[str]) -> Traffic:
        """Every row of somebody's: by user, by conversation (also those of the user's rows), by request."""
        named = frozenset(sessions)
        calls, hits = await self._scan(project, digest, named)
        talked = {row.session for row in (*calls.values(), *hits.values()) if row.session} - named
        if digest and talked:
            # What was said in the same conversations without naming anybody.
            more_calls, more_hits = await self._scan(project, "", talked)
            calls |= {seq: row for seq, row in more_calls.items() if row.subject in ("", digest)}
            hits |= {seq: row for seq, row in more_hits.items() if row.subject in ("", digest)}
        wanted = sorted(set(requests))
        keys = await self._keys()
        if wanted:
            some = await self._traces.read(lambda c: forgetting.named(c, project, wanted))
            calls |= {row.seq: row for row in some[0]}
            hits |= {row.seq: row for row in some[1]}
        mine = {seq: row for seq, row in hits.items() if keys.get(row.key_id, project) == project}
        return Traffic(tuple(calls.values()), tuple(mine.values()))

    async def _scan(
        self, project: str, digest: str, sessions: frozenset[str] | set[str]
    ) -> tuple[dict[int, Theirs], dict[int, Theirs]]:
        calls: dict[int, Theirs] = {}
        hits: dict[int, Theirs] = {}
        if not digest and not sessions:
            return calls, hits
        last_call, last_hit = await self._traces.read(forgetting.ends)
        for start in range(0, last_call, forgetting.RANGE):
            rows = await self._traces.read(
                lambda c, at=start: forgetting.search_calls(c, at, project, digest, sessions)
            )
            calls |= {row.seq: row for row in rows}
        for start in range(0, last_hit, forgetting.RANGE):
            rows = await self._traces.read(lambda c, at=start: forgetting.search_hits(c, at, digest, sessions))
            hits |= {row.seq: row for row in rows}
        return calls, hits

    async def count(self, subject: Subject, ruling: Ruling) -> Counted:
        """Rows that still tell that they are theirs."""
        found = [row.request_id for row in (await self._theirs(subject)).all()]
        return Counted(len(found), sum(one in subject.held for one in found))

    async def erase(self, subject: Subject, ruling: Ruling) -> None:
        """Rows stay as figures; digests, conversations, ids of the caller's own and texts go."""
        found = await self._theirs(subject)
        for rows, forget in ((found.calls, forgetting.forget_calls), (found.hits, forgetting.forget_hits)):
            seqs = [row.seq for row in rows if row.request_id not in subject.held]
            for start in range(0, len(seqs), _BATCH):
                part = seqs[start : start + _BATCH]
                await self._traces.run(lambda c, act=forget, some=part: act(c, some))

    async def _theirs(self, subject: Subject) -> Traffic:
        # By id: the search that found them went through the whole table.
        return await self.search(subject.project, "", (), subject.requests)
