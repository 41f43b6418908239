"""S4 on use: whatever was issued, bound, denied, narrowed, rotated or revoked, a denial always wins, and no key can do
more than its makers or its principal. Against an oracle that follows the words of the rule, not the code."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.access import ApiKey, Binding, BreakGlass, Caller, Principal, RateLimit, Resource, permissions, scoping
from ostinato.access.permissions import JUDGED, SEEN_ALONG, allows
from ostinato.access.rights import BROKEN, Ground, Rights, slower, sooner

NOW = 1_000
SOME = ["chat:call", "keys:write", "labels:move", "projects:write", "prompts:call", "prompts:read", "prompts:write"]
PROJECTS = ["p1", "p2"]
RESOURCES = [
    Resource(project, label, intent, prompt)
    for project in PROJECTS
    for label in ("", "production", "staging")
    for intent in ("", "refunds")
    for prompt in ("", "hello", "help")
]
ANY = Resource()


def key(number: int, maker: int | None = None, **fields: object) -> ApiKey:
    return ApiKey(
        **{
            "id": f"k{number}",
            "org_id": "o",
            "project_id": "p1",
            "name": "",
            "prefix": "",
            "permissions": frozenset(SOME),
            "created_at": number,
            "created_by": "system:init" if maker is None else f"key:k{maker}",
            **fields,
        }  # pyright: ignore
    )


def principal(name: str, governed: bool = True, disabled: int | None = None) -> Principal:
    return Principal(
        id=name, org_id="o", key=name, kind="person", name=name, governed=governed, disabled_at=disabled,
        created_at=0, created_by="",
    )  # fmt: skip


def binding(who: str, effect: str, held: frozenset[str], on: Resource = ANY, ends: int | None = None) -> Binding:
    return Binding(
        id="", org_id="o", principal_id=who, effect=effect, permissions=held, on=on, expires_at=ends,  # pyright: ignore
        created_at=0, created_by="",
    )  # fmt: skip


def ground(keys: Sequence[ApiKey], bindings: Sequence[Binding] = (), glasses: Sequence[BreakGlass] = ()) -> Ground:
    by = {name: [one for one in bindings if one.principal_id == name] for name in "ABC"}
    return Ground(
        keys,
        {name: principal(name, any(one.effect == "allow" for one in of)) for name, of in by.items()},
        by,
        glasses,
    )


def caller(rights: Rights, one: ApiKey) -> Caller:
    return Caller(
        key_id=one.id, key_prefix="", org="o", project=one.project_id, permissions=rights.permissions,
        rules=rights.rules, principal=rights.principal, allowed_intents=rights.allowed_intents, glass=rights.glass,
    )  # fmt: skip


# -- the oracle ----------------------------------------------------------------------------------------------------


def fits(one: Binding, name: str, on: Resource) -> bool:
    """Whether a binding speaks of doing ``name`` on a resource."""
    for field, pattern in msgspec.structs.asdict(one.on).items():
        if not pattern:
            continue
        if field == "project" or field in JUDGED.get(name, ()):
            value = getattr(on, field)
            if not (value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern):
                return False
        elif one.effect == "allow" and name not in SEEN_ALONG:
            return False
    return name in one.permissions


def newest_maker(keys: Sequence[ApiKey], number: int) -> int | None:
    """The key that made the first of this one's line, or what has replaced it since."""
    first = keys[number]
    while first.rotated_from:
        first = keys[int(first.rotated_from[1:])]
    if not first.created_by.startswith("key:"):
        return None
    maker = keys[int(first.created_by[5:])]
    while maker.rotated_to:
        maker = keys[int(maker.rotated_to[1:])]
    return keys.index(maker)


