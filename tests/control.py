"""The control plane inside the test's own process, from its route table: for tests that go through every route.

``async with opened() as plane`` gives two organizations, ``acme`` (projects ``main`` and ``side``) and ``beta``
(project ``main``), on the real ``App``, called over ASGI. ``ROUTES`` is what the server itself serves.
"""

import contextlib
import copy
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import litestar
import msgspec
import sqlalchemy as sa
from litestar.datastructures import State

sys.path.insert(0, str(Path(__file__).parent))

from inside import BASE, SYSTEM, World, inside

from ostinato import access
from ostinato.audit import tables as audit_tables
from ostinato.web import api
from ostinato.web.api import application
from ostinato.web.api.application import HANDLERS
from ostinato.web.api.guarding import ANY_KEY, PERMISSION
from ostinato.web.operations import Operations


class Route(msgspec.Struct, frozen=True, order=True):
    """One method of one path."""

    method: str
    path: str
    """Below ``/api/v1``, with its parameters."""
    permission: str

    @property
    def changes(self) -> bool:
        return self.method not in ("GET", "HEAD")

    def allowed(self, permissions: frozenset[str]) -> bool:
        return self.permission == ANY_KEY or self.permission in permissions

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


ROUTES = sorted(
    Route(str(method), path, str(handler.opt[PERMISSION]))
    for handler in HANDLERS
    for path in handler.paths
    for method in handler.http_methods
)

TENANTS = ("acme/main", "acme/side", "beta/main")
"""The caller's own project; another of its organization; one of somebody else's."""


_routes: dict[str, litestar.Litestar] = {}


def control_plane(app: Any) -> Any:
    """What ``api.build`` gives; its table of 450 routes, the same for all, is made once in a test process."""

    def once(routes: Any, *, state: State, **options: Any) -> litestar.Litestar:
        if "made" not in _routes:
            _routes["made"] = litestar.Litestar(routes, state=State(), **options)
        mine = copy.copy(_routes["made"])
        mine.state = state
        return mine

    real, application.Litestar = application.Litestar, once  # pyright: ignore
    try:
        return api.build(app)
    finally:
        application.Litestar = real  # pyright: ignore


class Plane:
    """The control plane over its tenants."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.app = world.app
        self.asgi = Operations(world.app, control_plane(world.app), loopback=False)
        transport = httpx.ASGITransport(self.asgi)  # pyright: ignore
        self.client = httpx.AsyncClient(transport=transport, base_url="http://ostinato")
        self.projects: dict[str, str] = {}
        """Tenant -> id of the project."""
        self.organizations: dict[str, str] = {}
        """Tenant -> id of the organization."""
        self.numbers = 0
        self.requests: dict[str, str] = {}
        """Tenant -> id of a request in the ledger."""
        self.people: dict[tuple[str, str], access.Caller] = {}
        """Who does something in a tenant, by what they are for."""
        self.kept: dict[Any, str] = {}
        """Objects that nothing has been done to."""

    async def prepare(self) -> None:
        for organization in ("acme", "beta"):
            made = await self.app.access.create_organization(SYSTEM, organization, organization)
            for tenant in TENANTS:
                if tenant.startswith(organization):
                    project = await self.app.access.create_project(
                        SYSTEM,
                        tenant.partition("/")[2],
                        tenant,
                        organization=organization,
                        budget=access.MoneyBudget(10**12),
                    )
                    self.projects[tenant], self.organizations[tenant] = project.id, made.id

    async def key(self, permissions: frozenset[str], tenant: str = TENANTS[0], **grant: Any) -> str:
        """The secret of a new key."""
        wanted = access.Grant(permissions=permissions, **grant)
        _, secret = await self.app.access.create_key(SYSTEM, "a key", wanted, self.projects[tenant])
        return secret

    async def call(
        self, method: str, path: str, body: Any = None, key: str | None = None, **headers: str
    ) -> httpx.Response:
        """Ask; an error must be a problem document of the one shape."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["authorization"] = f"Bearer {key}"
        reply = await self.client.request(method, f"/api/v1{path}", json=body, headers=sent)
        assert reply.headers["x-request-id"], (method, path)
        if reply.status_code >= 400:
            judged(reply)
        return reply

    async def leaves(self) -> list[dict[str, Any]]:
        """Every leaf of the audit log, with its facts."""
        query = sa.select(audit_tables.leaf).order_by(*audit_tables.leaf.primary_key)
        rows = await self.app.control.read(lambda c: [dict(row) for row in c.execute(query).mappings()])
        for row in rows:
            row["facts"] = msgspec.json.decode(row["body"]).get("facts", {})
        return rows

    async def state(self, *leave: str) -> dict[str, list[Any]]:
        """Every row of ``control`` but what tells of requests rather than of the state."""
        apart = {"kept_answer", "notice", "budget_lease", "budget_period", *leave}
        apart |= {"retention_lease", "retention_mark", "retention_sweep"}  # it sweeps by itself

        def work(connection: sa.Connection) -> dict[str, list[Any]]:
            names = [name for name in sa.inspect(connection).get_table_names() if name not in apart]
            return {
                name: sorted(map(repr, connection.exec_driver_sql(f'SELECT * FROM "{name}"').all()))
                for name in names
                if not name.startswith("alembic")
            }

        return await self.app.control.read(work)


def judged(reply: httpx.Response) -> Any:
    """The problem document of a reply, whose shape is always the same."""
    assert reply.headers["content-type"] == "application/problem+json"
    told = reply.json()
    assert set(told) <= {"type", "title", "status", "detail", "code", "hint", "param"}
    assert told["status"] == reply.status_code
    assert told["type"] == f"urn:ostinato:{told['code']}"
    assert len(told["detail"]) > 5
    assert "Traceback" not in reply.text
    assert reply.status_code != 500, told
    return told


P = TypeVar("P", bound=Plane)


@contextlib.asynccontextmanager
async def opened(extra: str = "", *, kind: type[P] = Plane, **options: Any) -> AsyncIterator[P]:
    base = BASE.replace("[models.", "[models.file-").replace("file-plain]", "plain]")
    async with inside(extra, base=base, **options) as world:
        plane = kind(world)
        await plane.prepare()
        yield plane
        await plane.client.aclose()
