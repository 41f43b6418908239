"""S4: no key makes, changes or takes over a key that can do more than itself."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.access import Access, Account, ApiKey, Caller, Grant, KeyChanges, MoneyBudget, RateLimit, SystemActor
from ostinato.access.authority import cover, narrow, purses
from ostinato.access.permissions import ALL, ROLES
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Denied, OstinatoError

ORDERED = sorted(ALL)
rates = st.none() | st.builds(RateLimit, st.integers(1, 4), st.sampled_from([1.0, 2.0, 60.0]))
budgets = st.none() | st.builds(MoneyBudget, st.integers(1, 4), st.sampled_from(["day", "month", "total"]))
grants = st.builds(
    Grant,
    permissions=st.frozensets(st.sampled_from(ORDERED[:4])),
    allowed_models=st.none() | st.frozensets(st.sampled_from("abc"), min_size=1),
    end_user_required=st.booleans(),
    may_act_for_users=st.booleans(),
    rate=rates,
    budget=budgets,
    expires_at=st.none() | st.integers(1, 4),
)


def caller(grant: Grant, key: str = "creator") -> Caller:
    fields = {name: getattr(grant, name) for name in Grant.__struct_fields__}
    accounts = () if grant.budget is None else (Account(f"key:{key}", grant.budget),)
    return Caller(key_id=key, key_prefix="ost_", org="o", project="p", accounts=accounts, **fields)


def key_of(grant: Grant, bound_by: tuple[str, ...], key: str = "made") -> ApiKey:
    fields = {name: getattr(grant, name) for name in Grant.__struct_fields__}
    return ApiKey(
        id=key, org_id="o", project_id="p", name="", prefix="", created_at=0, created_by="",
        account=f"key:{key}", bound_by=bound_by, **fields,
    )  # fmt: skip


def as_much(value, limit) -> bool:
    return limit is None or (value is not None and value <= limit)


@settings(deadline=None)
@given(grants, grants)
def test_what_is_made_never_exceeds_its_maker(has: Grant, wants: Grant):
    creator = caller(has)
    try:
        gets = narrow(creator, wants)
    except Denied as refused:
        assert refused.code == "exceeds_creator"
        return
    assert gets.permissions == wants.permissions <= has.permissions
    assert as_much(gets.allowed_models, has.allowed_models)
    assert gets.end_user_required or not has.end_user_required
    assert has.may_act_for_users or not gets.may_act_for_users
    assert as_much(gets.expires_at, has.expires_at)
    if has.rate is not None:
        assert gets.rate is not None and gets.rate.requests <= has.rate.requests
        assert gets.rate.requests / gets.rate.seconds <= has.rate.requests / has.rate.seconds
    if has.budget is not None:
        assert purses(creator) == ("key:creator",)
        assert gets.budget is None or gets.budget.nano <= has.budget.nano
    cover(creator, key_of(gets, purses(creator)))  # and so its maker can manage it
    assert narrow(creator, gets) == gets


@settings(deadline=None)
@given(grants, grants)
def test_who_covers_a_key_could_have_made_it(has: Grant, holds: Grant):
    actor, key = caller(has), key_of(holds, ("key:creator",) if has.budget else ())
    try:
        cover(actor, key)
    except Denied:
        return
    assert (
        msgspec.structs.replace(narrow(actor, msgspec.structs.replace(holds, budget=None)), budget=holds.budget)
        == holds
    )


@settings(deadline=None)
@given(grants)
def test_the_system_is_bound_by_nothing(wants: Grant):
    assert narrow(SystemActor("x"), wants) == wants
    cover(SystemActor("x"), key_of(wants, ()))
    assert purses(SystemActor("x")) == ()


async def made(door: Access, clock: ManualClock, creator, **grant) -> Caller:
    _, secret = await door.create_key(creator, "test", Grant(**grant))
    return door.authenticate(secret, clock.now())


async def test_a_lesser_key_cannot_take_over_a_greater_one(door: Access, owner: Caller, clock: ManualClock):
    keeper = await made(door, clock, owner, permissions=ROLES["operator"])
    for attempt in (
        door.rotate_key(keeper, owner.key_id),
        door.revoke_key(keeper, owner.key_id),
        door.update_key(keeper, owner.key_id, KeyChanges(name="mine")),
        door.create_key(keeper, "x", Grant(permissions=ALL)),
        door.create_key(keeper, "x", Grant(permissions=frozenset({"traces:text"}))),
        door.update_key(keeper, keeper.key_id, KeyChanges(permissions=ALL)),
    ):
        with pytest.raises(Denied) as refused:
            await attempt
        assert refused.value.code == "exceeds_creator"
    door.authenticate((await door.rotate_key(keeper, keeper.key_id))[1], clock.now())


async def test_a_limited_key_cannot_free_itself_or_breed_free_ones(door: Access, owner: Caller, clock: ManualClock):
    limited = await made(
        door,
        clock,
        owner,
        permissions=frozenset({"chat:call", "keys:write", "keys:read"}),
        allowed_models=frozenset({"small"}),
        end_user_required=True,
        may_act_for_users=False,
        rate=RateLimit(10),
        budget=MoneyBudget(1000, "month"),
        expires_at=clock.now() + 10_000_000,
    )
    free, _ = await door.create_key(owner, "free", Grant())
    for change in (
        KeyChanges(budget=None),
        KeyChanges(budget=MoneyBudget(1000, "day")),
        KeyChanges(budget=MoneyBudget(1, "month")),
        KeyChanges(allowed_models=frozenset({"small", "large"})),
        KeyChanges(rate=RateLimit(11)),
        KeyChanges(expires_at=clock.now() + 20_000_000),
        KeyChanges(permissions=frozenset({"chat:call", "cache:write"})),
    ):
        with pytest.raises(Denied):
            await door.update_key(limited, limited.key_id, change)
    for change in (KeyChanges(allowed_models=None), KeyChanges(rate=None), KeyChanges(expires_at=None)):
        await door.update_key(limited, limited.key_id, change)
    await door.update_key(limited, limited.key_id, KeyChanges(end_user_required=False, may_act_for_users=True))
    shown = await door.show_key(owner, limited.key_id)
    assert {f: getattr(shown, f) for f in Grant.__struct_fields__} == {
        f: getattr(limited, f) for f in Grant.__struct_fields__
    }
    for attempt in (door.rotate_key, door.revoke_key):
        with pytest.raises(Denied):
            await attempt(limited, free.id)

    child = await made(door, clock, limited)
    assert child.allowed_models == {"small"} and child.rate == RateLimit(10) and child.expires_at == limited.expires_at
    assert child.end_user_required and not child.may_act_for_users
    assert child.accounts == limited.accounts, "it spends its creator's money"
    grandchild_grant = Grant(permissions=frozenset({"chat:call", "keys:write"}), budget=MoneyBudget(10, "total"))
    _, secret = await door.create_key(limited, "b", grandchild_grant)
    second = door.authenticate(secret, clock.now())
    third = await made(door, clock, second)
    assert [a.id for a in third.accounts] == [a.id for a in second.accounts]
    assert [a.budget.nano for a in third.accounts] == [10, 1000]
    assert third.budget is None and third.key_id not in {a.id for a in third.accounts}


async def test_rotating_a_limited_key_keeps_every_bond(door: Access, owner: Caller, clock: ManualClock):
    limited = await made(
        door, clock, owner, permissions=frozenset({"chat:call", "keys:write"}), budget=MoneyBudget(1000)
    )
    child = await made(door, clock, limited)
    _, secret = await door.rotate_key(limited, limited.key_id)
    successor = door.authenticate(secret, clock.now())
    assert successor.accounts == limited.accounts
    _, secret = await door.rotate_key(successor, child.key_id)
    assert door.authenticate(secret, clock.now()).accounts == limited.accounts
    await door.update_key(owner, successor.key_id, KeyChanges(budget=MoneyBudget(500)))
    assert [a.budget.nano for a in door.authenticate(secret, clock.now()).accounts] == [500]
    with pytest.raises(OstinatoError):
        await door.update_key(owner, limited.key_id, KeyChanges(budget=None))
