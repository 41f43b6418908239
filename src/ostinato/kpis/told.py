"""Figures that other rooms tell: each function here makes a source of what such a room offers, by its shape.

``governing`` binds them. Where a room is not there the figure says so, and is missing.
"""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from ostinato.access import SystemActor
from ostinato.approvals import APPROVE
from ostinato.kpis import changes
from ostinato.kpis.kpis import Kpis, Reviewing, Source
from ostinato.kpis.measuring import dollars, none, share
from ostinato.kpis.model import Reading, Reviewed, Scope
from ostinato.traces import Filter, RequestEvent, Window
from ostinato.traces.rollup import SECOND

WORKFLOW = (
    "first_pass_success",
    "containment",
    "true_containment",
    "resolution_rate",
    "csat",
    "task_success_rate",
    "time_saved",
    "cost_per_success",
)
"""What a use case is worth beside what it costs."""
_SYSTEM = SystemActor("kpis")
_PAGE = 500
_MONTH = 365.2425 / 12 * 86_400 * SECOND


class Explainer(Protocol):
    async def explain(self, actor: SystemActor, request_id: str, within: Filter) -> Any: ...


class Rows(Protocol):
    async def sample(self, window: Window, filters: Filter | None = None, n: int = 20) -> tuple[RequestEvent, ...]: ...


class Scorers(Protocol):
    async def list(
        self, actor: SystemActor, *, project: str | None = None, after: str = "", limit: int = 100
    ) -> Sequence[Any]: ...

    async def calibrated(self, project_id: str, name: str, version: str) -> Any: ...


Projects: TypeAlias = Callable[[str], Awaitable[Sequence[tuple[str, str]]]]
"""Organization -> id and short name of each of its projects."""


class Checkpoint(Protocol):
    @property
    def at(self) -> int: ...


class Account(Protocol):
    @property
    def net(self) -> int: ...

    @property
    def gross(self) -> int: ...

    @property
    def overheads(self) -> int: ...


class Quality(Protocol):
    @property
    def n_new(self) -> int: ...

    @property
    def n_old(self) -> int: ...

    @property
    def low(self) -> float: ...

    @property
    def high(self) -> float: ...

    @property
    def mean(self) -> float: ...

    @property
    def margin(self) -> float: ...


class Payback(Protocol):
    @property
    def spent(self) -> int: ...

    @property
    def saved_per_day(self) -> float: ...

    @property
    def days(self) -> float | None: ...


def within(scope: Scope) -> Filter:
    """The scope as rooms of the ledger take it."""
    return Filter(
        org=scope.org,
        project=scope.project,
        intent=scope.intent,
        prompt=scope.prompt,
        release=scope.release,
        arm=scope.arm,
    )


def scope_of(filters: Filter) -> Scope:
    """The other way round; what figures cannot be cut by is left out."""
    return Scope(
        org=filters.org,
        project=filters.project,
        intent=filters.intent,
        prompt=filters.prompt,
        release=filters.release,
        arm=filters.arm,
    )


# -- what can be accounted for -----------------------------------------------------------------------------------


def auditability(rows: Rows, explainer: Explainer, sampled: int) -> Source:
    """Answers of the window that can be reconstructed whole, of at most ``sampled``, evenly over its time."""

    async def read(scope: Scope, window: Window) -> Reading:
        filters = within(scope)
        chosen = await rows.sample(window, filters, sampled)
        reasons: dict[str, int] = {}
        whole = 0
        for row in chosen:
            lacking = _lacking(row, await explainer.explain(_SYSTEM, row.request_id, filters))
            whole += not lacking
            for one in lacking:
                reasons[one] = reasons.get(one, 0) + 1
        return share(whole, len(chosen), 0.95, "no answer of this window was found", {"lacking": reasons})

    return read


