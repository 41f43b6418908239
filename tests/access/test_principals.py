"""People, services and their bindings through the door, on both engines: who may set what, and when it holds."""

import asyncio

import msgspec
import pytest
import sqlalchemy as sa

from ostinato import audit, storage
from ostinato.access import (
    Access,
    Caller,
    Grant,
    KeyChanges,
    PrincipalChanges,
    Resource,
    SystemActor,
    Wanted,
    bindings,
    principal_of,
)
from ostinato.access.permissions import ALL, ROLES, allows
from ostinato.audit import tables as audit_tables
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Conflict, Denied, Invalid, LimitReached, NotFound, OstinatoError, Unavailable

HOUR = 3_600_000_000


async def key(
    door: Access, clock: ManualClock, maker: Caller, permissions=ALL, principal=None, **grant
) -> tuple[str, Caller]:
    _, secret = await door.create_key(maker, "a key", Grant(permissions=permissions, **grant), principal=principal)
    return secret, door.authenticate(secret, clock.now())


def leaves(database: storage.Database) -> list[dict]:
    table = audit_tables.leaf
    bodies = database.query(lambda c: c.scalars(sa.select(table.c.body).order_by(table.c.hash.is_(None))).all())
    return sorted((msgspec.json.decode(body) for body in bodies), key=lambda leaf: leaf["index"])


async def refused(attempt, kind=Denied, code="exceeds_creator") -> OstinatoError:
    with pytest.raises(kind) as caught:
        await attempt
    assert caught.value.code == code, caught.value
    return caught.value


async def test_a_person_from_first_to_last(door: Access, owner: Caller, clock: ManualClock):
    ana = await door.create_principal(owner, "ana", "Ana Lima")
    assert (ana.kind, ana.governed, ana.disabled_at, ana.version) == ("person", False, None, 1)
    await refused(door.create_principal(owner, "ana", "Another"), Conflict, "name_taken")
    clock.advance(1)  # ids of one moment are in no order
    bot = await door.create_principal(owner, "bot", "Bot", "service")
    assert [p.key for p in await door.list_principals(owner)] == ["ana", "bot"]
    assert [p.key for p in await door.list_principals(owner, kind="service")] == ["bot"]
    assert [p.key for p in await door.list_principals(owner, after=ana.id, limit=1)] == ["bot"]
    secret, caller = await key(door, clock, owner, ROLES["prompt-editor"], "ana")
    assert principal_of(caller) == f"principal:{ana.id}" and caller.permissions == ROLES["prompt-editor"]
    renamed = await door.update_principal(owner, "ana", PrincipalChanges(name="Ana L."), version=1)
    assert renamed.name == "Ana L." and renamed.version == 2
    await refused(door.update_principal(owner, "ana", PrincipalChanges(name="x"), version=1), Conflict, "version_moved")
    disabled = await door.update_principal(owner, ana.id, PrincipalChanges(disabled=True))
    assert disabled.disabled_at == clock.now()
    with pytest.raises(Denied) as told:
        door.authenticate(secret, clock.now())
    assert told.value.code == "principal_disabled" and not told.value.authenticated
    await refused(door.create_key(owner, "x", principal="ana"), Conflict, "principal_disabled")
    await refused(door.bind(owner, Wanted(principal="ana", role="service")), Conflict, "principal_disabled")
    assert (await door.update_principal(owner, "ana", PrincipalChanges(disabled=True))).version == disabled.version
    await door.update_principal(owner, "ana", PrincipalChanges(disabled=False))
    assert door.authenticate(secret, clock.now()).permissions == caller.permissions
    assert (await door.show_principal(owner, bot.id)).kind == "service"


async def test_a_disabled_person_stops_everywhere_within_two_seconds(
    open_door, clock: ManualClock, control: storage.Database
):
    if control.dialect == "sqlite":
        pytest.skip("an embedded server is one process")
    here, there = await open_door(), await open_door()
    _, _, secret = await here.first_start()
    owner = here.authenticate(secret, clock.now())
    await here.create_principal(owner, "ana", "Ana")
    own, ana = await key(here, clock, owner, ROLES["operator"], "ana")
    _, made_secret = await here.create_key(ana, "by ana")
    await here.create_principal(owner, "bot", "Bot", "service")
    theirs = (await here.create_key(owner, "of the service", principal="bot"))[1]
    async with asyncio.timeout(2):
        while True:
            try:
                for one in (own, made_secret, theirs):
                    there.authenticate(one, clock.now())
                break
            except Denied:
                await asyncio.sleep(0.02)
    await here.update_principal(owner, "ana", PrincipalChanges(disabled=True))
    async with asyncio.timeout(2):
        for one in (own, made_secret):
            while True:
                try:
                    there.authenticate(one, clock.now())
                    await asyncio.sleep(0.02)
                except Denied as denied:
                    assert denied.code == "principal_disabled"
                    break
    assert there.authenticate(theirs, clock.now()), "what was made in another's name goes on"


