"""What the routes of the control plane name: an object of a tenant for every path parameter, a body for every change.

A new route needs an entry here: the tests of this folder then try it with every role and tenant, and fail by its name
until there is one. Factories make a fresh object each time, so that a route may consume it.
"""

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

sys.path.insert(0, str(Path(__file__).parent))

import governed
import of_cases
import of_datasets
import of_experiments
import of_monitoring
import of_retention
import of_reviews
import of_runs
import of_savings
import of_scorers
import of_triage
import of_updates
import of_webhooks
from control import Plane, Route
from governed import Body, Factory, Made, counted, fixed
from inside import SYSTEM

from ostinato import access, approvals, audit, intents
from ostinato.audit.signing import Signer


async def project(plane: Plane, tenant: str, _: Made) -> str:
    return plane.projects[tenant]


async def key(plane: Plane, tenant: str, _: Made) -> str:
    grant = access.Grant(permissions=frozenset({"chat:call"}), budget=access.MoneyBudget(10**9))
    made, _secret = await plane.app.access.create_key(SYSTEM, "theirs", grant, plane.projects[tenant])
    return made.id


async def request(plane: Plane, tenant: str, _: Made) -> str:
    """A request in the ledger; one for each tenant, as nothing takes it away."""
    if tenant not in plane.requests:
        secret = await plane.key(frozenset({"chat:call"}), tenant)
        before = {row.request_id for row in await plane.world.rows(0)}
        assert (await plane.world.chat(f"of {tenant}", key=secret)).status == 200
        rows = await plane.world.rows(len(before) + 1)
        (plane.requests[tenant],) = {row.request_id for row in rows} - before
    return plane.requests[tenant]


LOW = {"stakes": "low", "title": "Made"}
HIGH = {"stakes": "high", "owner": "somebody"}


async def intent(plane: Plane, tenant: str, _: Made) -> str:
    """An intent of low stakes, of which a change to high stakes waits for approval."""
    name = f"made-{counted(plane)}"
    low, high = ({**body, "project": plane.projects[tenant]} for body in (LOW, HIGH))
    version = await plane.app.declarations.put("intents", name, low, "test")
    change = intents.Change(name, version, high)
    wanted = intents.Wanted.of(change, low, plane.organizations[tenant])
    assert isinstance(await plane.app.intent_changes.make(SYSTEM, wanted), approvals.Request)
    await plane.app.standing.follow("policies")
    return name


def decided(plane: Plane, tenant: str, made: Made) -> Any:
    """A word on the change that waits."""
    change = intents.Change(made["name"], 1, {**HIGH, "project": plane.projects[tenant]})
    return {"digest": change.digest(), "comment": "looked at"}


DECLARED: dict[str, Any] = {
    "models": {"targets": ["fake/plain"]},
    "prices": {"input": 1.0, "output": 1.0},
    "policies": {"ttl": 60.0},
    "rules": {"kind": "pii", "action": "redact"},
}

OF_PROJECTS = frozenset({"models", "policies"})
"""Kinds that may be declared for one project."""


def declaration(kind: str) -> Factory:
    async def make(plane: Plane, tenant: str, _: Made) -> str:
        number = counted(plane)
        await plane.app.declarations.put(kind, f"fake/made-{number}", declared(kind)(plane, tenant, {}), "test")
        return f"fake/made-{number}"

    return make


def declared(kind: str) -> Body:
    def body(plane: Plane, tenant: str, _: Made) -> Any:
        if kind not in OF_PROJECTS:
            return DECLARED[kind]
        return {**DECLARED[kind], "alias": f"alias-{counted(plane)}", "project": plane.projects[tenant]}

    return body


async def principal(plane: Plane, tenant: str, _: Made) -> str:
    made = await plane.app.access.create_principal(
        SYSTEM, f"person-{counted(plane)}", "A person", organization=plane.organizations[tenant]
    )
    return made.id


async def binding(plane: Plane, tenant: str, made: Made) -> str:
    wanted = access.Wanted(principal=await principal(plane, tenant, made), role="service")
    return (await plane.app.access.bind(SYSTEM, wanted)).id


async def glass(plane: Plane, tenant: str, _: Made) -> str:
    secret = await plane.key(frozenset({"breakglass:use"}), tenant)
    caller = plane.app.access.authenticate(secret, plane.world.clock.now())
    return (await plane.app.access.break_glass(caller, "To see whether it ends.", 1)).id


async def leaf(plane: Plane, tenant: str, _: Made) -> str:
    """A leaf of the tenant's organization, which a checkpoint covers."""
    org = plane.organizations[tenant]
    wanted = audit.Deed(actor="system:test", action="tests:write", resource="test:1", org=org, reason="to be seen")
    index = await plane.app.audit.record(wanted)
    await plane.app.audit.checkpoint()
    return str(index)


