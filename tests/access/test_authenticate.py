"""Tokens in, callers out; on both engines where the database matters."""

import asyncio

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.access import Access, Caller, Grant, KeyChanges, MoneyBudget, ProjectChanges, RateLimit, keys
from ostinato.access.snapshot import AccessSnapshot
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Conflict, Denied, Invalid, Unavailable

DAY = 86_400 * 1_000_000


def refusal(door: Access | AccessSnapshot, token: str | None, now: int) -> Denied:
    with pytest.raises(Denied) as refused:
        door.authenticate(token, now)
    assert refused.value.authenticated is False
    return refused.value


async def test_a_key_brings_everything_that_it_allows(door: Access, owner: Caller, clock: ManualClock):
    project = await door.create_project(owner, "bot", "Bot", store_text=True, budget=MoneyBudget(10**12, "day"))
    grant = Grant(
        permissions=frozenset({"chat:call", "cache:read"}),
        allowed_models=frozenset({"small", "large"}),
        end_user_required=True,
        may_act_for_users=False,
        rate=RateLimit(7, 30.0),
        budget=MoneyBudget(5_000, "total"),
        expires_at=clock.now() + DAY,
    )
    key, secret = await door.create_key(owner, "Bot in production", grant, "bot")
    caller = door.authenticate(secret, clock.now())
    assert caller.key_id == key.id and caller.key_prefix == key.prefix and secret.startswith(key.prefix)
    assert (caller.org, caller.project) == (owner.org, project.id)
    for field in Grant.__struct_fields__:
        assert getattr(caller, field) == getattr(grant, field) == getattr(key, field)
    assert caller.store_text and caller.name == "Bot in production"
    assert [(account.id, account.budget.nano) for account in caller.accounts] == [
        (f"key:{key.id}", 5_000),
        (f"project:{project.id}", 10**12),
    ]
    assert caller.digest == caller.sealed().digest and len(caller.digest) == 32


async def test_the_scope_comes_from_the_key_alone(door: Access, owner: Caller, clock: ManualClock):
    """T3: no two keys of different projects share a digest; two alike keys of one project do."""
    await door.create_project(owner, "one", "One")
    await door.create_project(owner, "two", "Two")
    digests = []
    for project in ("one", "one", "two"):
        _, secret = await door.create_key(owner, "same name", project=project)
        digests.append(door.authenticate(secret, clock.now()).digest)
    assert digests[0] == digests[1] != digests[2]


async def test_missing_malformed_and_unknown_keys(door: Access, owner: Caller, clock: ManualClock):
    now = clock.now()
    _, secret = await door.create_key(owner, "a")
    assert refusal(door, None, now).code == refusal(door, "", now).code == "missing_api_key"
    unknown = refusal(door, keys.new().text, now)
    assert unknown.code == "invalid_api_key"
    badly = [secret[:-1], secret + "x", secret[:-1] + ("a" if secret[-1] != "a" else "b"), "sk-proj-abc", "é" * 62]
    badly += ["ost_" + "a" * 58, "x" * 1_000_000, "\x00" * 62, "\ud800" * 62, secret.lower(), f"Bearer {secret}"]
    badly += ["' OR '1'='1' -- " + "a" * 46]
    for token in badly:
        refused = refusal(door, token, now)
        assert (refused.code, refused.message) == ("invalid_api_key", unknown.message)
        assert token not in refused.sentence and secret[13:] not in refused.sentence
    assert "copied badly" in refusal(door, secret[:-1], now).hint


async def test_an_expired_key_says_so_to_its_owner_only(door: Access, owner: Caller, clock: ManualClock):
    key, secret = await door.create_key(owner, "short", Grant(expires_at=clock.now() + 10_000_000))
    clock.advance(9.999)
    door.authenticate(secret, clock.now())
    clock.advance(0.001)
    refused = refusal(door, secret, clock.now())
    assert refused.code == "api_key_expired" and key.prefix in refused.message and "2025-10-09" in refused.message
    almost = secret[:20] + ("a" if secret[20] != "a" else "b") + secret[21:]
    assert refusal(door, almost, clock.now()).code == "invalid_api_key"


async def test_a_revoked_key_stops_here_at_once(door: Access, owner: Caller, clock: ManualClock):
    key, secret = await door.create_key(owner, "a")
    _, other = await door.create_key(owner, "b")
    revoked = await door.revoke_key(owner, key.prefix)
    assert revoked.state(clock.now()) == "revoked"
    assert refusal(door, secret, clock.now()).code == "api_key_revoked"
    door.authenticate(other, clock.now())
    assert await door.revoke_key(owner, key.id) == revoked
    clock.advance(100 * 86_400)
    await door.create_key(owner, "makes a new snapshot")
    assert refusal(door, secret, clock.now()).code == "invalid_api_key"


