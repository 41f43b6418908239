"""Alerts: thresholds that are declared over the API, and looked at again and again on the injected clock.

Any number of processes may look; of one alert only one does at a time, because it first claims the look in the row.
"""

import math
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato import access, audit, storage
from ostinato.access import Actor, Resource, manage, permissions
from ostinato.cases import store, tables
from ostinato.cases.figures import Figure, Figures, Measured
from ostinato.cases.model import Alarm, Alert, Case, Fact, Scope, Standing
from ostinato.cases.settings import Settings
from ostinato.cases.turn import AHEAD
from ostinato.core import ids
from ostinato.core.clock import Clock
from ostinato.core.errors import Conflict, Invalid, LimitReached, NotFound

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_BEYOND: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_SECOND = 1_000_000
_BOUNDS = {
    "window_seconds": (10.0, 7_776_000.0),
    "for_seconds": (0.0, 2_592_000.0),
    "cool_down_seconds": (0.0, 2_592_000.0),
    "min_samples": (0, 1_000_000_000),
}
PREFIX = "alert:"
"""Of the detectors of alarms that come from here."""


class Alerts:
    """Alerts of all projects."""

    def __init__(
        self,
        database: storage.Database,
        clock: Clock,
        log: audit.Log,
        figures: Figures,
        settings: Settings,
    ) -> None:
        self._database = database
        self._clock = clock
        self._log = log
        self._figures = figures
        self._figure: Figure = figures
        self._settings = settings

    async def declare(
        self, actor: Actor, project: str | None, name: str, alert: Alert, version: int | None = None
    ) -> Standing:
        """Declare an alert of ``project``, or another threshold under its name: what it has seen is then forgotten."""
        _check(name, alert)
        home = await self._home(actor, project)
        scope = Scope(org=home.org_id, project=home.id, intent=alert.intent, prompt=alert.prompt)
        permissions.require(actor, "cases:write", Resource(home.id, intent=alert.intent, prompt=alert.prompt))
        await self._figures.check(alert.metric, scope, self._clock.now())
        occasion = audit.occasion()

        def work(connection: sa.Connection) -> Standing:
            old, now = _find(connection, home.id, name, lock=True), self._clock.now()
            if version is not None and version != (old.version if old else 0):
                raise Conflict("The alert has been changed since you looked.", code="version_moved", hint="Look again.")
            if old is None and _count(connection, home.id) >= self._settings.alerts:
                raise LimitReached(
                    f"The project has {self._settings.alerts} alerts.",
                    code="too_many_alerts",
                    hint="Remove some, or raise [cases] alerts.",
                )
            made = Standing(
                id=old.id if old else ids.new(now),
                org=home.org_id,
                project=home.id,
                name=name,
                alert=alert,
                declared_by=access.actor_name(actor),
                declared_at=now,
                alarms=old.alarms if old else 0,
                version=old.version + 1 if old else 1,
            )
            if old is None:
                connection.execute(tables.alert.insert(), _row(made))
            else:
                connection.execute(tables.alert.update().where(tables.alert.c.id == made.id).values(**_row(made)))
            self._write(connection, actor, "declare", old, made, occasion)
            return made

        return await self._database.run(work)

    async def remove(self, actor: Actor, alert_id: str, version: int | None = None) -> None:
        """Forget an alert. Its cases stay."""
        occasion = audit.occasion()

        def work(connection: sa.Connection) -> None:
            old = self._by_id(connection, actor, alert_id, "cases:write", lock=True)
            if version is not None and version != old.version:
                raise Conflict("The alert has been changed since you looked.", code="version_moved", hint="Look again.")
            connection.execute(tables.alert.delete().where(tables.alert.c.id == old.id))
            self._write(connection, actor, "remove", old, None, occasion)

        await self._database.run(work)

    async def show(self, actor: Actor, alert_id: str) -> Standing:
        """One alert. Raises ``NotFound``."""
        return await self._database.read(lambda c: self._by_id(c, actor, alert_id, "cases:read"))

    async def list(
        self, actor: Actor, *, project: str | None = None, state: str = "", after: str = "", limit: int = 100
    ) -> Sequence[Standing]:
        """Alerts that the actor reaches, oldest first."""

        def read(connection: sa.Connection) -> Sequence[Standing]:
            permissions.require(actor, "cases:read")
            table = tables.alert
            query = sa.select(table).where(store.reach(actor, table), table.c.id > after)
            if project:
                query = query.where(table.c.project == manage.find_project(connection, actor, project).id)
            if state:
                query = query.where(table.c.state == state)
            return [_standing(row) for row in connection.execute(query.order_by(table.c.id).limit(limit)).mappings()]

        return await self._database.read(read)

    async def counted(self) -> dict[str, int]:
        """How many alerts of all projects are in each state."""
        state = tables.alert.c.state
        query = sa.select(state, sa.func.count()).group_by(state)
        return await self._database.read(lambda c: {str(name): int(count) for name, count in c.execute(query)})

    # -- looking ---------------------------------------------------------------------------------------------------

    async def look(self) -> Sequence[Alarm]:
        """Look at every alert whose turn it is; gives the alarms that are to be raised."""
        now = self._clock.now()
        due = now - int(0.9 * self._settings.watch_seconds * _SECOND)
        table = tables.alert
        query = (
            sa.select(table)
            .where(sa.or_(table.c.looked_at <= due, table.c.looked_at > now + AHEAD))
            .order_by(table.c.looked_at)
        )
        waiting = await self._database.read(lambda c: [_standing(row) for row in c.execute(query).mappings()])
        found: list[Alarm] = []
        for one in waiting:
            if one.alert.enabled and await self._claim(one):
                alarm = await self._judge(one)
                if alarm is not None:
                    found.append(alarm)
        return found

    async def recheck(self, case: Case, since: int) -> bool | None:
        """Whether the figure of a case's alert has been all right ever since then; ``None``: that cannot be told."""
        name = case.detector.removeprefix(PREFIX)
        one = await self._database.read(lambda c: _find(c, case.project, name))
        if one is None or not one.alert.enabled:
            return None
        now = self._clock.now()
        value, samples = await self._measure(one, max(since, now - int(one.alert.window_seconds * _SECOND)), now)
        if value is None or samples < one.alert.min_samples:
            return None
        return not _BEYOND[one.alert.operator](value, one.alert.threshold)

    async def calm(self, case: Case) -> bool:
        """Whether a case's alert is no alarm any more, over its whole window."""
        name = case.detector.removeprefix(PREFIX)
        one = await self._database.read(lambda c: _find(c, case.project, name))
        return one is None or one.state == "ok"

    async def _claim(self, one: Standing) -> bool:
        """Take the look at an alert, which another process may have done at the same moment."""
        table, now = tables.alert, self._clock.now()

        def work(connection: sa.Connection) -> bool:
            claimed = connection.execute(
                table.update()
                .where(table.c.id == one.id, table.c.looked_at == one.looked_at, table.c.version == one.version)
                .values(looked_at=now)
            )
            return claimed.rowcount == 1

        return await self._database.run(work)

    async def _judge(self, one: Standing) -> Alarm | None:
        alert, now = one.alert, self._clock.now()
        value, samples = await self._measure(one, now - int(alert.window_seconds * _SECOND), now)
        missing = value is None or samples < alert.min_samples
        beyond = (
            alert.missing == "alarm" if missing or value is None else _BEYOND[alert.operator](value, alert.threshold)
        )
        since = min(one.beyond_since or now, now) if beyond else None
        lasting = since is not None and now - since >= alert.for_seconds * _SECOND
        state = "missing" if missing and not lasting else "alarm" if lasting else "pending" if beyond else "ok"
        raised = one.raised_at
        rested = raised is None or raised > now + AHEAD or now - raised >= alert.cool_down_seconds * _SECOND
        again = lasting and rested
        changes: dict[str, Any] = {
            "state": state,
            "value": value,
            "samples": samples,
            "beyond_since": since,
            "raised_at": now if again else one.raised_at,
            "alarms": one.alarms + again,
        }
        table = tables.alert
        query = table.update().where(table.c.id == one.id, table.c.version == one.version).values(**changes)
        stands = await self._database.run(lambda c: c.execute(query).rowcount == 1)
        return self._alarm(one, value, samples, since or now) if again and stands else None

    async def _measure(self, one: Standing, since: int, until: int) -> Measured:
        alert = one.alert
        scope = Scope(org=one.org, project=one.project, intent=alert.intent, prompt=alert.prompt, release=alert.release)
        value, samples = await self._figure(alert.metric, scope, since, until)
        # Something that is no number is nothing that is known.
        return (value if value is not None and math.isfinite(value) else None), samples

    def _alarm(self, one: Standing, value: float | None, samples: int, since: int) -> Alarm:
        alert, now = one.alert, self._clock.now()
        evidence: dict[str, Fact] = {
            "metric": alert.metric,
            "operator": alert.operator,
            "window_seconds": alert.window_seconds,
            "value": value,
            "missing": value is None or samples < alert.min_samples,
        }
        told = "no data" if evidence["missing"] or value is None else f"{value:.4g}"
        return Alarm(
            id=ids.new(now),
            at=now,
            org=one.org,
            project=one.project,
            kind="missing-data" if evidence["missing"] and alert.kind == "threshold" else alert.kind,
            detector=f"{PREFIX}{one.name}",
            title=alert.title or f"{one.name}: {alert.metric} is {told} ({alert.operator} {alert.threshold:g})",
            intent=alert.intent,
            prompt=alert.prompt,
            release=alert.release,
            statistic=value,
            threshold=alert.threshold,
            since=since,
            samples=samples,
            severity=alert.severity,
            evidence=evidence,
        )

    async def _home(self, actor: Actor, project: str | None) -> access.Project:
        return await self._database.read(lambda c: manage.find_project(c, actor, project))

    def _by_id(
        self, connection: sa.Connection, actor: Actor, alert_id: str, permission: str, *, lock: bool = False
    ) -> Standing:
        query = sa.select(tables.alert).where(tables.alert.c.id == alert_id)
        row = None
        if ids.is_id(alert_id):
            row = connection.execute(query.with_for_update() if lock else query).mappings().first()
        if row is None or not store.reaches(actor, row["org"], row["project"]):
            raise NotFound(
                f"There is no alert {alert_id[:80]!r}.",
                code="alert_not_found",
                hint="`ostinato alerts list` shows all.",
            )
        found = _standing(row)
        permissions.require(
            actor, permission, Resource(found.project, intent=found.alert.intent, prompt=found.alert.prompt)
        )
        return found

    def _write(
        self,
        connection: sa.Connection,
        actor: Actor,
        verb: str,
        before: Standing | None,
        after: Standing | None,
        occasion: audit.Occasion,
    ) -> None:
        one = after or before
        assert one is not None
        deed = audit.Deed(
            actor=access.actor_name(actor),
            principal=access.principal_of(actor),
            action=f"alerts:{verb}",
            resource=f"alert:{one.id}",
            org=one.org,
            project=one.project,
            before=None if before is None else msgspec.to_builtins(before.alert),
            after=None if after is None else msgspec.to_builtins(after.alert),
            facts={"version": one.version, "metric": one.alert.metric},
        )
        self._log.append(connection, deed, occasion)


