"""G9: broken glass opens everything for one key, cannot be given on, ends by itself, and is shouted about."""

import logging

import pytest

from ostinato.access import Access, Caller, Grant, KeyChanges, PrincipalChanges, Wanted, principal_of
from ostinato.access.permissions import ALL, ROLES
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Conflict, Denied, Invalid, NotFound

REASON = "The provider is down and nobody else is awake."
HELD = ROLES["operator"] | {"breakglass:use"}


async def helper(door: Access, owner: Caller, clock: ManualClock, permissions=HELD) -> tuple[str, Caller]:
    _, secret = await door.create_key(owner, "on call", Grant(permissions=permissions))
    return secret, door.authenticate(secret, clock.now())


async def test_it_gives_every_right_of_the_organization_and_takes_it_back(
    door: Access, owner: Caller, clock: ManualClock, caplog: pytest.LogCaptureFixture
):
    secret, before = await helper(door, owner, clock)
    with caplog.at_level(logging.CRITICAL, "ostinato.access"):
        broken = await door.break_glass(before, REASON, 10)
    (shout,) = caplog.records
    assert shout.levelno == logging.CRITICAL
    assert REASON in shout.getMessage() and before.key_prefix in shout.getMessage() and secret not in caplog.text
    now = door.authenticate(secret, clock.now())
    assert now.permissions == ALL - {"organizations:read", "organizations:write"}
    assert now.glass is not None and now.glass.id == broken.id and now.digest
    assert principal_of(now) == principal_of(before), "its own requests stay its own"
    assert [one.id for one in door.glasses()] == [broken.id] and before.key_prefix in broken.sentence
    clock.advance(599)
    assert door.authenticate(secret, clock.now()).glass is not None
    clock.advance(1)
    assert door.authenticate(secret, clock.now()) == before and door.glasses() == []
    assert [one.reason for one in await door.list_glasses(owner)] == [REASON]


async def test_it_ends_early_and_only_once(door: Access, owner: Caller, clock: ManualClock):
    secret, before = await helper(door, owner, clock)
    broken = await door.break_glass(before, REASON, 60)
    with pytest.raises(Conflict) as refused:
        await door.break_glass(before, REASON, 60)
    assert refused.value.code == "glass_broken" and broken.id in refused.value.message
    ended = await door.end_glass(owner, broken.id)
    assert ended.ended_at == clock.now() and ended.ended_by == f"key:{owner.key_id}"
    assert await door.end_glass(owner, broken.id) == ended
    assert door.authenticate(secret, clock.now()) == before
    await door.break_glass(before, REASON, 60)
    with pytest.raises(NotFound):
        await door.end_glass(owner, owner.key_id)


async def test_it_is_not_for_everybody_nor_for_nothing(door: Access, owner: Caller, clock: ManualClock):
    _, operator = await helper(door, owner, clock, ROLES["operator"])
    with pytest.raises(Denied):
        await door.break_glass(operator, REASON, 10)
    _, able = await helper(door, owner, clock)
    for reason, minutes, param in (
        ("too short", 10, "reason"),
        (" " * 20, 10, "reason"),
        ("x" * 501, 10, "reason"),
        ("line\nbreaks are not", 10, "reason"),
        (REASON, 0, "minutes"),
        (REASON, 61, "minutes"),
        (REASON, -1, "minutes"),
    ):
        with pytest.raises(Invalid) as refused:
            await door.break_glass(able, reason, minutes)
        assert refused.value.param == param
    assert door.glasses() == []


async def test_what_is_borrowed_cannot_be_given_on(door: Access, owner: Caller, clock: ManualClock):
    secret, able = await helper(door, owner, clock)
    await door.create_principal(owner, "ana", "Ana")
    anas, _ = await door.create_key(owner, "ana's", Grant(permissions=frozenset({"chat:call"})), principal="ana")
    await door.break_glass(able, REASON, 10)
    able = door.authenticate(secret, clock.now())
    for attempt in (
        door.create_key(able, "more", Grant(permissions=frozenset({"releases:approve"}))),
        door.update_key(able, able.key_id, KeyChanges(permissions=HELD | {"releases:approve"})),
        door.bind(able, Wanted(principal="ana", role="approver")),
        door.create_key(able, "as ana", principal="ana"),
        door.rotate_key(able, anas.id),
        door.rotate_key(able, owner.key_id),
    ):
        with pytest.raises(Denied):
            await attempt
    # What it makes of its own gains nothing from the glass either, now or later.
    _, made = await door.create_key(able, "own", Grant(permissions=HELD))
    assert door.authenticate(made, clock.now()).permissions == HELD
    # But it can do what an emergency is about: take a leaked key out, and stop somebody.
    await door.update_principal(able, "ana", PrincipalChanges(disabled=True))
    await door.revoke_key(able, owner.key_id)


async def test_it_does_not_outlive_its_key_or_its_person(door: Access, owner: Caller, clock: ManualClock):
    await door.create_principal(owner, "ana", "Ana")
    _, secret = await door.create_key(owner, "ana's", Grant(permissions=HELD), principal="ana")
    await door.break_glass(door.authenticate(secret, clock.now()), REASON, 10)
    await door.update_principal(owner, "ana", PrincipalChanges(disabled=True))
    with pytest.raises(Denied):
        door.authenticate(secret, clock.now())
    assert door.glasses() == []
