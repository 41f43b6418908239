"""Organizations, projects and keys: who sees and changes what. On both engines."""

import msgspec
import pytest

from ostinato.access import Access, Caller, Grant, KeyChanges, MoneyBudget, ProjectChanges, RateLimit, SystemActor
from ostinato.access.permissions import ALL, ROLES, allows, of_role, require
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Conflict, Denied, Invalid, LimitReached, NotFound, OstinatoError


async def call(door: Access, clock: ManualClock, creator, **grant) -> Caller:
    """A key made by ``creator``, authenticated."""
    project = grant.pop("project", None)
    _, secret = await door.create_key(creator, "test", Grant(**grant), project)
    return door.authenticate(secret, clock.now())


async def test_the_first_start_happens_once(door: Access, clock: ManualClock):
    organization, project, secret = await door.first_start()
    assert (organization.key, project.key, project.org_id) == ("default", "default", organization.id)
    owner = door.authenticate(secret, clock.now())
    assert owner.permissions == ALL and (owner.org, owner.project) == (organization.id, project.id)
    with pytest.raises(Conflict) as refused:
        await door.first_start()
    assert refused.value.code == "already_initialized" and secret[13:] not in refused.value.sentence
    assert (await door.show_organization(owner, "default")).created_by == "system:init"


async def test_a_lost_administrator_key_can_be_replaced_at_the_machine(door: Access, owner: Caller, clock: ManualClock):
    await call(door, clock, owner, permissions=ROLES["operator"])
    await door.revoke_key(owner, owner.key_id)
    organization, project, secret = await door.first_start()
    assert (organization.id, project.id) == (owner.org, owner.project)
    assert door.authenticate(secret, clock.now()).permissions == ALL


async def test_a_lost_secret_is_no_dead_end(door: Access, owner: Caller, clock: ManualClock):
    with pytest.raises(Conflict, match="already") as refused:
        await door.first_start()
    assert "--recover" in refused.value.hint
    _, _, secret = await door.first_start(recover=True)
    again = door.authenticate(secret, clock.now())
    assert again.permissions == ALL
    assert again.key_id != owner.key_id
    assert (await door.show_key(again, owner.key_id)).state(clock.now()) == "active"


async def test_a_name_in_place_of_a_prefix_is_told_apart(door: Access, owner: Caller):
    made, secret = await door.create_key(owner, "a rather long name")
    with pytest.raises(NotFound) as refused:
        await door.revoke_key(owner, "a rather long name")
    assert "'a rather long name'" in refused.value.message
    assert made.prefix in refused.value.hint
    with pytest.raises(NotFound) as refused:
        await door.revoke_key(owner, "administrato")
    assert "ost_..." in refused.value.hint
    text = str(getattr(secret, "text", secret))
    with pytest.raises(NotFound) as refused:
        await door.revoke_key(owner, text[20:])
    assert text[20:] not in refused.value.sentence


async def test_projects_are_made_listed_and_changed(door: Access, owner: Caller, clock: ManualClock):
    made = await door.create_project(owner, "support-bot", "  Support bot ", budget=MoneyBudget(10))
    assert (made.name, made.version, made.created_by) == ("Support bot", 1, f"key:{owner.key_id}")
    assert await door.show_project(owner, "support-bot") == made
    assert await door.show_project(owner, made.id) == await door.show_project(owner, "default/support-bot") == made
    assert [p.key for p in await door.list_projects(owner)].count("support-bot") == 1
    changed = await door.update_project(owner, made.id, ProjectChanges(name="Bot"), version=1)
    assert (changed.name, changed.budget, changed.version) == ("Bot", MoneyBudget(10), 2)
    assert await door.show_project(owner, made.id) == changed
    with pytest.raises(Conflict) as refused:
        await door.update_project(owner, made.id, ProjectChanges(name="Late"), version=1)
    assert refused.value.code == "version_moved"
    with pytest.raises(Conflict) as refused:
        await door.create_project(owner, "support-bot", "Again")
    assert refused.value.code == "name_taken"


async def test_keys_are_listed_page_by_page_and_changed(door: Access, owner: Caller, clock: ManualClock):
    made = []
    for number in range(5):
        clock.advance(0.01)
        made.append((await door.create_key(owner, f"key {number}"))[0])
    first = await door.list_keys(owner, limit=3)
    rest = await door.list_keys(owner, limit=3, after=first[-1].id)
    assert [key.id for key in (*first, *rest)][1:] == [key.id for key in made]
    assert (await door.show_key(owner, made[0].prefix)) == made[0]
    changed = await door.update_key(
        owner, made[0].id, KeyChanges(name="new", rate=RateLimit(3), expires_at=clock.now() + 1), version=1
    )
    assert (changed.name, changed.rate, changed.version) == ("new", RateLimit(3), 2)
    assert await door.show_key(owner, made[0].id) == changed
    with pytest.raises(Conflict):
        await door.update_key(owner, made[0].id, KeyChanges(name="late"), version=1)
    clock.advance(1)
    revived = await door.update_key(owner, made[0].id, KeyChanges(expires_at=None))
    assert revived.state(clock.now()) == "active"
    await door.revoke_key(owner, made[0].id)
    with pytest.raises(Conflict):
        await door.update_key(owner, made[0].id, KeyChanges(name="dead"))