async def test_what_is_bound_holds_at_once_and_ends_in_time(door: Access, owner: Caller, clock: ManualClock):
    await door.create_principal(owner, "ana", "Ana")
    secret, _ = await key(door, clock, owner, ALL, "ana")
    _, child = await door.create_key(door.authenticate(secret, clock.now()), "child", Grant(permissions=ALL))

    def may(token: str = secret) -> frozenset[str]:
        return door.authenticate(token, clock.now()).permissions

    bound = await door.bind(owner, Wanted(principal="ana", role="prompt-editor"))
    assert may() == may(child) == ROLES["prompt-editor"]
    assert (await door.show_principal(owner, "ana")).governed
    denied = await door.bind(
        owner,
        Wanted(principal="ana", effect="deny", permissions=frozenset({"labels:move"}), label="production"),
    )
    editor = door.authenticate(child, clock.now())
    assert allows(editor, "labels:move", Resource(project=owner.project, label="staging"))
    assert not allows(editor, "labels:move", Resource(project=owner.project, label="production"))
    soon = await door.bind(owner, Wanted(principal="ana", role="analyst", expires_at=clock.now() + HOUR))
    assert may() == ROLES["prompt-editor"] | ROLES["analyst"]
    assert {b.id for b in door.bound(editor)} == {bound.id, denied.id, soon.id}
    clock.advance(3600)
    assert may() == may(child) == ROLES["prompt-editor"]
    await door.unbind(owner, bound.id)
    assert may() == frozenset(), "the last one gone: nothing, not everything"
    assert {b.id for b in await door.list_bindings(owner, principal="ana")} == {denied.id, soon.id}
    await door.unbind(owner, denied.id)
    await refused(door.unbind(owner, denied.id), NotFound, "binding_not_found")


async def test_what_ends_with_time_ends_without_the_database(
    door: Access, owner: Caller, clock: ManualClock, monkeypatch
):
    await door.create_principal(owner, "ana", "Ana")
    secret, _ = await key(door, clock, owner, ALL, "ana")
    await door.bind(owner, Wanted(principal="ana", role="owner", expires_at=clock.now() + HOUR))
    helper, _ = await key(door, clock, owner, frozenset({"breakglass:use"}))
    await door.break_glass(door.authenticate(helper, clock.now()), "The database is about to go.", 60)

    async def gone(*_):
        raise Unavailable("The database is gone.")

    monkeypatch.setattr(door._database, "read", gone)
    await door.snapshot.reload()
    assert door.snapshot.failing
    assert door.authenticate(secret, clock.now()).permissions == ALL
    assert len(door.authenticate(helper, clock.now()).permissions) > 1 and len(door.glasses()) == 1
    clock.advance(3600)
    assert door.authenticate(secret, clock.now()).permissions == frozenset()
    assert door.authenticate(helper, clock.now()).permissions == {"breakglass:use"} and not door.glasses()


