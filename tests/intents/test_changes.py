"""Changes on both engines: at once, or when others have approved exactly this; one leaf each, all or nothing."""

from typing import Any

import pytest
import sqlalchemy as sa

from ostinato import approvals, audit, storage
from ostinato.access import Caller, Resource
from ostinato.audit import tables as audit_tables
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Conflict, Denied, NotFound, Unavailable
from ostinato.intents import Change, Changes, Wanted
from ostinato.storage import Declarations

LOW: dict[str, Any] = {"stakes": "low", "title": "Small talk"}
HIGH: dict[str, Any] = {"stakes": "high", "owner": "care"}
CRITICAL: dict[str, Any] = {"stakes": "critical", "owner": "care"}


def person(name: str, key: str = "") -> Caller:
    return Caller(
        key_id=key or f"key-{name}",
        key_prefix="ost_x",
        org="acme",
        project="p",
        permissions=frozenset({"intents:write", "releases:approve"}),
        principal=f"principal:{name}",
    )


ANN, BOB, CARL = person("ann"), person("bob"), person("carl")


class Place:
    """The rooms on one database, and short ways to ask them."""

    def __init__(self, control: storage.Database, clock: ManualClock) -> None:
        self.database, self.clock = control, clock
        self.notices = storage.Notices()
        self.log = audit.Log(control, clock, secret=b"s" * 32)
        self.allowed: dict[str, bool] = {}
        self.asked: list[tuple[str, str, Resource]] = []
        self.changes = Changes(control, clock, self.notices, self.log, self._may)
        self.declarations = Declarations(control, clock)

    def _may(self, _: storage.Connection, principal: str, org: str, on: Resource) -> bool:
        self.asked.append((principal, org, on))
        return self.allowed.get(principal, True)

    async def standing(self, name: str = "x") -> Any:
        found = {one.name: one for one in await self.declarations.entries("intents")}
        return found.get(name)

    async def make(self, who: Caller, body: Any, name: str = "x") -> Any:
        return await self.changes.make(who, await self.wanted(body, name))

    async def wanted(self, body: Any, name: str = "x") -> Wanted:
        old = await self.standing(name)
        return Wanted.of(Change(name, old.version if old else 0, body), old.body if old else None, "acme")

    async def decide(self, who: Caller, decision: str = "approve", digest: str = "", name: str = "x") -> Any:
        request = await self.changes.waiting(name)
        assert request is not None
        change = Change(**request.body)  # pyright: ignore
        old = await self.standing(name)
        wanted = Wanted.of(change, old.body if old else None, "acme")
        return await self.changes.decide(who, wanted, decision=decision, digest=digest or request.digest, comment="ok")

    async def leaves(self) -> list[tuple[str, str, str]]:
        table = audit_tables.leaf
        query = sa.select(table.c.action, table.c.resource, table.c.principal).order_by(*table.primary_key)
        return [tuple(row) for row in await self.database.read(lambda c: c.execute(query).all())]


@pytest.fixture
def place(control: storage.Database, clock: ManualClock) -> Place:
    return Place(control, clock)


async def test_low_stakes_change_at_once(place: Place) -> None:
    heard: list[str] = []
    place.notices.subscribe("policies", heard.append)
    assert await place.make(ANN, LOW) == 1
    assert await place.make(ANN, {**LOW, "title": "Other"}) == 2
    assert (await place.standing()).body["title"] == "Other"
    assert await place.make(BOB, None) == 0
    assert await place.standing() is None
    assert [action for action, _, _ in await place.leaves()] == ["intents:write", "intents:write", "intents:remove"]
    assert {who for _, _, who in await place.leaves()} == {"principal:ann", "principal:bob"}
    assert heard


@pytest.mark.parametrize(("body", "needed"), [(HIGH, 1), (CRITICAL, 2)])
async def test_high_stakes_wait_for_others(place: Place, body: Any, needed: int) -> None:
    request = await place.make(ANN, body)
    assert isinstance(request, approvals.Request)
    assert (request.needed, request.author, request.kind) == (needed, "principal:ann", "intent")
    assert await place.standing() is None, "nothing stands before it is approved"
    for others in (ANN, person("ann", key="another-key")):
        with pytest.raises(Denied) as told:
            await place.decide(others)
        assert told.value.code == "self_approval"
    with pytest.raises(Conflict) as moved:
        await place.decide(BOB, digest="0" * 64)
    assert moved.value.code == "approval_stale"
    decided = await place.decide(BOB)
    if needed == 2:
        assert decided.state == "open"
        assert (await place.decide(BOB)).state == "open", "nobody counts twice"
        assert await place.standing() is None
        decided = await place.decide(CARL)
    assert decided.state == "done"
    standing = await place.standing()
    assert standing.body == body
    assert await place.changes.waiting("x") is None
    actions = [action for action, _, _ in await place.leaves()]
    assert actions == ["intents:propose", *["intents:approve"] * (1 if needed == 1 else 3)]
    assert all(on == Resource(project="", intent="x") for _, _, on in place.asked)


