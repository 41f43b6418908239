"""Objects of changes of models: see ``objects``."""

from typing import Any

from control import Plane
from governed import Body, Factory, Made, counted, person
from inside import SYSTEM

from ostinato import approvals, datasets, prompts, scorers, updating
from ostinato.updating import model, store

NEW: dict[str, object] = {"provider": "fake", "model": "plain", "revision": "2"}
"""The same model, said to be another: its price is known."""


async def planned(plane: Plane, tenant: str, _: Made) -> str:
    """A change that nobody has compared or begun."""
    return (await _made(plane, tenant)).id


async def comparable(plane: Plane, tenant: str, _: Made) -> str:
    """One with a prompt that can be compared."""
    one, home, name = await _made(plane, tenant), plane.projects[tenant], f"made-{counted(plane)}"
    if ("compared", tenant) not in plane.kept:
        plane.kept["compared", tenant] = "made"
        examples = [datasets.NewExample(inputs={"text": f"t{n}"}, reference=f"a{n % 3}") for n in range(80)]
        await plane.app.datasets.create(SYSTEM, "for-updates", project=home, examples=examples)
        version = await plane.app.datasets.version(SYSTEM, "for-updates", project=home)
        await plane.app.datasets.load(version.id)  # marks it as used, which is no change of anybody's
    draft = prompts.Draft(text="Say {{text}}.")
    await plane.app.prompts.create(SYSTEM, home, name, kind="text", draft=draft)
    use = model.Use(prompt=name, number=1, dataset="for-updates", scorers=(scorers.Spec(kind="exact"),), examples=1)
    await plane.app.control.run(lambda c: store.change(c, store.find(c, one.id, lock=True), uses=(use,)))
    return one.id


async def waiting(plane: Plane, tenant: str, _: Made) -> str:
    """One that somebody of the tenant asks others to agree to."""
    one, author = await _made(plane, tenant), await person(plane, tenant, "author")
    now = plane.world.clock.now()

    def ask(connection: Any) -> None:
        request = approvals.open_request(
            connection,
            now=now,
            actor=author,
            kind="update",
            target=one.resource,
            digest=one.bundle(),
            needed=1,
            org=one.org,
            project=one.project,
            expires=now + 10**10,
        )
        found = store.find(connection, one.id, lock=True)
        store.change(connection, found, state="waiting", digest=one.bundle(), request_id=request.id)

    await plane.app.control.run(ask)
    return one.id


async def _made(plane: Plane, tenant: str) -> updating.Update:
    home, alias = plane.projects[tenant], f"alias-{counted(plane)}"
    await plane.world.declare("models", alias, {"targets": ["fake/plain"], "project": home})
    wish = updating.NewUpdate(alias=alias, targets=(NEW,), project=home)
    return await plane.app.governing.updating.plan(SYSTEM, wish)


async def wanted(plane: Plane, tenant: str, _: Made) -> Any:
    home, alias = plane.projects[tenant], f"alias-{counted(plane)}"
    await plane.world.declare("models", alias, {"targets": ["fake/plain"], "project": home})
    return {"alias": alias, "targets": [NEW], "project": home}


async def agreed(plane: Plane, _tenant: str, made: Made) -> Any:
    found = await plane.app.control.read(lambda connection: store.find(connection, made["ref"]))
    return {"digest": found.digest}


async def refused(plane: Plane, tenant: str, made: Made) -> Any:
    return {**await agreed(plane, tenant, made), "comment": "The tests need it."}


FACTORIES: dict[str, Factory] = {
    "/updates/{ref:str}": planned,
    "POST /updates/{ref:str}/run": comparable,
    "POST /updates/{ref:str}/approve": waiting,
    "POST /updates/{ref:str}/reject": waiting,
}

BODIES: dict[str, Body] = {
    "POST /updates": wanted,
    "POST /updates/{ref:str}/run": lambda *_: {"limits": {"nano": 10**9}},
    "POST /updates/{ref:str}/start": lambda *_: {},
    "POST /updates/{ref:str}/approve": agreed,
    "POST /updates/{ref:str}/reject": refused,
    "POST /updates/{ref:str}/abandon": lambda *_: {"reason": "The tests need it."},
}

NAMED_IN_BODY = frozenset({"POST /updates"})

LEAVES = {"POST /updates/{ref:str}/run": 2}
"""A comparison's experiment is a change of its own."""