async def test_nobody_binds_or_frees_beyond_their_own_rights(door: Access, owner: Caller, clock: ManualClock):
    for name in ("keeper", "ana"):
        await door.create_principal(owner, name, name)
    held = (ROLES["prompt-editor"] - {"labels:move"}) | {"roles:write", "roles:read", "projects:write", "labels:move"}
    _, keeper = await key(door, clock, owner, held, "keeper")
    for wanted in (
        Wanted(principal="ana", role="owner"),
        Wanted(principal="ana", role="approver"),
        Wanted(principal="keeper", role="operator"),
        Wanted(principal="ana", permissions=frozenset({"releases:approve"}), label="staging"),
        Wanted(principal="ana", effect="deny", role="owner"),
    ):
        await refused(door.bind(keeper, wanted))
    mine = await door.bind(keeper, Wanted(principal="ana", role="prompt-editor"))
    theirs = await door.bind(owner, Wanted(principal="ana", role="approver"))
    await refused(door.unbind(keeper, theirs.id))
    await door.unbind(keeper, mine.id)
    # Limited by a denial, or to some labels: so is what it binds, and it cannot free itself.
    denied = await door.bind(
        owner, Wanted(principal="keeper", effect="deny", permissions=frozenset({"labels:move"}), label="production")
    )
    keeper = door.authenticate((await key(door, clock, owner, held, "keeper"))[0], clock.now())
    move = frozenset({"labels:move"})
    for on in ({}, {"label": "production"}, {"label": "prod*"}, {"prompt": "hello"}):
        await refused(door.bind(keeper, Wanted(principal="ana", permissions=move, **on)))
    await refused(door.unbind(keeper, denied.id))
    await door.bind(keeper, Wanted(principal="ana", permissions=move, label="staging"))
    # A key that belongs to one project binds in that one only.
    _, local = await key(door, clock, owner, held - {"projects:write"})
    other = await door.create_project(owner, "other", "Other")
    for on in ({}, {"project": other.id}):
        await refused(
            door.bind(local, Wanted(principal="ana", role="service", **on)),
            OstinatoError,
            *(["project_not_found"] if on else []),
        )
    await door.bind(local, Wanted(principal="ana", permissions=frozenset({"chat:call"}), project="default"))


async def test_only_with_the_right_to_is_a_key_made_in_anothers_name(door: Access, owner: Caller, clock: ManualClock):
    for name in ("ana", "bob"):
        await door.create_principal(owner, name, name)
    _, ana = await key(door, clock, owner, ROLES["operator"] | {"releases:approve", "datasets:text"}, "ana")
    bobs, bob = await key(door, clock, owner, ROLES["prompt-editor"], "bob")
    await refused(door.create_key(ana, "as bob", principal="bob"), code="foreign_principal")
    await refused(door.rotate_key(ana, bob.key_id), code="foreign_principal")
    assert principal_of((await key(door, clock, ana, ROLES["service"], "ana"))[1]) == principal_of(ana)
    await refused(door.create_key(owner, "x", principal="nobody"), NotFound, "principal_not_found")
    # Who may: but never beyond its own rights.
    _, registrar = await key(door, clock, owner, ROLES["prompt-editor"] | {"keys:write", "principals:write"})
    await refused(
        door.create_key(registrar, "as bob", Grant(permissions=frozenset({"releases:approve"})), principal="bob")
    )
    secret, made = await key(door, clock, registrar, ROLES["prompt-editor"], "bob")
    assert principal_of(made) == principal_of(bob)
    new, secret = await door.rotate_key(registrar, made.key_id)
    assert (
        principal_of(door.authenticate(secret, clock.now())) == principal_of(bob)
        and new.principal == bob.principal[10:]
    )
    # A key without a name that only calls models may be replaced; one that decides something may not.
    await door.create_organization(owner, "else", "Else")
    system = SystemActor("test")
    for permissions, code in ((ROLES["service"], ""), (ROLES["prompt-editor"], "foreign_principal")):
        other, _ = await door.create_key(system, "other", Grant(permissions=permissions), owner.project)
        if code:
            await refused(door.rotate_key(ana, other.id), code=code)
        else:
            await door.rotate_key(ana, other.id)
            # Nor does it come to decide something afterwards, in the name of who made it, for who knows its secret.
            new, _ = await door.create_key(system, "another", Grant(permissions=permissions), owner.project)
            more = KeyChanges(permissions=permissions | {"releases:approve"})
            await refused(door.update_key(ana, new.id, more), code="foreign_principal")
            await door.update_key(ana, new.id, KeyChanges(permissions=frozenset({"chat:call"})))
            own, _ = await door.create_key(ana, "ana's own", Grant(permissions=permissions))
            assert (await door.update_key(ana, own.id, more)).permissions == more.permissions
            await door.update_key(owner, new.id, more)
    assert door.authenticate(bobs, clock.now()), "nothing of this touched bob's own"
    abroad = await door.create_principal(owner, "eve", "Eve", organization="else")
    await refused(door.create_key(owner, "x", principal=abroad.id), Invalid, "foreign_principal")


