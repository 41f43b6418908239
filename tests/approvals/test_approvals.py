"""Requests for approval on both engines: who may decide, what counts, what ends them."""

import pytest
import sqlalchemy as sa

from ostinato import access, approvals, storage
from ostinato.access import Caller
from ostinato.approvals import tables
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Conflict, Denied, Invalid, NotFound

DIGEST = "a" * 64
HOUR = 3_600_000_000


def caller(name: str, principal: str = "", **more: object) -> Caller:
    grant = frozenset({"releases:approve"})
    return Caller(
        key_id=name, key_prefix=name, org="org", project="project", permissions=grant, principal=principal, **more
    )


ALICE, BOB, CAROL = (caller(name, f"principal:{name}") for name in ("alice", "bob", "carol"))


def anyone(_principal: str) -> bool:
    return True


@pytest.fixture
def request_id(control: storage.Database, clock: ManualClock) -> str:
    return opened(control, clock).id


def opened(control: storage.Database, clock: ManualClock, needed: int = 1, **more: str) -> approvals.Request:
    return control.transact(
        lambda c: approvals.open_request(
            c,
            now=clock.now(),
            actor=ALICE,
            kind=more.get("kind", "release"),
            target=more.get("target", "release:1"),
            digest=DIGEST,
            body={"number": 2},
            needed=needed,
            org=more.get("org", "org"),
            project=more.get("project", "project"),
            expires=clock.now() + HOUR,
        )
    )


def decide(
    control: storage.Database, clock: ManualClock, request_id: str, who: Caller, decision: str = "approve", **more: str
) -> approvals.Request:
    return control.transact(
        lambda c: approvals.decide(
            c,
            now=clock.now(),
            actor=who,
            request_id=request_id,
            decision=decision,
            digest=more.pop("digest", DIGEST),
            **more,
        )
    )


def tally(control: storage.Database, clock: ManualClock, request_id: str, allowed=anyone, **more) -> approvals.Tally:
    return control.transact(lambda c: approvals.tally(c, request_id, now=clock.now(), allowed=allowed, **more))


def test_tables_are_those_of_the_revision(control: storage.Database, schema_drift) -> None:
    assert schema_drift(control, tables.metadata) == []


def test_another_principal_approves(control: storage.Database, clock: ManualClock, request_id: str) -> None:
    assert not tally(control, clock, request_id).reached
    request = decide(control, clock, request_id, BOB, comment=" fine ")
    assert [(one.principal, one.decision, one.comment) for one in request.decisions] == [
        ("principal:bob", "approve", "fine")
    ]
    assert request.body == {"number": 2}
    found = tally(control, clock, request_id)
    assert found.reached and found.approved_by == ("principal:bob",)


def test_the_author_does_not_approve_by_a_second_key_either(
    control: storage.Database, clock: ManualClock, request_id: str
) -> None:
    for key in (ALICE, caller("second", "principal:alice")):
        with pytest.raises(Denied) as caught:
            decide(control, clock, request_id, key)
        assert caught.value.code == "self_approval"
    assert tally(control, clock, request_id).approved_by == ()


def test_an_author_may_reject_what_they_asked_for(
    control: storage.Database, clock: ManualClock, request_id: str
) -> None:
    assert decide(control, clock, request_id, ALICE, "reject", comment="a slip").state == "rejected"


def test_a_principal_counts_once(control: storage.Database, clock: ManualClock) -> None:
    request = opened(control, clock, needed=2)
    decide(control, clock, request.id, BOB)
    decide(control, clock, request.id, caller("bobs second", "principal:bob"))
    assert not tally(control, clock, request.id).reached
    decide(control, clock, request.id, CAROL)
    assert tally(control, clock, request.id).reached
    assert not tally(control, clock, request.id, needed=3).reached


def test_who_lost_the_right_does_not_count(control: storage.Database, clock: ManualClock, request_id: str) -> None:
    decide(control, clock, request_id, BOB)
    found = tally(control, clock, request_id, allowed=lambda principal: principal != "principal:bob")
    assert not found.reached
    assert "principal:bob does not count" in found.sentence


def test_an_approval_of_another_digest_is_refused(
    control: storage.Database, clock: ManualClock, request_id: str
) -> None:
    with pytest.raises(Conflict) as caught:
        decide(control, clock, request_id, BOB, digest="b" * 64)
    assert caught.value.code == "approval_stale"