async def test_lowering_and_removing_wait_too(place: Place) -> None:
    await place.make(ANN, HIGH)
    await place.decide(BOB)
    lowered = await place.make(BOB, LOW)
    assert isinstance(lowered, approvals.Request)
    assert (await place.decide(CARL, "reject")).state == "rejected"
    assert (await place.standing()).body == HIGH
    removal = await place.make(BOB, None)
    assert isinstance(removal, approvals.Request)
    assert (await place.decide(ANN)).state == "done"
    assert await place.standing() is None
    with pytest.raises(Conflict):
        await place.database.run(lambda c: approvals.complete(c, removal.id, now=place.clock.now()))


async def test_one_change_waits_at_a_time(place: Place) -> None:
    first = await place.make(ANN, HIGH)
    with pytest.raises(Conflict) as told:
        await place.make(BOB, CRITICAL)
    assert told.value.code == "change_pending"
    assert first.id in told.value.message
    assert (await place.decide(ANN, "reject")).state == "rejected", "the author may take it back"
    assert isinstance(await place.make(BOB, CRITICAL), approvals.Request)


async def test_an_approval_ends_with_the_right_to_give_it(place: Place) -> None:
    await place.make(ANN, CRITICAL)
    await place.decide(BOB)
    place.allowed["principal:bob"] = False
    assert (await place.decide(CARL)).state == "open", "bob's word does not count any more"
    assert await place.standing() is None
    place.allowed["principal:bob"] = True
    assert (await place.decide(CARL)).state == "done"


async def test_a_request_expires(place: Place) -> None:
    await place.make(ANN, HIGH)
    place.clock.advance(8 * 86_400)
    assert await place.changes.waiting("x") is None
    assert isinstance(await place.make(ANN, HIGH), approvals.Request), "it is asked for anew"


async def test_what_was_changed_meanwhile_voids_the_request(place: Place) -> None:
    await place.make(ANN, LOW)
    request = await place.make(ANN, HIGH)
    await place.make(BOB, {**LOW, "title": "Quicker"})
    with pytest.raises(Conflict) as told:
        await place.decide(CARL)
    assert told.value.code == "declaration_changed"
    found = await place.database.read(lambda c: approvals.find(c, request.id))
    assert found.state == "void", "kept although the answer was an error"
    assert (await place.leaves())[-1][0] == "intents:void"
    assert (await place.standing()).body["title"] == "Quicker"
    with pytest.raises(NotFound):
        await place.changes.decide(CARL, await place.wanted(HIGH), decision="approve", digest=request.digest)


async def test_who_saw_another_version_is_told(place: Place) -> None:
    wanted = await place.wanted(LOW)
    await place.make(BOB, {**LOW, "title": "Quicker"})
    with pytest.raises(Conflict) as told:
        await place.changes.make(ANN, wanted)
    assert told.value.code == "declaration_changed"
    assert len(await place.leaves()) == 1


async def test_the_files_are_not_changed_here(place: Place) -> None:
    await place.declarations.apply("intents", {"x": HIGH}, "config")
    for body in (LOW, None, HIGH):
        with pytest.raises(Conflict) as told:
            await place.make(ANN, body)
        assert told.value.code == "declared_in_configuration"
    assert await place.leaves() == []


async def test_stakes_that_nobody_can_read_count_as_critical(place: Place) -> None:
    await place.declarations.put("intents", "x", {"stakes": "of a later version"}, "test")
    request = await place.make(ANN, LOW)
    assert isinstance(request, approvals.Request)
    assert request.needed == 2


async def test_without_its_leaf_nothing_has_happened(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await place.make(ANN, HIGH)

    def fail(*_: object, **__: object) -> int:
        raise Unavailable("no leaf")

    monkeypatch.setattr(place.log, "append", fail)
    with pytest.raises(Unavailable):
        await place.decide(BOB)
    with pytest.raises(Unavailable):
        await place.make(ANN, LOW, "other")
    request = await place.changes.waiting("x")
    assert request is not None
    assert request.decisions == ()
    assert await place.standing() is None
    assert await place.standing("other") is None
