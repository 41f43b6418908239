"""Costs that the ledger cannot know, and providers' invoices: declared by people, each change with its leaf."""

import datetime
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec
import sqlalchemy as sa

from ostinato import access, audit
from ostinato.access import Actor, Caller, Resource
from ostinato.access.manage import find_project
from ostinato.access.permissions import allows, require
from ostinato.core import hashing, ids, money
from ostinato.core.clock import Clock
from ostinato.core.errors import Invalid, NotFound
from ostinato.savings import tables
from ostinato.savings.model import Cost, Invoice, InvoiceLine, NewCost, NewInvoice
from ostinato.storage import Database

T = TypeVar("T")

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_DAY: Final = 86_400_000_000
MONTH: Final = 365.2425 / 12 * _DAY
"""An average one, microseconds: what is declared per month is spread evenly."""
_MOST_COSTS = 200
_MOST_LINES = 20_000
_TOKENS = ("input", "cache_read", "cache_write", "cache_write_1h", "output", "total")


class Costs:
    """Declared costs and invoices of all organizations; an actor sees those of its own."""

    def __init__(self, database: Database, clock: Clock, log: audit.Log) -> None:
        self._database = database
        self._clock = clock
        self._log = log

    # -- costs ---------------------------------------------------------------------------------------------------

    async def list(self, actor: Caller) -> Sequence[Cost]:
        """Those of the actor's organization and of the projects that it reaches, by name."""
        require(actor, "kpis:read")
        found = await self._database.read(lambda connection: of_org(connection, actor.org))
        everywhere = allows(actor, "projects:write")
        return [one for one in found if everywhere or one.project in ("", actor.project)]

    async def show(self, actor: Caller, name: str) -> Cost:
        """One, by name."""
        found = next((one for one in await self.list(actor) if one.name == name), None)
        if found is None:
            raise _unknown(name)
        return found

    async def declare(self, actor: Caller, declared: NewCost) -> Cost:
        """Declare a cost, or another amount of it. Raises ``Invalid`` telling what cannot be."""
        name, nano = declared.name, _judge(declared)

        def work(connection: sa.Connection, now: int) -> tuple[Cost, audit.Deed]:
            project = _project(connection, actor, declared.project) if declared.project else ""
            require(actor, "savings:write", Resource(project=project))
            before = {one.name: one for one in of_org(connection, actor.org)}
            if name not in before and len(before) >= _MOST_COSTS:
                raise Invalid(f"There are {_MOST_COSTS} declared costs already.", hint="Remove one that is over.")
            last = before.get(name)
            cost = Cost(
                name=name,
                org=actor.org,
                kind=declared.kind,
                nano=nano,
                project=project,
                since=declared.since if declared.since is not None else (last.since if last else now),
                until=declared.until,
                note=declared.note,
                changed_at=now,
                changed_by=access.actor_name(actor),
                version=1 if last is None else last.version + 1,
            )
            if cost.until is not None and cost.until <= cost.since:
                raise Invalid("A cost ends after it begins.", param="until", code="invalid_cost")
            values = msgspec.structs.asdict(cost)
            table = tables.cost
            if last is None:
                connection.execute(table.insert().values(**values))
            else:
                mine = sa.and_(table.c.org == actor.org, table.c.name == name)
                connection.execute(table.update().where(mine).values(**values))
            return cost, self._deed(actor, "costs:declare", f"cost:{name}", project, last, cost, cost.version)

        return await self._change(work)

    async def remove(self, actor: Caller, name: str) -> None:
        """Take a declaration back, as if it had never been; to end a cost, declare ``until``."""

        def work(connection: sa.Connection, now: int) -> tuple[None, audit.Deed]:
            last = next((one for one in of_org(connection, actor.org) if one.name == name), None)
            require(actor, "savings:write", Resource(project=last.project if last else ""))
            if last is None:
                raise _unknown(name)
            table = tables.cost
            connection.execute(table.delete().where(table.c.org == actor.org, table.c.name == name))
            return None, self._deed(actor, "costs:remove", f"cost:{name}", last.project, last, None, last.version)

        await self._change(work)

    # -- invoices ------------------------------------------------------------------------------------------------

    async def hand_in(self, actor: Caller, invoice: NewInvoice) -> Invoice:
        """Keep what a provider billed. The same lines handed in again are the same invoice."""
        lines = _judge_lines(invoice)
        digest = hashing.digest_of([invoice.provider, msgspec.to_builtins(lines)]).hex()
        days = sorted({one.day for one in lines})

        def work(connection: sa.Connection, now: int) -> tuple[Invoice, audit.Deed | None]:
            require(actor, "savings:write")
            table = tables.invoice
            known = connection.execute(
                sa.select(table).where(table.c.org == actor.org, table.c.digest == digest)
            ).mappings()
            for row in known:
                return _invoice(row), None
            values: dict[str, Any] = {
                "id": ids.new(now),
                "org": actor.org,
                "provider": invoice.provider,
                "shape": invoice.shape,
                "digest": digest,
                "since": midnight(days[0]),
                "until": midnight(days[-1]) + _DAY,
                "lines": msgspec.to_builtins(lines),
                "at": now,
                "by": access.actor_name(actor),
            }
            connection.execute(table.insert().values(**values))
            made = _invoice(values)
            return made, self._deed(actor, "invoices:create", f"invoice:{made.id}", "", None, made, made.lines)

        return await self._change(work)

    async def invoices(self, actor: Caller, *, after: str = "", limit: int = 100) -> Sequence[Invoice]:
        """A page of the organization's, oldest first."""
        require(actor, "kpis:read")
        table = tables.invoice
        query = sa.select(table).where(table.c.org == actor.org, table.c.id > after).order_by(table.c.id).limit(limit)
        return await self._database.read(
            lambda connection: [_invoice(row) for row in connection.execute(query).mappings()]
        )

    async def invoice(self, actor: Caller, ref: str) -> tuple[Invoice, tuple[InvoiceLine, ...]]:
        """One with its lines."""
        require(actor, "kpis:read")
        table = tables.invoice
        query = sa.select(table).where(table.c.org == actor.org, table.c.id == ref.replace("\x00", ""))
        rows = await self._database.read(lambda connection: connection.execute(query).mappings().all())
        if not rows:
            raise NotFound(f"There is no invoice {ref[:80]!r}.", code="invoice_not_found")
        return _invoice(rows[0]), msgspec.convert(rows[0]["lines"], tuple[InvoiceLine, ...])

    async def _change(self, work: Callable[[sa.Connection, int], tuple[T, audit.Deed | None]]) -> T:
        occasion = audit.occasion()

        def transaction(connection: sa.Connection) -> T:
            result, deed = work(connection, self._clock.now())
            if deed is not None:
                self._log.append(connection, deed, occasion)
            return result

        return await self._database.run(transaction)

    def _deed(
        self, actor: Actor, action: str, what: str, project: str, before: object, after: object, version: int
    ) -> audit.Deed:
        return audit.Deed(
            actor=access.actor_name(actor),
            principal=access.principal_of(actor),
            action=action,
            resource=what,
            org=actor.org if isinstance(actor, Caller) else "",
            project=project,
            before=before,
            after=after,
            facts={"version": version},
        )