async def test_who_is_bound_to_one_project_gets_nothing_of_the_whole_organization(
    door: Access, owner: Caller, clock: ManualClock
):
    await door.create_principal(owner, "ana", "Ana")
    await door.create_principal(owner, "bob", "Bob")
    secret, _ = await key(door, clock, owner, ALL, "ana")
    await door.bind(owner, Wanted(principal="ana", role="owner", project="default"))
    ana = door.authenticate(secret, clock.now())
    assert "keys:write" in ana.permissions and "releases:approve" in ana.permissions
    await refused(door.break_glass(ana, "I want to see the others", 5), code="permission_denied")
    await refused(door.update_principal(ana, "bob", PrincipalChanges(disabled=True)), code="permission_denied")
    assert not any(name.startswith("audit:") for name in ana.permissions)
    denied = await door.bind(owner, Wanted(principal="bob", role="owner", effect="deny", project="default"))
    assert denied.effect == "deny"


async def test_what_one_made_one_can_end_whatever_was_taken_away(door: Access, owner: Caller, clock: ManualClock):
    _, maker = await key(door, clock, owner, ROLES["operator"])
    child, secret = await door.create_key(maker, "child", Grant(permissions=ROLES["operator"]))
    await door.update_key(owner, maker.key_id, KeyChanges(permissions=frozenset({"keys:write", "keys:read"})))
    narrowed = msgspec.structs.replace(maker, permissions=frozenset({"keys:write", "keys:read"}))
    assert door.authenticate(secret, clock.now()).permissions == {"keys:write", "keys:read"}
    await refused(door.update_key(narrowed, child.id, KeyChanges(name="mine")))
    await door.revoke_key(narrowed, child.id)
    with pytest.raises(Denied):
        door.authenticate(secret, clock.now())


async def test_a_bad_binding_is_refused_by_what_is_wrong(door: Access, owner: Caller, clock: ManualClock, monkeypatch):
    ana = await door.create_principal(owner, "ana", "Ana")
    await door.create_organization(owner, "else", "Else")
    abroad = await door.create_project(owner, "theirs", "Theirs", organization="else")
    for param, wanted in (
        ("role", Wanted(principal="ana")),
        ("role", Wanted(principal="ana", role="owner", permissions=frozenset({"chat:call"}))),
        ("role", Wanted(principal="ana", role="king")),
        ("permissions", Wanted(principal="ana", permissions=frozenset({"fly:high"}))),
        ("permissions", Wanted(principal="ana", permissions=frozenset({"keys:write"}), label="production")),
        ("permissions", Wanted(principal="ana", permissions=frozenset({"projects:write"}), project="default")),
        (
            "role",
            Wanted(
                principal="ana",
                role="service",
                effect="deny",
                permissions=frozenset(),
                label="x",
                intent="y",
                prompt="*z",
            ),
        ),
        ("label", Wanted(principal="ana", role="owner", label="*x")),
        ("label", Wanted(principal="ana", role="owner", label="a\nb")),
        ("intent", Wanted(principal="ana", role="owner", intent="i" * 201)),
        ("expires_at", Wanted(principal="ana", role="owner", expires_at=clock.now())),
        ("project", Wanted(principal="ana", role="owner", project=abroad.id)),
        ("project", Wanted(principal="ana", role="owner", project="nowhere")),
        ("principal", Wanted(principal="eve", role="owner")),
    ):
        with pytest.raises(OstinatoError) as caught:
            await door.bind(owner, wanted)
        assert caught.value.param == param or (param == "role" and caught.value.param == "prompt"), (
            param,
            caught.value,
        )
    assert await door.list_bindings(owner) == []
    await door.bind(owner, Wanted(principal=ana.id, role="service"))
    await refused(door.bind(owner, Wanted(principal="ana", role="service")), Conflict, "already_bound")
    await refused(door.update_principal(owner, "ana", PrincipalChanges(name="")), Invalid, "invalid_name")
    await refused(door.create_principal(owner, "robot", "R", "robot"), Invalid, "invalid_kind")
    with pytest.raises(Invalid):
        await door.list_principals(owner, limit=0)
    monkeypatch.setattr(bindings, "MOST", 3)
    for number in range(2):
        await door.bind(owner, Wanted(principal="ana", role="owner", prompt=f"p{number}"))
    await refused(door.bind(owner, Wanted(principal="ana", role="analyst")), LimitReached, "too_many_bindings")


async def test_nobody_disables_themselves(door: Access, owner: Caller, clock: ManualClock):
    await door.create_principal(owner, "ana", "Ana")
    _, ana = await key(door, clock, owner, ALL, "ana")
    await refused(door.update_principal(ana, "ana", PrincipalChanges(disabled=True)), Conflict, "own_principal")


