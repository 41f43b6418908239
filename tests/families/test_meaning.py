"""Questions compared by their meaning: bounded, on a sample that stands for all, and forgotten with their asker."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ostinato import storage
from ostinato.core.clock import ManualClock
from ostinato.families import Families, Settings
from ostinato.traces import CallRow
from ostinato.wire.model import Answer, BlockStart, ChatRequest, Delta, Message, Text, Usage


class Encoder:
    """Texts with the same first word mean the same."""

    id = "toy@00000000"
    dimensions = 8

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.failing = False

    async def embed(self, texts: Sequence[str]) -> Any:
        if self.failing:
            raise RuntimeError("away")
        self.seen += texts
        found = np.zeros((len(texts), 8), np.float32)
        for at, text in enumerate(texts):
            found[at, sum(map(ord, text.split()[0])) % 8] = 1.0
        return found

    async def close(self) -> None: ...


@pytest.fixture
def traces(tmp_path: Path) -> Iterator[storage.Database]:
    database = storage.open_database("traces", tmp_path / "traces.db")
    storage.migrate(database)
    yield database
    database.close()


def ask(room: Families, clock: ManualClock, text: str, user: str = "a" * 32) -> None:
    request = ChatRequest("plain", (Message("user", (Text(text),)),))
    fingerprint = f"{abs(hash(text)):032x}"[::-1]
    row = CallRow(request_id=text, at=clock.now(), org="o", project="p", wire="openai.chat", alias="plain",
                  fingerprint=fingerprint, family="family", usage=Usage(input=1), cost=1_000)  # fmt: skip
    room.observe_batch([], [row], {}, {})
    answer = Answer("openai.chat", (BlockStart(0, "text"), Delta(0, "yes")))
    room.answered("o", "p", "family", fingerprint, request, answer, user=user)


async def figures(room: Families) -> Any:
    await asyncio.to_thread(room.flush)
    assert room.meaning is not None
    await room.meaning.compare()
    (found,) = await room.list("p")
    return found


def room_of(traces: storage.Database, clock: ManualClock, encoder: Encoder, per_second: int = 1_000) -> Families:
    room = Families(traces, clock, Settings(meant_per_second=per_second, looked_per_second=1_000), seed=1)
    room.compare_by(encoder)
    return room


async def test_the_encoder_says_what_is_near_once_it_has_seen_enough(traces: storage.Database) -> None:
    clock, encoder = ManualClock(), Encoder()
    room = room_of(traces, clock, encoder)
    for number in range(15):
        ask(room, clock, f"pay something quite else of the kind {chr(97 + number) * 9}")
    assert (await figures(room)).near_by == "minhash"
    for number in range(5):
        ask(room, clock, f"rate {chr(97 + number) * 9} lost anywhere")
    for _ in range(20):
        ask(room, clock, "rate aaaaaaaaa lost anywhere")  # the same again is not near: it is the same
    found = await figures(room)
    assert found.near_by == encoder.id
    assert (found.near.value, found.near.n) == (18 / 40, 40)  # 14 of 15, and 4 of 5
    assert len(encoder.seen) == 20  # what was asked before needs no encoder
    await room.stop()


async def test_no_more_are_compared_than_a_second_has_room_for_and_a_failing_encoder_costs_nothing_else(
    traces: storage.Database,
) -> None:
    clock, encoder = ManualClock(), Encoder()
    room = room_of(traces, clock, encoder, per_second=3)
    for number in range(30):
        ask(room, clock, f"pay {number}x{number}")
    await figures(room)
    assert len(encoder.seen) == 3
    clock.advance(1)
    encoder.failing = True
    ask(room, clock, "another one")
    with pytest.raises(RuntimeError):
        await figures(room)
    assert room.meaning is not None
    assert room.meaning.passed_over == 1
    (found,) = await room.list("p")
    assert (found.requests, found.near_by) == (31, "minhash")
    await room.stop()


async def test_what_somebody_asked_is_forgotten_by_its_meaning_too(traces: storage.Database) -> None:
    clock, encoder = ManualClock(), Encoder()
    room = room_of(traces, clock, encoder)
    ask(room, clock, "pay now", user="a" * 32)
    await figures(room)
    ask(room, clock, "card gone", user="a" * 32)
    await asyncio.to_thread(room.flush)
    room.forget("p", "a" * 32)
    assert room.meaning is not None
    assert not room.meaning._waiting
    assert not [one for firsts in room.meaning._firsts.values() for one in firsts]
    ask(room, clock, "pay later", user="b" * 32)
    await figures(room)
    assert len([one for firsts in room.meaning._firsts.values() for one in firsts]) == 1  # like nobody's, now
    await room.stop()


async def test_who_is_forgotten_while_their_question_is_compared_leaves_nothing(traces: storage.Database) -> None:
    """At whichever moment nobody holds the lock: nothing of theirs is kept afterwards."""
    clock, encoder = ManualClock(), Encoder()
    for moment in (1, 2):
        room = room_of(traces, clock, encoder)
        ask(room, clock, f"pay now {moment}", user="a" * 32)
        await asyncio.to_thread(room.flush)
        meaning = room.meaning
        assert meaning is not None and meaning._waiting

        class Lock:
            """Whoever waits for it has it as soon as it is let go, for the first or the second time."""

            held = threading.Lock()
            left, of = moment, meaning

            def __enter__(self) -> None:
                self.held.acquire()

            def __exit__(self, *_: object) -> None:
                self.held.release()
                type(self).left -= 1
                if self.left == 0:
                    self.of.forget("p", "a" * 32)

        meaning._lock = Lock()  # pyright: ignore[reportAttributeAccessIssue]
        await meaning.compare()
        meaning._lock = threading.Lock()
        if Lock.left > 0:
            meaning.forget("p", "a" * 32)
        assert not [one for firsts in meaning._firsts.values() for one in firsts], moment
        await room.stop()