def test_an_approval_whose_digest_is_not_the_requests_does_not_count(
    control: storage.Database, clock: ManualClock, request_id: str
) -> None:
    decide(control, clock, request_id, BOB)
    table = tables.approval_request
    control.transact(lambda c: c.execute(table.update().values(digest="c" * 64)))
    assert not tally(control, clock, request_id).reached


def test_one_rejection_ends_a_request(control: storage.Database, clock: ManualClock) -> None:
    request = opened(control, clock, needed=2)
    decide(control, clock, request.id, BOB)
    decide(control, clock, request.id, CAROL, "reject", comment="too soon")
    assert not tally(control, clock, request.id).reached
    with pytest.raises(Conflict, match="too soon"):
        decide(control, clock, request.id, BOB)


def test_a_request_expires_with_its_approvals(control: storage.Database, clock: ManualClock, request_id: str) -> None:
    decide(control, clock, request_id, BOB)
    clock.advance(3_600)
    assert tally(control, clock, request_id).standing == "expired"
    with pytest.raises(Conflict, match="expired"):
        decide(control, clock, request_id, CAROL)


def test_what_has_changed_is_void(control: storage.Database, clock: ManualClock, request_id: str) -> None:
    decide(control, clock, request_id, BOB)
    control.transact(lambda c: approvals.void(c, request_id, "the label was moved", now=clock.now()))
    assert not tally(control, clock, request_id).reached
    with pytest.raises(Conflict, match="the label was moved"):
        decide(control, clock, request_id, CAROL)


def test_approvals_serve_once(control: storage.Database, clock: ManualClock, request_id: str) -> None:
    decide(control, clock, request_id, BOB)
    control.transact(lambda c: approvals.complete(c, request_id, now=clock.now()))
    with pytest.raises(Conflict):
        control.transact(lambda c: approvals.complete(c, request_id, now=clock.now()))
    assert not tally(control, clock, request_id).reached


def test_decisions_are_bounded(control: storage.Database, clock: ManualClock, request_id: str) -> None:
    for _ in range(200):
        decide(control, clock, request_id, BOB)
    with pytest.raises(Conflict) as caught:
        decide(control, clock, request_id, BOB)
    assert caught.value.code == "too_many_decisions"


@pytest.mark.parametrize("wrong", [{"decision": "maybe"}, {"comment": "x" * 2_001}, {"comment": "a\x00b"}])
def test_wrong_decisions_are_refused(
    control: storage.Database, clock: ManualClock, request_id: str, wrong: dict[str, str]
) -> None:
    with pytest.raises(Invalid):
        decide(control, clock, request_id, BOB, **wrong)


def test_unknown_requests(control: storage.Database, clock: ManualClock) -> None:
    for name in ("f" * 32, "x", "' OR 1=1 --", "a\x00"):
        with pytest.raises(NotFound):
            decide(control, clock, name, BOB)


def test_a_rolled_back_decision_leaves_nothing(control: storage.Database, clock: ManualClock, request_id: str) -> None:
    class Broken(Exception):
        pass

    def fail(connection: sa.Connection) -> None:
        approvals.decide(
            connection, now=clock.now(), actor=BOB, request_id=request_id, decision="reject", digest=DIGEST
        )
        raise Broken

    with pytest.raises(Broken):
        control.transact(fail)
    request = control.query(lambda c: approvals.find(c, request_id))
    assert request.state == "open" and request.decisions == ()


async def test_pages_show_what_one_reaches(control: storage.Database, clock: ManualClock) -> None:
    mine = opened(control, clock)
    clock.advance(1)
    second = opened(control, clock, kind="intent", target="intent:refunds")
    clock.advance(1)
    opened(control, clock, org="other")
    elsewhere = opened(control, clock, project="another")
    desk = approvals.Approvals(control)
    assert [one.id for one in await desk.list(BOB)] == [mine.id, second.id]
    assert [one.id for one in await desk.list(BOB, kind="intent")] == [second.id]
    assert [one.id for one in await desk.list(BOB, after=mine.id)] == [second.id]
    assert await desk.list(BOB, state="void") == []
    wide = Caller(
        key_id="wide",
        key_prefix="wide",
        org="org",
        project="project",
        permissions=frozenset({"projects:write"}),
        principal="principal:wide",
    )
    assert {one.id for one in await desk.list(wide)} == {mine.id, second.id, elsewhere.id}
    assert (await desk.show(wide, elsewhere.id)).id == elsewhere.id
    with pytest.raises(NotFound):
        await desk.show(BOB, elsewhere.id)
    assert (await desk.show(access.SystemActor("test"), elsewhere.id)).id == elsewhere.id