async def test_what_an_actor_does_not_reach_does_not_exist(door: Access, owner: Caller, clock: ManualClock):
    """S2: every verb on a foreign object is the same NotFound as on one that is not there."""
    await door.create_organization(owner, "other", "Other")
    await door.create_project(owner, "mine", "Mine")
    sibling = await door.create_project(owner, "sibling", "Sibling")
    foreign = await door.create_project(owner, "foreign", "Foreign", organization="other")
    sibling_key, _ = await door.create_key(owner, "sibling", project="sibling")
    foreign_key, _ = await door.create_key(owner, "foreign", project=foreign.id)
    project_keeper = await call(
        door, clock, owner, project="mine", permissions=frozenset({"keys:read", "keys:write", "projects:read"})
    )
    org_keeper = await call(door, clock, owner, project="mine", permissions=ROLES["operator"])

    async def outcomes(actor: Caller, project: str, key: str) -> set[tuple[type, str]]:
        found = set()
        for attempt in (
            door.show_project(actor, project),
            door.create_key(actor, "x", Grant(permissions=frozenset({"keys:read"})), project),
            door.list_keys(actor, project=project),
            door.show_key(actor, key),
            door.update_key(actor, key, KeyChanges(name="x")),
            door.rotate_key(actor, key),
            door.revoke_key(actor, key),
            door.key_budget(actor, key),
        ):
            try:
                await attempt
                found.add((object, "done"))
            except OstinatoError as error:
                found.add((type(error), error.code))
        return found

    nothing = {(NotFound, "project_not_found"), (NotFound, "key_not_found")}
    for actor in (project_keeper, org_keeper):
        assert await outcomes(actor, "missing", "ost_missing1") == nothing
        assert await outcomes(actor, foreign.id, foreign_key.id) == nothing
        assert await outcomes(actor, "other/foreign", foreign_key.prefix) == nothing
    assert await outcomes(project_keeper, sibling.id, sibling_key.id) == nothing
    assert [p.key for p in await door.list_projects(project_keeper)] == ["mine"]
    assert {p.key for p in await door.list_projects(org_keeper)} == {"default", "mine", "sibling"}
    assert {k.project_id for k in await door.list_keys(project_keeper)} == {project_keeper.project}
    assert foreign_key.id not in {k.id for k in await door.list_keys(org_keeper)}
    assert [o.key for o in await door.list_organizations(org_keeper)] == ["default"]
    assert {o.key for o in await door.list_organizations(owner)} == {"default", "other"}
    for attempt in (
        door.show_organization(org_keeper, "other"),
        door.create_project(org_keeper, "x", "X", organization="other"),
    ):
        with pytest.raises(NotFound):
            await attempt
    watcher = await call(
        door, clock, owner, permissions=ROLES["operator"] | {"organizations:read"} - {"organizations:write"}
    )
    assert len(await door.list_organizations(watcher)) == 2
    with pytest.raises(NotFound):
        await door.create_project(watcher, "x", "X", organization="other")
    assert (await door.revoke_key(org_keeper, sibling_key.id)).revoked_at


async def test_every_verb_needs_its_permission(door: Access, owner: Caller, clock: ManualClock):
    service = await call(door, clock, owner)
    analyst = await call(door, clock, owner, permissions=ROLES["analyst"])
    key, _ = await door.create_key(owner, "x")
    for actor in (service, analyst):
        for attempt in (
            door.create_key(actor, "x", Grant(permissions=frozenset())),
            door.update_key(actor, key.id, KeyChanges(name="x")),
            door.rotate_key(actor, actor.key_id),
            door.revoke_key(actor, actor.key_id),
            door.list_keys(actor),
            door.show_key(actor, actor.key_id),
            door.create_project(actor, "x", "x"),
            door.update_project(actor, "default", ProjectChanges(name="x")),
            door.create_organization(actor, "x", "x"),
            door.rename_organization(actor, "default", "x"),
        ):
            with pytest.raises(Denied) as refused:
                await attempt
            assert refused.value.authenticated and refused.value.code == "permission_denied"
            assert "lacks the permission" in refused.value.message
    with pytest.raises(Denied):
        await door.list_projects(service)
    assert (await door.list_projects(analyst))[0].key == "default"