def _project(connection: sa.Connection, actor: Caller, ref: str) -> str:
    """The id of a project of the actor's own organization, even where it may act in others: the cost is its own."""
    found = find_project(connection, actor, ref)
    if found.org_id != actor.org:
        raise NotFound(f"There is no project {ref[:70]!r}.", code="project_not_found", param="project")
    return found.id


def of_org(connection: sa.Connection, org: str) -> list[Cost]:
    """All declared costs of an organization, by name."""
    table = tables.cost
    rows = connection.execute(sa.select(table).where(table.c.org == org).order_by(table.c.name)).mappings()
    return [Cost(**{name: row[name] for name in Cost.__struct_fields__}) for row in rows]


def per_month(cost: Cost, since: int, until: int) -> int:
    """What of a monthly cost falls into a window."""
    start, end = max(cost.since, since), min(cost.until if cost.until is not None else until, until)
    return round(cost.nano * max(0, end - start) / MONTH)


def midnight(day: str) -> int:
    """The beginning of a day ``2026-11-23``, UTC microseconds. Raises ``Invalid``."""
    try:
        found = datetime.datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=datetime.UTC)
    except ValueError:
        raise Invalid(
            f"{day[:40]!r} is no day.", code="invalid_day", param="lines.day", hint="As 2026-11-23."
        ) from None
    return int(found.timestamp()) * 1_000_000