def may(keys: Sequence[ApiKey], bindings: Sequence[Binding], number: int, name: str, on: Resource) -> bool:
    """By the words: the key was given it, its maker may, and its principal is allowed and not denied."""
    one, above = keys[number], newest_maker(keys, number)
    if above is not None and not may(keys, bindings, above, name, on):
        return False
    bound = [other for other in bindings if other.principal_id == one.principal]
    live = [other for other in bound if other.live(NOW)]
    if any(other.effect == "deny" and fits(other, name, on) for other in live):
        return False
    if any(other.effect == "allow" for other in bound) and not any(
        other.effect == "allow" and fits(other, name, on) for other in live
    ):
        return False
    return name in one.permissions


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[ApiKey], list[Binding]]:
    """Keys that made one another, some rotated or dead, for some principals, which are bound to this and that."""
    keys: list[ApiKey] = []
    held = st.frozensets(st.sampled_from(SOME), min_size=2).map(lambda names: names | {"prompts:write"})
    for number in range(draw(st.integers(1, 6))):
        maker = draw(st.none() | st.integers(0, number - 1)) if number else None
        rotates = draw(st.booleans()) and maker is not None and keys[maker].rotated_to is None
        fields: dict[str, object] = {
            "permissions": draw(held),
            "project_id": draw(st.sampled_from(PROJECTS)),
            "principal": draw(st.sampled_from(["", "", "A", "B", "C"])),
            "revoked_at": draw(st.none() | st.just(NOW - 1)),
            "expires_at": draw(st.none() | st.just(NOW - 1)),
        }
        if rotates:
            assert maker is not None
            old = keys[maker]
            fields |= {"rotated_from": old.id, "project_id": old.project_id, "principal": old.principal}
            keys[maker] = msgspec.structs.replace(old, rotated_to=f"k{number}")
        keys.append(key(number, maker, **fields))
    patterns = st.builds(
        Resource,
        project=st.sampled_from(["", "p1", "p2"]),
        label=st.sampled_from(["", "", "production", "s*"]),
        intent=st.sampled_from(["", "", "refunds"]),
        prompt=st.sampled_from(["", "", "hel*", "help"]),
    )
    bindings: list[Binding] = []
    for who, effect, names, on, ends in draw(
        st.lists(
            st.tuples(
                st.sampled_from("ABC"),
                st.sampled_from(["allow", "allow", "deny"]),
                st.frozensets(st.sampled_from(SOME), min_size=1),
                patterns | st.just(ANY),
                st.sampled_from([None, None, NOW + 1, NOW]),
            ),
            max_size=6,
        )
    ):
        reached = scoping.within(names, on, effect)
        if reached:
            bindings.append(binding(who, effect, reached, on, ends))
    return keys, bindings


def reach(one: Caller) -> list[Resource]:
    """Where a key's actions can lie: its project, or all of the organization's."""
    wide = "projects:write" in one.permissions
    return [on for on in RESOURCES if wide or on.project == one.project]


@settings(max_examples=120, deadline=None)
@given(worlds())
def test_no_key_exceeds_its_makers_its_principal_or_a_denial(world: tuple[list[ApiKey], list[Binding]]):
    judged(*world)


@pytest.mark.soak
@settings(max_examples=10_000, deadline=None)
@given(worlds())
def test_no_key_of_ten_thousand_worlds_exceeds(world: tuple[list[ApiKey], list[Binding]]):
    judged(*world)


def judged(keys: Sequence[ApiKey], bindings: Sequence[Binding]) -> None:
    """Every key, permission and resource of a world against the oracle."""
    stands = ground(keys, bindings)
    known: dict[str, Rights] = {}
    callers = [caller(stands.of(one, NOW, known), one) for one in keys]
    for number, one in enumerate(callers):
        above = newest_maker(keys, number)
        assert above is None or one.permissions <= callers[above].permissions
        for name in SOME:
            for on in reach(one):
                if allows(one, name, on):
                    # Where its maker's key does not reach (any more), what the maker's principal is bound to counts.
                    if above is not None and on in reach(callers[above]):
                        assert allows(callers[above], name, on), (number, name, on)
                    assert may(keys, bindings, number, name, on), (number, name, on)
                    # What it may do somewhere, a route must let pass.
                    assert allows(one, name)
                elif keys[number].project_id == on.project and name in JUDGED and not uses_unjudged(bindings, keys):
                    assert not may(keys, bindings, number, name, on), (number, name, on)


def uses_unjudged(bindings: Sequence[Binding], keys: Sequence[ApiKey]) -> bool:
    """Whether something in this world is settled more strictly than the words: never more loosely."""
    return any(one.on != ANY for one in bindings) and len({one.project_id for one in keys}) > 1