def _check(name: str, alert: Alert) -> None:
    """Raise ``Invalid`` naming what cannot be."""
    if not _NAME.fullmatch(name):
        raise Invalid(
            f"{name[:80]!r} cannot name an alert.",
            param="name",
            hint="Allowed: 1 to 64 characters of a-z, 0-9, dot, dash and underscore.",
        )
    if not math.isfinite(alert.threshold):
        raise Invalid("A threshold is a number.", param="threshold")
    for field, (least, most) in _BOUNDS.items():
        value: float = getattr(alert, field)
        if not (math.isfinite(value) and least <= value <= most):
            raise Invalid(f"It is from {least:g} to {most:g}.", code="invalid_alert", param=field)
    for field in ("metric", "intent", "prompt", "release", "title"):
        text: str = getattr(alert, field)
        if len(text) > 200 or (text and not text.isprintable()):
            raise Invalid("It has up to 200 printable characters.", code="invalid_alert", param=field)


def _find(connection: sa.Connection, project: str, name: str, *, lock: bool = False) -> Standing | None:
    table = tables.alert
    query = sa.select(table).where(table.c.project == project, table.c.name == name)
    row = connection.execute(query.with_for_update() if lock else query).mappings().first()
    return None if row is None else _standing(row)


def _count(connection: sa.Connection, project: str) -> int:
    query = sa.select(sa.func.count()).where(tables.alert.c.project == project)
    return connection.execute(query).scalar() or 0


def _row(one: Standing) -> dict[str, object]:
    return {**msgspec.structs.asdict(one), "alert": msgspec.to_builtins(one.alert)}


def _standing(row: sa.RowMapping) -> Standing:
    return msgspec.convert({name: row[name] for name in Standing.__struct_fields__}, Standing)