FACTORIES: dict[str, Factory] = {
    "/audit/leaves/{index:int}": leaf,
    **governed.FACTORIES,
    **of_cases.FACTORIES,
    **of_datasets.FACTORIES,
    **of_experiments.FACTORIES,
    **of_reviews.FACTORIES,
    **of_scorers.FACTORIES,
    **of_monitoring.FACTORIES,
    **of_runs.FACTORIES,
    **of_webhooks.FACTORIES,
    **of_triage.FACTORIES,
    **of_savings.FACTORIES,
    **of_retention.FACTORIES,
    **of_updates.FACTORIES,
    "/signals/{request_id:str}": request,
    "/principals/{ref:str}": principal,
    "/bindings/{ref:str}": binding,
    "/breakglass/{ref:str}": glass,
    "/projects/{ref:str}": project,
    "/keys/{ref:str}": key,
    "/traces/{request_id:str}": request,
    "/explain/{request_id:str}": request,
    "/intents/{name:str}": intent,
    **{f"/{kind}/{{name:path}}": declaration(kind) for kind in DECLARED},
}
"""Path up to and with the parameter (or a whole route, where its object must be in some state) -> what makes it."""


async def bound(plane: Plane, tenant: str, made: Made) -> Any:
    return {"principal": await principal(plane, tenant, made), "role": "service"}


def witnessed(plane: Plane, _tenant: str, _made: Made) -> Any:
    """The first checkpoint of a log that is not known here yet."""
    signer = Signer(f"log-{counted(plane)}.test/audit", bytes(32))
    return {"note": signer.note(1, bytes(32)), "key": signer.verifier}


def outcome(plane: Plane, tenant: str, _made: Made) -> Any:
    """An outcome of a request that nobody made: it is refused by its place, and the answer is 200."""
    return {"outcomes": [{"request_id": "0" * 32, "type": "resolved"}], "project": plane.projects[tenant]}


def what_if(plane: Plane, tenant: str, _made: Made) -> Any:
    return {"project": plane.projects[tenant], "ttl": 60.0}


BODIES: dict[str, Body] = {
    "POST /audit/bundles": fixed({}),
    "POST /what-if": what_if,
    "POST /outcomes": outcome,
    "POST /audit/witnesses": witnessed,
    **governed.BODIES,
    **of_cases.BODIES,
    **of_datasets.BODIES,
    **of_experiments.BODIES,
    **of_reviews.BODIES,
    **of_scorers.BODIES,
    **of_monitoring.BODIES,
    **of_runs.BODIES,
    **of_webhooks.BODIES,
    **of_triage.BODIES,
    **of_savings.BODIES,
    **of_retention.BODIES,
    **of_updates.BODIES,
    "POST /organizations": lambda plane, _t, _m: {"key": f"made-{counted(plane)}", "name": "Made"},
    "POST /projects": lambda plane, tenant, _m: {
        "key": f"made-{counted(plane)}",
        "name": "Made",
        "organization": plane.organizations[tenant],
    },
    "PATCH /projects/{ref:str}": fixed({"name": "Renamed"}),
    "POST /keys": lambda plane, tenant, _m: {
        "name": "made",
        "permissions": ["chat:call"],
        "project": plane.projects[tenant],
    },
    "POST /principals": lambda plane, tenant, _m: {
        "key": f"made-{counted(plane)}",
        "name": "Made",
        "organization": plane.organizations[tenant],
    },
    "PATCH /principals/{ref:str}": fixed({"name": "Renamed"}),
    "POST /bindings": bound,
    "POST /breakglass": fixed({"reason": "The tests need it.", "minutes": 1}),
    "PATCH /keys/{ref:str}": fixed({"name": "Renamed"}),
    "POST /keys/{ref:str}/rotate": fixed({}),
    "POST /cache/invalidations": lambda plane, tenant, _m: {
        "everything": True,
        "dry_run": False,
        "project": plane.projects[tenant],
    },
    "PUT /intents/{name:str}": lambda plane, tenant, _m: {"title": "Changed", "project": plane.projects[tenant]},
    "POST /intents/{name:str}/approve": decided,
    "POST /intents/{name:str}/reject": decided,
    "PUT /models/{name:path}": declared("models"),
    "PUT /policies/{name:path}": declared("policies"),
    # Of everybody, and other than what stands: to declare the same again changes nothing.
    "PUT /prices/{name:path}": lambda plane, _t, _m: {"input": 1.0, "output": 1.0 + counted(plane)},
    "PUT /rules/{name:path}": fixed({"kind": "pii", "action": "block"}),
}
"""Route -> its body. A body that names the tenant is tried with other tenants too: see ``NAMED_IN_BODY``."""

