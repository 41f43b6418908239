"""What is audited is told: once, by whichever process, however often one dies in between."""

import asyncio

import msgspec
import pytest
from notifying_kit import SECRET, House, Receiver, deliver, endpoint

from ostinato import audit
from ostinato.core.clock import ManualClock
from ostinato.notifying import following, outbox
from ostinato.notifying.following import Following


def deed(home: House, action: str, number: int = 1, **more: object) -> audit.Deed:
    wanted = {"org": home.org, "project": home.project, "facts": {"number": number}, "reason": "because of Bob", **more}
    return audit.Deed(actor="system:test", action=action, resource=f"thing:{number}", before={"text": "t"}, **wanted)


async def settled(room, home: House) -> None:
    await room._follow()
    await deliver(room, home)


async def test_a_release_and_broken_glass_are_told(both: House, receiver: Receiver) -> None:
    room = await both.process(follow=True)
    await endpoint(
        room,
        both,
        receiver.url,
        "releases:*",
        "breakers:*",
        "breakglass:*",
        name="all",
        project="acme",
        organization=True,
    )
    await room._follow()
    for action in ("releases:promote", "releases:rollback", "breakers:trip", "datasets:create", "cases:open"):
        await both.log.record(deed(both, action))
    await both.log.record(deed(both, "breakglass:begin", project=""))
    await both.log.record(deed(both, "releases:start", outcome="denied"))
    await settled(room, both)
    told = [msgspec.json.decode(hit.body) for hit in receiver.hits]
    assert sorted(one["type"] for one in told) == [
        "breakers:trip",
        "breakglass:begin",
        "releases:promote",
        "releases:rollback",
    ]
    assert all(one["data"]["facts"] == {"number": 1} and one["data"]["subject"] == "thing:1" for one in told)
    assert "Bob" not in repr(told) and '"text"' not in repr(told)
    await room.stop()


async def test_history_is_not_told_to_who_comes_later(home: House, receiver: Receiver) -> None:
    for number in range(5):
        await home.log.record(deed(home, "releases:promote", number))
    room = await home.process(follow=True)
    await endpoint(room, home, receiver.url, "releases:*")
    await settled(room, home)
    assert receiver.hits == []
    await room.stop()


async def test_two_processes_tell_each_leaf_once(both: House, receiver: Receiver) -> None:
    one, two = await both.process(follow=True), await both.process(follow=True)
    await endpoint(one, both, receiver.url, "releases:*")
    await two.endpoints.current.reload()
    await one._follow()
    for number in range(30):
        await both.log.record(deed(both, "releases:promote", number))
        if number % 7 == 0:
            await asyncio.gather(one._follow(), two._follow())
    await asyncio.gather(settled(one, both), settled(two, both))
    assert len(receiver.ids) == 30 == len(set(receiver.ids))
    await one.stop()
    await two.stop()


async def test_a_crash_between_a_change_and_its_message_loses_nothing(both: House, receiver: Receiver) -> None:
    room = await both.process(follow=True)
    await endpoint(room, both, receiver.url, "releases:*")
    await room._follow()
    await room.stop()
    # The process is gone; what others do is written in the log meanwhile.
    for number in range(1_200):
        await both.log.record(deed(both, "releases:promote", number)) if number % 100 == 0 else None
    failing = Following(both.log, both.work, lambda _c, _m: (_ for _ in ()).throw(RuntimeError("it dies here")))
    with pytest.raises(RuntimeError):
        await failing.look()
    room = await both.process(follow=True)
    await settled(room, both)
    numbers = sorted(msgspec.json.decode(hit.body)["data"]["facts"]["number"] for hit in receiver.hits)
    assert numbers == [number for number in range(1_200) if number % 100 == 0]
    await room.stop()


async def test_a_log_from_a_backup_is_followed_from_its_end(home: House) -> None:
    seen: list[str] = []
    reader = Following(home.log, home.work, lambda _c, some: seen.extend(one.subject for one in some))
    await reader.look()
    await home.work.run(lambda c: outbox.move(c, "audit", 1_000_000))
    assert await reader.look() == 0
    await home.log.record(deed(home, "releases:promote", 7))
    assert await reader.look() == 1 and seen == ["thing:7"]


async def test_many_leaves_are_read_in_pieces(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_AT_ONCE", 7)
    log = audit.Log(home.control, ManualClock(), secret=SECRET)
    seen: list[int] = []
    reader = Following(log, home.work, lambda _c, some: seen.extend(int(one.subject.split(":")[1]) for one in some))
    await reader.look()
    for number in range(50):
        await log.record(deed(home, "releases:promote", number))
    assert await reader.look() == 50
    assert seen == list(range(50))
    assert await reader.look() == 0
