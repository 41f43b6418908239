"""Scopes: the base from the key alone, everything else only narrows."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.access.model import Caller
from ostinato.cache import scope as scopes
from ostinato.cache.model import Policy, Scope

POLICY = Policy()
NAMES = st.text(max_size=4)


def caller(**fields: object) -> Caller:
    return Caller(**{"key_id": "k", "key_prefix": "ost_1", "org": "o", "project": "p", **fields})  # type: ignore[arg-type]


def of(
    who: Caller, user: str | None = "", session: str = "", context: str = "", policy: Policy = POLICY
) -> Scope | None:
    found = scopes.scope_of(who, user=user, session=session, context=context, policy=policy)
    assert (found is None) == bool(scopes.missing(who, user=user, session=session, policy=policy))
    return found


def test_a_named_user_has_entries_of_their_own():
    assert of(caller()) == of(caller(), user=None) == Scope("o", "p")
    assert of(caller(), user="ann") == Scope("o", "p", "ann")


def test_a_key_that_may_not_act_for_users_is_not_heard_about_them():
    silent = caller(may_act_for_users=False)
    assert of(silent, user="ann", session="s", context="de") == Scope("o", "p", context="de")


def test_who_demands_an_end_user_has_no_scope_without_one():
    strict = caller(end_user_required=True)
    assert of(strict) is None
    assert of(strict, user="ann") == Scope("o", "p", "ann")
    assert of(strict, policy=Policy(scope="project")) is None
    assert of(caller(end_user_required=True, may_act_for_users=False), user="ann") is None
    assert scopes.missing(strict, user="", session="", policy=POLICY) == "no-end-user"


def test_sharing_among_users_only_by_declaration():
    shared = Policy(scope="project")
    assert of(caller(), user="ann", policy=shared) == of(caller(), user="bob", policy=shared) == Scope("o", "p")
    assert of(caller(), user="ann", context="de", policy=shared) == Scope("o", "p", context="de")


def test_a_policy_may_keep_conversations_apart():
    apart = Policy(session_scope=True)
    assert of(caller(), session="s1", policy=apart) == Scope("o", "p", session="s1")
    assert of(caller(), policy=apart) is None
    assert scopes.missing(caller(), user="", session="", policy=apart) == "no-session"
    assert of(caller(may_act_for_users=False), session="s1", policy=apart) is None
    assert of(caller(), session="s1") == Scope("o", "p")


POLICIES = st.builds(Policy, scope=st.sampled_from(["user", "project"]), session_scope=st.booleans())
CALLERS = st.builds(
    Caller,
    key_id=NAMES,
    key_prefix=NAMES,
    org=NAMES,
    project=NAMES,
    end_user_required=st.booleans(),
    may_act_for_users=st.booleans(),
)


@given(CALLERS, POLICIES, NAMES, NAMES, NAMES)
def test_nothing_that_is_named_moves_the_base(who: Caller, policy: Policy, user: str, session: str, context: str):
    """T3: whatever headers and body say, organization and project are the key's."""
    found = of(who, user, session, context, policy)
    if found is None:
        return
    assert (found.org, found.project) == (who.org, who.project)
    assert found.user in ("", user)
    assert found.session in ("", session)
    assert found.context == context
    assert scopes.base_digest(found) == scopes.base_digest(Scope(who.org, who.project))


@given(CALLERS, CALLERS, POLICIES, NAMES, NAMES, NAMES)
def test_no_foreign_base_can_be_named(
    one: Caller, other: Caller, policy: Policy, user: str, session: str, context: str
):
    """No values that one caller can send lead to an entry of a caller of another project."""
    if (one.org, one.project) == (other.org, other.project):
        return
    mine, theirs = of(one, user, session, context, policy), of(other, user, session, context, policy)
    if mine is not None and theirs is not None:
        assert scopes.digest(mine) != scopes.digest(theirs)
        assert scopes.base_digest(mine) != scopes.base_digest(theirs)


def test_digests_tell_every_part_apart():
    values = ["", "a", "b", "ab"]
    made = {scopes.digest(Scope(*parts)) for parts in itertools.product(values, repeat=5)}
    assert len(made) == len(values) ** 5
    bases = {scopes.base_digest(Scope(*parts)) for parts in itertools.product(values, repeat=2)}
    assert len(bases) == len(values) ** 2
    assert not made & bases


@pytest.mark.parametrize("part", ["user", "context", "session"])
def test_the_base_digest_does_not_know_what_narrows(part: str):
    bare = Scope("o", "p")
    narrowed = msgspec.structs.replace(bare, **{part: "x"})
    assert scopes.base_digest(bare) == scopes.base_digest(narrowed)
    assert scopes.digest(bare) != scopes.digest(narrowed)


def test_a_user_is_shown_by_a_keyed_digest():
    secret = b"s" * 32
    shown = scopes.user_digest(Scope("o", "p", "ann"), secret)
    assert len(shown) == 32
    assert "ann" not in shown
    assert shown == scopes.user_digest(Scope("o", "p", "ann", "de", "s1"), secret)
    assert shown != scopes.user_digest(Scope("o", "p", "ann"), b"t" * 32)
    assert shown != scopes.user_digest(Scope("o", "q", "ann"), secret)
    assert scopes.user_digest(Scope("o", "p"), secret) == ""
    assert scopes.user_digest(Scope("o", "p", "ann"), b"short") != shown