@settings(max_examples=60, deadline=None)
@given(worlds(), st.data())
def test_who_is_narrowed_narrows_its_children_at_once(world: tuple[list[ApiKey], list[Binding]], data: st.DataObject):
    keys, bindings = world
    at = data.draw(st.integers(0, len(keys) - 1))
    fewer = data.draw(st.frozensets(st.sampled_from(SOME)))
    narrowed = [
        msgspec.structs.replace(one, permissions=one.permissions & fewer) if number == at else one
        for number, one in enumerate(keys)
    ]
    was, is_ = ground(keys, bindings), ground(narrowed, bindings)
    for number, one in enumerate(narrowed):
        before, after = was.of(keys[number], NOW, {}).permissions, is_.of(one, NOW, {}).permissions
        assert after <= before
        if number != at and one.created_by == f"key:k{at}" and not one.rotated_from and not keys[at].rotated_to:
            assert after <= fewer


# -- by example ----------------------------------------------------------------------------------------------------


def of(stands: Ground, one: ApiKey, now: int = NOW) -> Caller:
    return caller(stands.of(one, now, {}), one)


def test_may_move_labels_but_not_production():
    one = key(0, principal="A", permissions=permissions.ROLES["prompt-editor"])
    bindings = [
        Binding(id="", org_id="o", principal_id="A", role="prompt-editor", created_at=0, created_by=""),
        binding("A", "deny", frozenset({"labels:move"}), Resource(label="production")),
    ]
    editor = of(ground([one], bindings), one)
    assert allows(editor, "labels:move")
    assert allows(editor, "labels:move", Resource(project="p1", label="staging"))
    assert not allows(editor, "labels:move", Resource(project="p1", label="production"))
    assert allows(editor, "prompts:write", Resource(project="p1", prompt="hello"))
    # Whoever allows it as well, explicitly and for this very label: the denial wins.
    bindings.append(binding("A", "allow", frozenset({"labels:move"}), Resource(project="p1", label="production")))
    assert not allows(of(ground([one], bindings), one), "labels:move", Resource(project="p1", label="production"))


def test_once_governed_always_governed():
    one = key(0, principal="A")
    ended = [binding("A", "allow", frozenset(SOME), ends=NOW)]
    assert of(ground([one], ended), one, NOW - 1).permissions == frozenset(SOME)
    assert of(ground([one], ended), one).permissions == frozenset(), "an end must not set free"
    assert of(ground([one]), one).permissions == frozenset(SOME), "what was never bound is as issued"
    denied = [binding("A", "deny", frozenset({"chat:call"}))]
    assert of(ground([one], denied), one).permissions == frozenset(SOME) - {"chat:call"}


def test_a_binding_to_a_project_gives_nothing_beyond_it():
    inside, outside = key(0, principal="A"), key(1, principal="A", project_id="p2")
    bindings = [binding("A", "allow", frozenset(SOME) - {"projects:write"}, Resource(project="p1"))]
    stands = ground([inside, outside], bindings)
    assert of(stands, inside).permissions == frozenset(SOME) - {"projects:write"}
    assert of(stands, inside).rules == (), "settled once, not asked on every call"
    assert of(stands, outside).permissions == frozenset()
    # Who reaches further gets there only what is judged by project when it acts.
    bindings.append(binding("A", "allow", frozenset({"projects:write"})))
    wide = of(ground([inside, outside], bindings), inside)
    assert wide.permissions == {"projects:write", "labels:move", "prompts:call", "prompts:read", "prompts:write"}
    assert allows(wide, "prompts:write", Resource(project="p1"))
    assert not allows(wide, "prompts:write", Resource(project="p2"))


def test_a_denial_on_a_project_takes_the_reach_away():
    one = key(0, principal="A", project_id="p2")
    bindings = [binding("A", "deny", frozenset(SOME), Resource(project="p1"))]
    told = of(ground([one], bindings), one)
    assert told.permissions == frozenset(SOME) - {"projects:write"}
    home = key(0, principal="A")
    assert of(ground([home], bindings), home).permissions == frozenset()


def test_a_role_on_a_label_lets_see_what_it_is_about():
    one = key(0, principal="A", permissions=permissions.ALL)
    role = Binding(
        id="",
        org_id="o",
        principal_id="A",
        role="approver",
        on=Resource(label="production"),
        created_at=0,
        created_by="",
    )
    approver = of(ground([one], [role]), one)
    assert approver.permissions == {"releases:approve", *SEEN_ALONG}
    assert allows(approver, "releases:approve", Resource(project="p1", label="production", prompt="hello"))
    assert not allows(approver, "releases:approve", Resource(project="p1", label="staging", prompt="hello"))
    assert allows(approver, "prompts:read", Resource(project="p1", prompt="hello"))


