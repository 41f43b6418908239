"""Answers kept under idempotency keys, on both engines: one request is carried out, whoever repeats it and when."""

import asyncio

import pytest

from ostinato import storage
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Conflict, LimitReached
from ostinato.storage import Answers, Begun, Kept, answers
from ostinato.storage.answers import ABANDONED_SECONDS, KEPT_SECONDS, KeyReused

HEADERS = {"content-type": "application/json"}


@pytest.fixture
def kept(control: storage.Database, clock: ManualClock) -> Answers:
    return Answers(control, clock)


async def begun(kept: Answers, key: str = "k", digest: bytes = b"d", principal: str = "p") -> Begun:
    got = await kept.begin(principal, key, digest, f"r-{key}")
    assert isinstance(got, Begun)
    return got


async def test_a_repetition_gets_the_answer_and_another_request_is_told(kept: Answers) -> None:
    claim = await begun(kept)
    with pytest.raises(Conflict) as waiting:
        await kept.begin("p", "k", b"d", "r2")
    assert waiting.value.code == "idempotency_in_progress" and waiting.value.retry_after
    assert await kept.finish(claim, 201, HEADERS, b'{"a":1}')
    again = await kept.begin("p", "k", b"d", "r2")
    assert again == Kept(201, HEADERS, b'{"a":1}', "", "r-k")
    with pytest.raises(KeyReused) as other:
        await kept.begin("p", "k", b"other", "r3")
    assert other.value.status == 422
    await begun(kept, principal="somebody else")
    await begun(kept, key="another")


async def test_what_is_not_kept_says_why(kept: Answers) -> None:
    await kept.finish(await begun(kept), 201, {}, None, "secret")
    again = await kept.begin("p", "k", b"d", "r2")
    assert isinstance(again, Kept) and again.body is None and again.omitted == "secret"


async def test_a_released_key_is_free_again(kept: Answers) -> None:
    claim = await begun(kept)
    await kept.release(claim)
    second = await begun(kept, digest=b"other")
    await kept.release(claim)  # no longer theirs to give up
    assert not await kept.finish(claim, 200, {}, b"")
    assert await kept.finish(second, 200, {}, b"mine")


async def test_who_died_is_followed_after_a_while_and_cannot_come_back(kept: Answers, clock: ManualClock) -> None:
    dead = await begun(kept)
    clock.advance(ABANDONED_SECONDS - 1)
    with pytest.raises(Conflict, match="under way"):
        await kept.begin("p", "k", b"d", "r2")
    clock.advance(2)
    follower = await begun(kept)
    assert not await kept.finish(dead, 200, {}, b"late")
    assert await kept.finish(follower, 200, {}, b"true")
    again = await kept.begin("p", "k", b"d", "r3")
    assert isinstance(again, Kept) and again.body == b"true"


async def test_a_change_that_was_made_is_not_made_again(control: storage.Database, clock: ManualClock) -> None:
    made: list[tuple[str, int]] = []

    async def carried_out(request_id: str, since: int) -> bool:
        made.append((request_id, since))
        return len(made) == 1

    kept, start = Answers(control, clock, carried_out), clock.now()
    await begun(kept)
    clock.advance(ABANDONED_SECONDS + 1)
    with pytest.raises(Conflict) as lost:
        await kept.begin("p", "k", b"d", "r2")
    assert lost.value.code == "idempotency_answer_lost" and "r-k" in lost.value.message
    assert made == [("r-k", start)]
    assert isinstance(await kept.begin("p", "k", b"d", "r3"), Begun), "else it is done, under the new request's id"


async def test_of_many_at_once_one_carries_it_out(control: storage.Database, clock: ManualClock) -> None:
    doors = [Answers(control, clock) for _ in range(4)]
    for round_ in range(5):
        got = await asyncio.gather(
            *(door.begin("p", f"k{round_}", b"d", "r") for door in doors for _ in range(3)), return_exceptions=True
        )
        assert [type(one) for one in got if not isinstance(one, Conflict)] == [Begun]
        codes = {one.code for one in got if isinstance(one, Conflict)}
        assert codes == {"idempotency_in_progress"}
    clock.advance(ABANDONED_SECONDS + 1)
    got = await asyncio.gather(*(door.begin("p", "k0", b"d", "r") for door in doors), return_exceptions=True)
    assert sum(isinstance(one, Begun) for one in got) == 1


async def test_a_day_later_it_is_forgotten(kept: Answers, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "_SWEPT", 3)
    for number in range(7):
        await kept.finish(await begun(kept, key=f"k{number}"), 200, {}, b"x")
    clock.advance(KEPT_SECONDS / 2)
    await kept.finish(await begun(kept, key="young"), 200, {}, b"y")
    assert await kept.sweep() == 0
    clock.advance(KEPT_SECONDS / 2 + 1)
    await begun(kept, key="k0", digest=b"even before the sweep")
    assert await kept.sweep() == 6
    assert isinstance(await kept.begin("p", "young", b"d", "r"), Kept)


async def test_keys_of_one_principal_are_bounded(kept: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MOST", 3)
    for number in range(3):
        await begun(kept, key=f"k{number}")
    with pytest.raises(LimitReached):
        await kept.begin("p", "one more", b"d", "r")
    await begun(kept, principal="q")