async def test_a_revoked_key_stops_in_other_processes(open_door, control, clock: ManualClock):
    """By NOTIFY, and by the counters should that get lost; SQLite has one process by contract."""
    if control.dialect == "sqlite":
        pytest.skip("an embedded server is one process")
    here, there = await open_door(), await open_door()
    _, _, secret = await here.first_start()
    owner = here.authenticate(secret, clock.now())
    key, mine = await here.create_key(owner, "a")
    for _ in range(500):
        try:
            there.authenticate(mine, clock.now())
            break
        except Denied:
            await asyncio.sleep(0.02)
    there.authenticate(mine, clock.now())
    await here.revoke_key(owner, key.id)
    for waited in range(500):
        try:
            there.authenticate(mine, clock.now())
        except Denied as refused:
            assert refused.code == "api_key_revoked"
            break
        assert waited < 499, "still alive after ten seconds"
        await asyncio.sleep(0.02)


async def test_rotating_replaces_at_once_or_with_grace(door: Access, owner: Caller, clock: ManualClock):
    grant = Grant(budget=MoneyBudget(1_000), allowed_models=frozenset({"m"}), rate=RateLimit(5))
    key, first = await door.create_key(owner, "a", grant)
    successor, second = await door.rotate_key(owner, key.id)
    assert refusal(door, first, clock.now()).code == "api_key_revoked"
    assert "replaced" in refusal(door, first, clock.now()).message
    old, new = await door.show_key(owner, key.id), await door.show_key(owner, successor.id)
    assert (old.rotated_to, new.rotated_from) == (new.id, old.id)
    assert {f: getattr(new, f) for f in Grant.__struct_fields__} == {
        f: getattr(key, f) for f in Grant.__struct_fields__
    }
    assert new.account == key.account, "a rotation does not refill the purse"
    third_key, third = await door.rotate_key(owner, new.id, 60.0)
    assert door.authenticate(second, clock.now()).accounts == door.authenticate(third, clock.now()).accounts
    with pytest.raises(Conflict) as refused:
        await door.rotate_key(owner, new.id)
    assert refused.value.code == "already_rotated"
    with pytest.raises(Conflict):
        await door.update_key(owner, new.id, KeyChanges(name="late"))
    clock.advance(60)
    assert refusal(door, second, clock.now()).code == "api_key_expired"
    door.authenticate(third, clock.now())
    with pytest.raises(Conflict):
        await door.rotate_key(owner, key.id)
    for grace in (-1.0, float("nan"), 1e9):
        with pytest.raises(Invalid):
            await door.rotate_key(owner, third_key.id, grace)


async def test_changes_reach_the_hot_path(door: Access, owner: Caller, clock: ManualClock):
    await door.create_project(owner, "bot", "Bot")
    key, secret = await door.create_key(owner, "a", project="bot")
    before = door.authenticate(secret, clock.now())
    await door.update_key(owner, key.id, KeyChanges(allowed_models=frozenset({"m"}), rate=RateLimit(2)))
    await door.update_project(owner, "bot", ProjectChanges(store_text=True, budget=MoneyBudget(9)))
    after = door.authenticate(secret, clock.now())
    assert after.allowed_models == {"m"} and after.rate == RateLimit(2) and after.store_text
    assert after.digest != before.digest
    assert [account.budget.nano for account in after.accounts] == [9]
    await door.update_key(owner, key.id, KeyChanges(allowed_models=None, rate=None))
    await door.update_project(owner, "bot", ProjectChanges(store_text=False, budget=None))
    assert door.authenticate(secret, clock.now()) == before


async def test_the_last_known_keys_go_on_while_the_database_is_away(tmp_path, clock: ManualClock):
    from ostinato import storage

    database = storage.open_database("control", tmp_path / "control.db")
    storage.migrate(database)
    door = Access(database, storage.Notices(), clock)
    await door.start()
    _, _, secret = await door.first_start()
    owner = door.authenticate(secret, clock.now())
    database.close()
    await door.snapshot.reload()
    assert door.snapshot.failing
    assert door.authenticate(secret, clock.now()) == owner
    assert refusal(door, keys.new().text, clock.now()).code == "invalid_api_key"
    with pytest.raises(Unavailable):
        await door.create_key(owner, "a")
    await door.stop()


async def test_a_key_tells_when_it_was_last_used(door: Access, owner: Caller, clock: ManualClock):
    key, secret = await door.create_key(owner, "a")
    other, _ = await door.create_key(owner, "b")
    clock.advance(5)
    used = clock.now()
    door.admit(door.authenticate(secret, used), used)
    await door.stop()
    shown = await door.show_key(owner, key.id)
    assert (shown.last_used_at, shown.version) == (used, key.version)
    assert (await door.show_key(owner, other.id)).last_used_at is None
    assert (await door.rotate_key(owner, key.id))[0].last_used_at is None


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_any_field_that_changes_answers_changes_the_digest(data: st.DataObject):
    base = Caller(key_id="k", key_prefix="ost_", org="o", project="p", allowed_models=frozenset({"a"}))
    changes = {
        "org": "o2",
        "project": "p2",
        "allowed_models": data.draw(st.sampled_from([None, frozenset({"a", "b"}), frozenset({"b"})])),
        "end_user_required": True,
        "may_act_for_users": False,
        "store_text": True,
    }
    name = data.draw(st.sampled_from(sorted(changes)))
    assert msgspec.structs.replace(base, **{name: changes[name]}).sealed().digest != base.sealed().digest
    same = msgspec.structs.replace(base, key_id="k2", key_prefix="ost_2", rate=RateLimit(1), name="x")
    assert same.sealed().digest == base.sealed().digest