def _lacking(row: RequestEvent, told: Any) -> list[str]:
    """What of an explanation is missing that should be there: not what there never was."""
    found: list[str] = []
    if told.input is None:
        found.append("input")
    if told.target is None:
        found.append("target")
    if row.origin and told.cache.origin is None:
        found.append("cache.origin")
    if row.prompt:
        found += [name for name, part in (("prompt", told.prompt), ("audit", told.audit)) if part is None]
        found += [name for name in ("audit.leaves", "audit.proof") if name in told.absent]
    if row.release and told.release is None:
        found.append("release")
    elif row.release:
        approved = sum(one.decision == APPROVE and one.bound for one in told.release.approvals)
        if approved < told.release.approvals_needed:
            found.append("approvals")
    return found


def audit_freshness(newest: Callable[[], Awaitable[Checkpoint | None]], now: Callable[[], int]) -> Source:
    """Seconds since the audit log was signed last."""

    async def read(_scope: Scope, _window: Window) -> Reading:
        found = await newest()
        if found is None:
            return none("the audit log has no checkpoint yet")
        return Reading(value=max(0.0, (now() - found.at) / SECOND), n=1)

    return read


def judge_reliability(scorers: Scorers, projects: Projects) -> Source:
    """The lowest kappa against people of the judges that have been held against them; of all projects of the
    organization, where none is named."""

    async def read(scope: Scope, _window: Window) -> Reading:
        found: dict[str, Any] = {}
        for place, named in await places(scope, projects):
            for one in await scorers.list(_SYSTEM, project=place, limit=_PAGE):
                held = await scorers.calibrated(place, one.name, one.version)
                if held is not None:
                    found[f"{named}{one.name}"] = held.result
        if not found:
            return none("no judge has been held against people")
        worst = min(found, key=lambda name: found[name].kappa)
        result = found[worst]
        detail = {
            "judge": worst,
            "calibration_error": result.brier,
            "all": {name: one.kappa for name, one in found.items()},
        }
        return Reading(value=result.kappa, n=result.n, low=result.low, high=result.high, detail=detail)

    return read


async def places(scope: Scope, projects: Projects) -> Sequence[tuple[str, str]]:
    """Projects of a scope: the id, and what names of things in it begin with."""
    if scope.project:
        return [(scope.project, "")]
    return [(one, f"{key}/") for one, key in await projects(scope.org)]


# -- money -------------------------------------------------------------------------------------------------------


def accounted(account: Callable[[Window, Filter], Awaitable[Account]]) -> Source:
    """Net saving as the ledger accounts for it, dollars."""

    async def read(scope: Scope, window: Window) -> Reading:
        found = await account(window, within(scope))
        detail = {"gross": dollars(found.gross), "overheads": dollars(found.overheads)}
        return Reading(value=dollars(found.net), n=1, detail=detail)

    return read


def held_out(holdout: Callable[[Window, Filter], Awaitable[Any]], which: str) -> Source:
    """What the hold-out says: ``saving`` in dollars, ``error_reduction``, or the ``ratio`` accounted / hold-out."""

    async def read(scope: Scope, window: Window) -> Reading:
        found = await holdout(window, within(scope))
        n = int(found.held.requests) + int(found.treated.requests)
        if which == "ratio":
            if found.ratio is None:
                return none(found.why or "the hold-out cannot tell")
            return Reading(value=found.ratio, n=n, low=found.ratio_low, high=found.ratio_high)
        interval = getattr(found, which)
        if interval is None:
            return none(found.why or "the hold-out cannot tell")
        scale = 1e-9 if which == "saving" else 1.0
        return Reading(value=interval.mean * scale, n=n, low=interval.low * scale, high=interval.high * scale)

    return read


def noninferiority(qualities: Callable[[Window, Filter], Awaitable[Sequence[Quality | None]]]) -> Source:
    """Quality of new releases less that of the ones before: of the release whose lower bound is the lowest."""

    async def read(scope: Scope, window: Window) -> Reading:
        found = await qualities(window, within(scope))
        known = [one for one in found if one is not None]
        if not found:
            return none("no release replaced another in this window")
        if not known:
            return none("no signal of quality tells a release and the one before apart", {"releases": len(found)})
        worst = min(known, key=lambda one: one.low)
        detail = {
            "margin": worst.margin,
            "holds": worst.low > -worst.margin,
            "releases": len(found),
            "hold": sum(one.low > -one.margin for one in known),
        }
        n = worst.n_new + worst.n_old
        return Reading(value=worst.mean, n=n, low=worst.low, high=worst.high, detail=detail)

    return read