NAMED_IN_BODY = frozenset(
    {
        "POST /prompts",
        "POST /datasets",
        "POST /experiments",
        "POST /prompts/lint",
        "POST /projects",
        "POST /keys",
        "POST /principals",
        "POST /bindings",
        "POST /cache/invalidations",
        "POST /outcomes",
        "POST /what-if",
        *of_cases.NAMED_IN_BODY,
        *of_reviews.NAMED_IN_BODY,
        *of_runs.NAMED_IN_BODY,
        "POST /webhooks",
        *of_triage.NAMED_IN_BODY,
        "POST /savings/costs",
        *of_retention.NAMED_IN_BODY,
        *of_updates.NAMED_IN_BODY,
    }
)
"""Routes without an object in their path that name a tenant in their body."""

EVERYBODYS = tuple(f"/{kind}/" for kind in DECLARED if kind not in OF_PROJECTS)
"""What holds for every organization: seen by all with the permission, changed by who may act everywhere."""

OF_ORGANIZATIONS = ("/savings", "/principals", "/bindings", "/breakglass", "/audit/leaves")
"""What belongs to an organization, not to one of its projects."""

OWN_ORGANIZATION_ONLY = (
    "/savings",
    "/traces",
    "/signals",
    "/cache",
    "/stats",
    "/explain",
    "/kpis",
    "/outcomes",
    "/approvals",
    "/retention",
    "/what-if",
)
"""Where even who may act everywhere sees no other organization than the key's own."""

ALSO: dict[str, frozenset[int]] = {**of_datasets.ALSO, **of_reviews.ALSO}
"""Route -> other answers than 2xx that are right where it is allowed."""

LEAVES: dict[str, int] = {
    **of_cases.LEAVES,
    **of_reviews.LEAVES,
    **of_webhooks.LEAVES,
    **of_triage.LEAVES,
    **of_updates.LEAVES,
    "POST /cache/invalidations": 2,  # what is not in `control`: one leaf intends it, another says what came of it
}
"""Route -> leaves of its change, where that is not one."""

QUERIES: dict[str, Callable[[Plane, str], str]] = {
    **of_cases.QUERIES,
    **of_reviews.QUERIES,
    **of_scorers.QUERIES,
    **of_monitoring.QUERIES,
    **of_triage.QUERIES,
    **of_runs.QUERIES,
    "/prompts": lambda plane, tenant: f"project={plane.projects[tenant]}",
    "/datasets": lambda plane, tenant: f"project={plane.projects[tenant]}",
    "/experiments": lambda plane, tenant: f"project={plane.projects[tenant]}",
    "/labels": lambda plane, tenant: f"project={plane.projects[tenant]}",
    "/prompts/{ref:str}/resolved": lambda plane, tenant: f"project={plane.projects[tenant]}&version=1",
    "/audit/consistency": lambda _plane, _tenant: "from=1&to=2",
    "/prompts/{ref:str}/diff": lambda plane, tenant: f"project={plane.projects[tenant]}&old=1&new=2",
}
"""Beginning of a path -> its query; the longest holds."""

READS: frozenset[str] = frozenset(
    {"POST /prompts/lint", "POST /prompts/{ref:str}/render", "POST /what-if", *of_runs.READS}
)
"""Routes that change nothing although their method could."""


def parameters(route: Route) -> list[tuple[str, str]]:
    """(path up to and with it, its text in the path) of every parameter, from the left."""
    found: list[tuple[str, str]] = []
    walked = ""
    for part in route.path.split("/")[1:]:
        walked += f"/{part}"
        if part.startswith("{"):
            found.append((walked, part))
    return found


async def request_of(plane: Plane, route: Route, tenant: str, *, fresh: bool = True) -> tuple[str, Any]:
    """A path and a body by which the route does something to an object of the tenant.

    ``fresh``: one of its own. Else one that others have looked at, or were refused: enough for who only looks, too.
    """
    made: Made = {}
    path = route.path
    for walked, part in parameters(route):
        factory = FACTORIES.get(f"{route.method} {walked}{route.path[len(walked) :]}") or FACTORIES[walked]
        value = None if fresh else plane.kept.get((tenant, walked, factory, *made.values()))
        if value is None:
            value = await factory(plane, tenant, made)
        if not fresh:
            plane.kept[tenant, walked, factory, *made.values()] = value
        made[part[1:-1].partition(":")[0]] = value
        path = path.replace(part, value, 1)
    begins = max((one for one in QUERIES if route.path.startswith(one)), key=len, default="")
    if begins:
        path += "?" + QUERIES[begins](plane, tenant)
    body = BODIES.get(str(route))
    told = None if body is None else body(plane, tenant, made)
    return path, await told if inspect.isawaitable(told) else told