async def test_wrong_fields_are_named(door: Access, owner: Caller, clock: ManualClock):
    now = clock.now()
    for param, grant in {
        "permissions": Grant(permissions=frozenset({"chat:call", "everything"})),
        "allowed_models": Grant(allowed_models=frozenset()),
        "rate.requests": Grant(rate=RateLimit(0)),
        "rate.seconds": Grant(rate=RateLimit(1, float("inf"))),
        "budget.nano": Grant(budget=MoneyBudget(0)),
        "budget.period": Grant(budget=MoneyBudget(1, "year")),
        "expires_at": Grant(expires_at=now),
    }.items():
        with pytest.raises(Invalid) as refused:
            await door.create_key(owner, "x", grant)
        assert refused.value.param == param, param
    wrong = [
        Grant(permissions=frozenset()),
        Grant(allowed_models=frozenset({"a\nb"})),
        Grant(allowed_models=frozenset(str(n) for n in range(1001))),
        Grant(rate=RateLimit(-1)),
        Grant(rate=RateLimit(1, 0.0)),
        Grant(rate=RateLimit(1, float("nan"))),
        Grant(budget=MoneyBudget(2**63)),
        Grant(expires_at=2**62),
        Grant(expires_at=-1),
    ]
    for grant in wrong:
        with pytest.raises(Invalid):
            await door.create_key(owner, "x", grant)
    for name in ("", "  ", "a" * 101, "a\nb", "\x00", "\u202e"):
        with pytest.raises(Invalid) as refused:
            await door.create_key(owner, name)
        assert refused.value.param == "name"
    for key in ("", "Upper", "-a", "a-", "a b", "a/b", "a" * 64, "0" * 32, "é"):
        with pytest.raises(Invalid) as refused:
            await door.create_project(owner, key, "x")
        assert refused.value.param == "key"
    for limit in (0, -1, 501):
        with pytest.raises(Invalid):
            await door.list_keys(owner, limit=limit)
    with pytest.raises(Invalid):
        await door.list_keys(owner, after="x' OR 1=1")
    with pytest.raises(Invalid):
        await door.create_key(SystemActor("test"), "x")
    with pytest.raises(NotFound):
        await door.key_budget(owner, owner.key_id)
    assert len(await door.list_keys(owner)) == 1


async def test_a_short_name_that_two_organizations_use_must_be_made_plain(door: Access, owner: Caller):
    await door.create_organization(owner, "other", "Other")
    theirs = await door.create_project(owner, "default", "Theirs", organization="other")
    assert (await door.show_project(owner, "default")).id == owner.project
    system = SystemActor("test")
    with pytest.raises(Invalid) as refused:
        await door.show_project(system, "default")
    assert refused.value.code == "ambiguous_project"
    assert await door.show_project(system, "other/default") == theirs
    assert (await door.rename_organization(owner, "other", "Another")).name == "Another"


async def test_a_project_holds_only_so_many_keys(open_door, clock: ManualClock):
    door = await open_door(keys_per_project=3)
    _, _, secret = await door.first_start()
    owner = door.authenticate(secret, clock.now())
    second, _ = await door.create_key(owner, "b")
    await door.create_key(owner, "c", Grant(expires_at=clock.now() + 1_000_000))
    with pytest.raises(LimitReached) as refused:
        await door.create_key(owner, "d")
    assert refused.value.code == "too_many_keys"
    await door.rotate_key(owner, second.id)
    clock.advance(1)
    await door.create_key(owner, "d")


async def test_a_failed_change_changes_nothing_and_tells_nobody(door: Access, owner: Caller, control):
    def counter(connection):
        return connection.exec_driver_sql("SELECT version FROM notice WHERE topic = 'access'").scalar()

    before = control.query(counter)
    with pytest.raises(Denied):
        await door.revoke_key(msgspec.structs.replace(owner, permissions=frozenset()), owner.key_id)
    assert control.query(counter) == before
    await door.create_key(owner, "x")
    assert control.query(counter) == before + 1


def test_the_page_of_permissions_is_consistent():
    assert all(permissions <= ALL for permissions in ROLES.values())
    assert all(name.count(":") == 1 for name in ALL)
    assert ROLES["service"] == {"chat:call", "prompts:call", "feedback:write"}
    assert not any(name.endswith(":write") or name in ("traces:text", "chat:call") for name in ROLES["analyst"])
    assert of_role("owner") == ALL
    with pytest.raises(Invalid):
        of_role("root")
    assert not allows(SystemActor("x"), "unknown:verb")
    with pytest.raises(Denied):
        require(SystemActor("x"), "unknown:verb")