def paid_back(payback: Callable[[Window, Filter], Awaitable[Payback]]) -> Source:
    """Days until what was spent on optimization in the window is saved by what was released."""

    async def read(scope: Scope, window: Window) -> Reading:
        found = await payback(window, within(scope))
        detail = {"spent": dollars(found.spent), "saved_per_day": found.saved_per_day * 1e-9}
        if not found.spent:
            return none("nothing was spent on optimization in this window", detail)
        if found.days is None:
            return none("never at this rate: no release saves anything that counts", detail)
        return Reading(value=found.days, n=1, detail=detail)

    return read


def operating(declared: Callable[[Window, Filter], Awaitable[Mapping[str, int]]], monthly: float | None) -> Source:
    """What is declared, by kind, for the window's part of the month; ``monthly``: dollars, of the configuration."""

    async def read(scope: Scope, window: Window) -> Reading:
        found = {kind: dollars(nano) for kind, nano in (await declared(window, within(scope))).items()}
        if monthly is not None:
            found["configured"] = monthly * (window.until - window.since) / _MONTH
        if not found:
            return none("no cost is declared: ostinato savings costs set NAME --kind infrastructure --dollars AMOUNT")
        return Reading(value=math.fsum(found.values()), n=1, detail=found)

    return read


def reviewing(
    spent: Callable[[Window, Filter, int], Awaitable[Sequence[tuple[int, str, str, float, int | None]]]],
) -> Reviewing:
    """Reviewers' time, in dollars: (bucket, intent, prompt, seconds, nano-dollars) each."""

    async def read(scope: Scope, window: Window, seconds: int) -> list[Reviewed]:
        found = await spent(window, within(scope), seconds)
        return [Reviewed(*one[:4], None if one[4] is None else dollars(one[4])) for one in found]

    return read


def bind(
    room: Kpis,
    *,
    releases: changes.Releases,
    ways: changes.Ways,
    answered: changes.Answered,
    rows: Rows,
    explainer: Explainer,
    scorers: Scorers,
    projects: Projects,
    newest: Callable[[], Awaitable[Checkpoint | None]],
    now: Callable[[], int],
) -> None:
    """Bind what the rooms of a process tell that are always there."""
    room.marking = changes.marking(releases)
    room.bind("change_failure_rate", changes.failures(releases))
    room.bind("rollback_time", changes.rollback_times(releases, answered))
    room.bind("improvement_cycle_time", changes.cycle_times(releases, ways))
    room.bind("auditability", auditability(rows, explainer, room.settings.audited))
    room.bind("audit_freshness", audit_freshness(newest, now))
    room.bind("judge_reliability", judge_reliability(scorers, projects))


def bind_savings(
    room: Kpis,
    account: Callable[[Window, Filter], Awaitable[Account]],
    holdout: Callable[[Window, Filter], Awaitable[Any]],
    qualities: Callable[[Window, Filter], Awaitable[Sequence[Quality | None]]],
    payback: Callable[[Window, Filter], Awaitable[Payback]],
    declared: Callable[[Window, Filter], Awaitable[Mapping[str, int]]],
) -> None:
    """Bind what savings tell."""
    room.bind("operating_cost", operating(declared, room.settings.operating_cost))
    room.bind("quality_noninferiority", noninferiority(qualities))
    room.bind("optimization_payback", paid_back(payback))
    room.bind("accounted_saving", accounted(account))
    room.bind("holdout_saving", held_out(holdout, "saving"))
    room.bind("saving_ratio", held_out(holdout, "ratio"))
    room.bind("error_reduction", held_out(holdout, "error_reduction"))