def test_every_limit_is_handed_down():
    maker = key(
        0,
        allowed_models=frozenset({"small"}),
        allowed_intents=frozenset({"refunds", "claims"}),
        end_user_required=True,
        may_act_for_users=False,
        rate=RateLimit(5, 60.0),
    )
    child = key(1, 0, allowed_intents=frozenset({"claims", "sales"}), rate=RateLimit(100, 60.0))
    got = ground([maker, child]).of(child, NOW, {})
    assert got.allowed_models == {"small"} and got.allowed_intents == {"claims"}
    assert got.end_user_required and not got.may_act_for_users and got.rate == maker.rate
    assert not allows(caller(got, child), "prompts:call", Resource(project="p1", intent="sales"))
    assert not allows(caller(got, child), "prompts:call", Resource(project="p1")), "a prompt without an intent"
    assert allows(caller(got, child), "prompts:call", Resource(project="p1", intent="claims"))


def test_rotation_frees_nobody_and_the_dead_stay_a_ceiling():
    maker = key(0, permissions=frozenset({"chat:call", "keys:write"}), revoked_at=NOW - 1, rotated_to="k1")
    newer = key(1, 0, permissions=frozenset({"chat:call"}), rotated_from="k0", principal="")
    child = key(2, 0, permissions=frozenset({"chat:call", "keys:write"}))
    stands = ground([maker, newer, child])
    assert of(stands, child).permissions == {"chat:call"}, "the newest of the line is the maker"
    assert of(stands, newer).principal == of(stands, child).principal == "key:k0"
    dead = key(0, permissions=frozenset({"chat:call"}), revoked_at=NOW - 1)
    assert of(ground([dead, key(1, 0)]), key(1, 0)).permissions == {"chat:call"}
    # A key that was replaced by one that it had made itself goes back to where the first came from.
    first, second = key(0, rotated_to="k2"), key(1, 0)
    third = key(2, 1, rotated_from="k0")
    assert of(ground([first, second, third]), second).permissions == frozenset(SOME)
    orphan = key(5, 99)
    assert of(ground([orphan]), orphan).permissions == frozenset(), "no maker to be found: nothing"


def test_a_long_line_of_keys_is_no_matter():
    keys = [key(0)] + [key(number, number - 1) for number in range(1, 5000)]
    assert of(ground(keys), keys[-1]).principal == "key:k0"


def test_broken_glass_is_for_one_key_and_one_time():
    one = key(0, permissions=frozenset({"breakglass:use", "organizations:write"}), principal="A")
    child = key(1, 0, permissions=permissions.ALL)
    glass = BreakGlass(
        id="g", org_id="o", key_id="k0", key_prefix="", principal="principal:A", reason="", began_at=0, ends_at=NOW + 1
    )
    denied = [binding("A", "deny", frozenset({"chat:call"}))]
    stands = ground([one, child], denied, [glass])
    now = stands.of(one, NOW, {})
    assert now.permissions == BROKEN | {"organizations:write"} and now.until == NOW + 1
    assert now.glass is not None and now.glass.permissions == {"breakglass:use", "organizations:write"}
    assert stands.of(child, NOW, {}).permissions == {"breakglass:use", "organizations:write"}
    after = stands.of(one, NOW + 1, {})
    assert after.glass is None and after.permissions == {"breakglass:use", "organizations:write"}


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [(None, None, None), (1, None, 1), (None, 2, 2), (1, 2, 1), (2, 1, 1)],
)
def test_the_sooner_of_two(one: int | None, other: int | None, expected: int | None):
    assert sooner(one, other) == expected


def test_the_slower_of_two_rates():
    assert slower(RateLimit(5, 1.0), RateLimit(10, 1.0)) == RateLimit(5, 1.0)
    assert slower(RateLimit(5, 1.0), RateLimit(10, 60.0)) == RateLimit(10, 60.0), "fewer at once, but more in a minute"
    assert slower(None, RateLimit(1)) == slower(RateLimit(2), RateLimit(1)) == RateLimit(1)
    assert slower(RateLimit(2), None) == RateLimit(2)