async def test_other_organizations_do_not_exist(door: Access, owner: Caller, clock: ManualClock):
    await door.create_organization(owner, "else", "Else")
    away = await door.create_project(owner, "away", "Away", organization="else")
    ana = await door.create_principal(owner, "ana", "Ana")
    bound = await door.bind(owner, Wanted(principal="ana", role="service"))
    secret = (await door.create_key(owner, "theirs", Grant(permissions=ALL - {"organizations:write"}), away.id))[1]
    foreign = door.authenticate(secret, clock.now())
    assert await door.list_principals(foreign) == [] == await door.list_bindings(foreign)
    for attempt in (
        door.show_principal(foreign, ana.id),
        door.show_principal(foreign, "ana"),
        door.update_principal(foreign, ana.id, PrincipalChanges(disabled=True)),
        door.bind(foreign, Wanted(principal=ana.id, role="service")),
        door.create_key(foreign, "x", principal=ana.id),
        door.create_principal(foreign, "x", "X", organization="default"),
        door.show_binding(foreign, bound.id),
        door.unbind(foreign, bound.id),
        door.list_bindings(foreign, principal="ana"),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_every_change_is_one_leaf_and_none_holds_a_secret_or_a_name(
    door: Access, control: storage.Database, clock: ManualClock
):
    organization, project, secret = await door.first_start()
    owner = door.authenticate(secret, clock.now())
    assert [leaf["action"] for leaf in leaves(control)] == ["organizations:create", "projects:create", "keys:create"]
    audit.set_occasion(audit.Occasion(request_id="r-1", reason="To see."))
    try:
        ana = await door.create_principal(owner, "ana", "Ana Lima")
        made, first = await door.create_key(owner, "ana's", Grant(permissions=ROLES["prompt-editor"]), principal="ana")
        bound = await door.bind(owner, Wanted(principal="ana", role="prompt-editor"))
        rotated, second = await door.rotate_key(owner, made.id)
        await door.update_key(owner, rotated.id, KeyChanges(name="hers"))
        await door.revoke_key(owner, rotated.id)
        await door.revoke_key(owner, rotated.id)
        await door.unbind(owner, bound.id)
        await door.update_principal(owner, "ana", PrincipalChanges(disabled=True))
        await door.update_principal(owner, "ana", PrincipalChanges(disabled=True))
        with pytest.raises(Denied):
            await door.create_principal(msgspec.structs.replace(owner, permissions=frozenset()), "x", "X")
    finally:
        audit.set_occasion(audit.Occasion())
    told = leaves(control)[3:]
    assert [leaf["action"] for leaf in told] == [
        "principals:create", "keys:create", "roles:bind", "keys:rotate", "keys:update", "keys:revoke",
        "roles:unbind", "principals:disable",
    ]  # fmt: skip
    for leaf in told:
        assert leaf["actor"] == leaf["principal"] == f"key:{owner.key_id}" and leaf["request_id"] == "r-1"
        assert leaf["org"] == organization.id and leaf["reason"]
    assert told[0]["resource"] == told[2]["resource"] == f"principal:{ana.id}"
    assert told[3]["resource"] == f"key:{rotated.id}" and told[3]["facts"]["rotated_from"] == made.id
    assert told[2]["facts"]["role"] == "prompt-editor" and told[1]["facts"]["principal"] == ana.id
    text = repr(leaves(control))
    for hidden in (secret, first, second, "Ana", "hers", "To see"):
        assert hidden not in text
    assert project.id


async def test_without_its_leaf_nothing_changes(door: Access, owner: Caller, clock: ManualClock, monkeypatch):
    ana = await door.create_principal(owner, "ana", "Ana")
    secret, _ = await key(door, clock, owner, ALL, "ana")

    def failing(*_):
        raise Unavailable("no leaf")

    monkeypatch.setattr(door._log, "append_all", failing)
    for attempt in (
        door.create_principal(owner, "bob", "Bob"),
        door.update_principal(owner, "ana", PrincipalChanges(disabled=True)),
        door.bind(owner, Wanted(principal="ana", role="service")),
        door.break_glass(owner, "There is no leaf today.", 5),
        door.create_key(owner, "x"),
    ):
        with pytest.raises(Unavailable):
            await attempt
    assert await door.list_principals(owner) == [ana] and not await door.list_bindings(owner)
    assert door.authenticate(secret, clock.now()).permissions == ALL and not door.glasses()