def _judge(declared: NewCost) -> int:
    name = declared.name
    if not _NAME.fullmatch(name):
        hint = "Allowed: 1 to 64 characters of a-z, 0-9, dot, dash and underscore."
        raise Invalid(f"{name[:80]!r} cannot name a cost.", code="invalid_cost", param="name", hint=hint)
    if len(declared.note) > 400 or "\x00" in declared.note:
        raise Invalid("The note has at most 400 characters.", code="invalid_cost", param="note")
    for field in ("since", "until"):
        moment: int | None = getattr(declared, field)
        if moment is not None and not 0 <= moment < 1 << 53:
            raise Invalid(f"{field} is no time.", code="invalid_cost", param=field, hint="UTC microseconds.")
    if not (math.isfinite(declared.dollars) and 0 <= declared.dollars <= 1e9):
        raise Invalid(
            f"{declared.dollars} dollars cannot be.", code="invalid_cost", param="dollars", hint="Allowed: 0 to 1e9."
        )
    try:
        return money.from_dollars(declared.dollars)
    except ValueError:
        raise Invalid(
            f"{declared.dollars} dollars is finer than a nano-dollar.", code="invalid_cost", param="dollars"
        ) from None


def _judge_lines(invoice: NewInvoice) -> tuple[InvoiceLine, ...]:
    """The lines of equal day, model and class added up, in order."""
    if not 0 < len(invoice.lines) <= _MOST_LINES:
        raise Invalid(
            f"An invoice has 1 to {_MOST_LINES} lines; this one has {len(invoice.lines)}.",
            code="invalid_invoice",
            param="lines",
            hint="Hand in a month at a time.",
        )
    if not 0 < len(invoice.provider) <= 255 or not invoice.provider.isprintable():
        raise Invalid("The provider's name cannot be used.", code="invalid_invoice", param="provider")
    if len(invoice.shape) > 32 or not invoice.shape.isprintable():
        raise Invalid("The name of the file's shape cannot be used.", code="invalid_invoice", param="shape")
    found: dict[tuple[str, str, str], list[int | None]] = {}
    for line in invoice.lines:
        midnight(line.day)
        if line.token not in _TOKENS:
            raise Invalid(
                f"{line.token[:40]!r} is no class of tokens.",
                code="invalid_invoice",
                param="lines.token",
                hint=f"Allowed: {', '.join(_TOKENS)}.",
            )
        if len(line.model) > 255 or not line.model.isprintable():
            raise Invalid("The name of a model cannot be used.", code="invalid_invoice", param="lines.model")
        sums = found.setdefault((line.day, line.model, line.token), [None, None])
        for index, value in enumerate((line.tokens, line.nano)):
            if value is None:
                continue
            if not -(1 << 60) < value < 1 << 60:
                raise Invalid("An amount is too large.", code="invalid_invoice", param="lines")
            sums[index] = (sums[index] or 0) + value
    return tuple(
        InvoiceLine(day=day, model=model, token=token, tokens=sums[0], nano=sums[1])
        for (day, model, token), sums in sorted(found.items())
    )


def _invoice(row: Any) -> Invoice:
    names = (name for name in Invoice.__struct_fields__ if name != "lines")
    return Invoice(**{name: row[name] for name in names}, lines=len(row["lines"]))


def _unknown(name: str) -> NotFound:
    return NotFound(f"No cost {name[:80]!r} is declared.", code="cost_not_found", hint="ostinato savings costs list")
