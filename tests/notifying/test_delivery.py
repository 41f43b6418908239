"""At least once, under one id, through outages and crashes; nobody in another's way."""

import asyncio
import base64
import hashlib
import hmac
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from notifying_kit import SYSTEM, Hit, House, Receiver, deliver, endpoint, house, urls

from ostinato import notifying
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Unavailable
from ostinato.notifying import outbox, tables


def verified(hit: Hit, secret: str) -> bool:
    """Standard Webhooks 1.0.0, written anew from its text."""
    told = f"{hit.headers['webhook-id']}.{hit.headers['webhook-timestamp']}.".encode() + hit.body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, told, hashlib.sha256).digest()).decode()
    return f"v1,{expected}" in hit.headers["webhook-signature"].split(" ")


async def tell(room: notifying.Notifying, home: House, count: int, event: str = "cases:open") -> None:
    for number in range(count):
        await room.tell(home.org, home.project, event, f"case:{number}", {"number": number})


async def rows(home: House) -> list[sa.RowMapping]:
    query = sa.select(tables.delivery).order_by(tables.delivery.c.message)
    return list(await home.work.read(lambda c: c.execute(query).mappings().all()))


async def test_what_is_told_arrives_signed(both: House, receiver: Receiver) -> None:
    room = await both.process()
    hook, secret = await endpoint(room, both, receiver.url, "cases:*")
    await room.tell(both.org, both.project, "cases:open", "case:1", {"severity": "high", "samples": 412})
    await room.tell(both.org, both.project, "releases:promote", "release:1")
    await deliver(room, both)
    (hit,) = receiver.hits
    body = msgspec.json.decode(hit.body)
    assert body["type"] == "cases:open" and body["timestamp"].endswith("Z")
    assert body["data"]["samples"] == 412 and body["data"]["subject"] == "case:1"
    assert hit.path == "/hook?token=t0ken" and hit.headers["content-type"] == "application/json"
    assert verified(hit, secret)
    assert abs(int(hit.headers["webhook-timestamp"]) - both.clock.now() // 1_000_000) <= 1
    assert await both.states() == {"delivered": 1}
    assert "t0ken" not in hook.address
    await room.stop()


async def test_an_hour_without_receiver_loses_nothing(both: House, receiver: Receiver) -> None:
    """G8: through an outage of an hour everything arrives, once its receiver is there, under the id it had."""
    room = await both.process()
    _, secret = await endpoint(room, both, receiver.url)
    await receiver.stop()
    told = 0
    for _minute in range(12):
        await tell(room, both, 2)
        told += 2
        await deliver(room, both)
        both.clock.advance(300)
    assert receiver.hits == [] and await both.states() == {"waiting": told}
    ids = {row["message"] for row in await rows(both)}
    await receiver.start()
    for _minute in range(60):
        both.clock.advance(300)
        await deliver(room, both)
        if await both.states() == {"delivered": told}:
            break
    assert await both.states() == {"delivered": told}
    assert set(receiver.ids) == ids and len(receiver.ids) == told
    assert all(verified(hit, secret) for hit in receiver.hits)
    await room.stop()


async def test_pauses_grow_and_the_last_try_makes_a_dead_letter(home: House, receiver: Receiver) -> None:
    room = await home.process(disable_days=0.0)
    hook, _ = await endpoint(room, home, receiver.url)
    receiver.status, receiver.body = 500, b"<b>broken</b> " + b"mail bob" + b"@example.com " + b"x" * 500
    await tell(room, home, 1)
    begun = home.clock.now()
    times: list[int] = []
    for _ in range(20):
        await deliver(room, home)
        times.append((home.clock.now() - begun) // 1_000_000)
        (row,) = await rows(home)
        if row["state"] == "dead":
            break
        home.clock.advance((row["next_at"] - home.clock.now()) / 1e6)
    assert times == [0, 5, 35, 155, 755, 2555, 6155, 13355, 27755, 56555, 99755, 142955, 186155]
    assert len(set(receiver.ids)) == 1 and len(receiver.ids) == 13
    stamps = [int(hit.headers["webhook-timestamp"]) for hit in receiver.hits]
    assert stamps == sorted(set(stamps)), "each try says when it was made"
    (dead,) = await room.deliveries(SYSTEM, hook.id, state="dead")
    assert dead.status == 500 and dead.tries == 13 and len(dead.said) <= 200
    assert "bob" + "@example.com" not in dead.said and "broken" in dead.said
    receiver.status = 200
    assert await room.effects.resend(SYSTEM, hook.id) == 1
    await deliver(room, home)
    assert await home.states() == {"delivered": 1} and len(set(receiver.ids)) == 1
    await room.stop()


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404, 429, 500, 503])
async def test_whatever_is_no_success_is_tried_again(home: House, receiver: Receiver, status: int) -> None:
    room = await home.process()
    await endpoint(room, home, receiver.url)
    other = Receiver()
    await other.start()
    receiver.status = status
    receiver.headers = {"location": other.url, "retry-after": "77"}
    await tell(room, home, 1)
    await deliver(room, home)
    (row,) = await rows(home)
    assert row["state"] == "waiting" and row["status"] == status and other.hits == []
    pause = (row["next_at"] - home.clock.now()) // 1_000_000
    assert pause == (77 if status in (429, 503) else 5)
    await other.stop()
    await room.stop()


async def test_who_is_gone_is_disabled_and_its_case_told(home: House, receiver: Receiver) -> None:
    room = await home.process()
    hook, _ = await endpoint(room, home, receiver.url)
    told: list[str] = []

    async def case(one: notifying.Endpoint) -> None:
        told.append(one.why)

    room.on_disabled = case
    receiver.status = 410
    await tell(room, home, 1)
    await deliver(room, home)
    assert told == ["the receiver answered 410 Gone"]
    shown = await room.endpoints.show(SYSTEM, hook.id)
    assert not shown.enabled and "410" in shown.why
    assert await home.states() == {"dead": 1}
    await tell(room, home, 1)
    assert await home.states() == {"dead": 1}, "nothing more is written for it"
    await room.stop()


async def test_days_of_failing_disable_it_and_one_success_forgives(home: House, receiver: Receiver) -> None:
    room = await home.process(retry_seconds=(3_600.0,) * 200, disable_days=2.0)
    hook, _ = await endpoint(room, home, receiver.url)

    async def fail_for(hours: int) -> None:
        receiver.status = 500
        await tell(room, home, 1)
        for _ in range(hours):
            await deliver(room, home)
            home.clock.advance(3_600)

    await fail_for(40)
    receiver.status = 200
    await deliver(room, home)
    (fare,) = await room.fares([await room.endpoints.show(SYSTEM, hook.id)])
    assert fare.failures == 0 and fare.failing_since is None and fare.enabled
    await fail_for(40)
    assert (await room.endpoints.show(SYSTEM, hook.id)).enabled
    await fail_for(12)
    assert not (await room.endpoints.show(SYSTEM, hook.id)).enabled
    waiting = (await home.states())["waiting"]
    assert waiting >= 1
    await room.endpoints.change(SYSTEM, hook.id, notifying.Changes(enabled=True))
    home.clock.advance(3_600)
    await deliver(room, home)
    assert (await room.endpoints.show(SYSTEM, hook.id)).enabled, "one failure is not two days of them"
    receiver.status = 200
    home.clock.advance(3_700)
    await deliver(room, home)
    assert "waiting" not in await home.states(), "what waited is sent when it is enabled again"
    await room.stop()


async def test_a_slow_receiver_takes_nobodys_turn(home: House, receiver: Receiver) -> None:
    room = await home.process(total_concurrency=8, concurrency=4)
    slow = Receiver()
    await slow.start()
    slow.delay = 0.3
    await endpoint(room, home, slow.url, name="slow")
    await endpoint(room, home, receiver.url, name="quick")
    await tell(room, home, 20)
    await asyncio.wait_for(room.worker.look(), 5)
    for _ in range(200):
        if len(receiver.hits) == 20:
            break
        await room.worker.look()
        await asyncio.sleep(0.005)
    assert len(receiver.hits) == 20
    assert len(slow.hits) < 20
    assert slow.most <= 4, "never more at a time than is allowed"
    await deliver(room, home)
    assert await home.states() == {"delivered": 40}
    await slow.stop()
    await room.stop()


async def test_many_dead_receivers_starve_nobody(home: House, receiver: Receiver) -> None:
    room = await home.process(total_concurrency=4, timeout_seconds=0.15)
    silent = Receiver()
    await silent.start()
    silent.delay = 30.0
    for number in range(5):
        await endpoint(room, home, silent.url, name=f"silent-{number}")
        home.clock.advance(0.01)
    await endpoint(room, home, receiver.url, name="well")
    await tell(room, home, 10)
    for _ in range(400):
        await room.worker.look()
        await asyncio.sleep(0.01)
        if len(receiver.hits) == 10:
            break
    assert len(receiver.hits) == 10, f"{len(receiver.hits)} of 10 while five are silent"
    assert len(silent.hits) < 35, "it does not have to wait until all that is for them has been tried"
    await room.stop()
    await silent.stop()


async def test_one_that_fails_has_a_single_delivery_under_way(home: House, receiver: Receiver) -> None:
    room = await home.process(concurrency=4)
    await endpoint(room, home, receiver.url)
    receiver.status = 500
    await tell(room, home, 1)
    await deliver(room, home)
    flying: list[int] = []
    send = room.worker._sender.send

    async def counted(target, message):
        flying.append(len(room.worker._flying))
        return await send(target, message)

    room.worker._sender.send = counted
    await tell(room, home, 8)
    await deliver(room, home)
    assert len(receiver.hits) == 9 and set(flying) == {1}
    receiver.status, receiver.delay = 200, 0.02
    home.clock.advance(60)
    await deliver(room, home)
    assert await home.states() == {"delivered": 9} and max(flying) == 4, "once it takes one, it gets the rest at once"
    await room.stop()


async def test_two_processes_deliver_each_message_once(both: House, receiver: Receiver) -> None:
    one, two = await both.process(), await both.process()
    await endpoint(one, both, receiver.url)
    await two.endpoints.current.reload()
    for number in range(24):
        room = (one, two)[number % 2]
        await room.tell(both.org, both.project, "cases:open", f"case:{number}")
    await asyncio.gather(deliver(one, both), deliver(two, both))
    assert await both.states() == {"delivered": 24}
    assert len(receiver.ids) == 24 == len(set(receiver.ids))
    await one.stop()
    await two.stop()


async def test_what_a_dead_process_held_is_sent_when_its_lease_is_over(both: House, receiver: Receiver) -> None:
    room = await both.process()
    await endpoint(room, both, receiver.url)
    await room.worker.stop()
    await tell(room, both, 3)
    now = both.clock.now()
    held = await both.work.run(
        lambda c: outbox.take(c, "of a dead one", now, now + 8_000_000, dict.fromkeys(outbox.due(c, now), 10))
    )
    assert len(held) == 3
    assert await room.worker.look() == 0
    both.clock.advance(9)
    await deliver(room, both)
    assert await both.states() == {"delivered": 3} and len(receiver.hits) == 3
    await room.stop()


async def test_what_takes_longer_than_its_lease_is_not_sent_twice_by_one_process(
    home: House, receiver: Receiver
) -> None:
    room = await home.process()
    receiver.delay = 0.3
    await endpoint(room, home, receiver.url)
    await tell(room, home, 1)
    await room.worker.look()
    await receiver.arrived.wait()
    home.clock.advance(3_600)
    for _ in range(5):
        await room.worker.look()
    await deliver(room, home)
    assert len(receiver.hits) == 1 and await home.states() == {"delivered": 1}
    await room.stop()


async def test_an_answer_that_comes_late_settles_nothing_of_others(both: House, receiver: Receiver) -> None:
    """A try whose lease is over must not undo what another process has made of it since."""
    room = await both.process()
    await endpoint(room, both, receiver.url)
    await room.worker.stop()
    await tell(room, both, 1)
    now = both.clock.now()

    def take(name: str, at: int) -> list:
        return both.work.transact(
            lambda c: outbox.take(c, name, at, at + 1_000_000, dict.fromkeys(outbox.due(c, at), 1))
        )

    (first,) = take("first", now)
    (second,) = take("second", now + 2_000_000)
    late = notifying.model.Sent(ok=False, status=500)
    both.work.transact(lambda c: outbox.failed(c, first, late, now, "first", None))
    assert await both.states() == {"waiting": 1}
    both.work.transact(lambda c: outbox.delivered(c, second, notifying.model.Sent(ok=True, status=200), now))
    both.work.transact(lambda c: outbox.failed(c, first, late, now, "second", None))
    assert await both.states() == {"delivered": 1}
    await room.stop()


async def test_the_queue_has_an_end_and_what_is_refused_is_counted(both: House, receiver: Receiver) -> None:
    room = await both.process(queue=5, total_queue=8)
    await endpoint(room, both, receiver.url)
    await endpoint(room, both, receiver.url, name="another")
    await room.worker.stop()
    await tell(room, both, 10)
    assert await both.states() == {"waiting": 8}
    assert room.refused == 12
    found = await room.fares(await room.endpoints.list(SYSTEM))
    assert sum(one.refused for one in found) == 12 and {one.name for one in found} == {"hook", "another"}
    await room.stop()


async def test_a_database_that_is_away_loses_nothing_and_holds_nobody(
    home: House, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await home.process()
    await endpoint(room, home, receiver.url)
    run = home.work.run

    async def away(_work: object) -> None:
        raise Unavailable("It is away.")

    monkeypatch.setattr(home.work, "run", away)
    await asyncio.wait_for(tell(room, home, 5), 2)
    assert room.failing
    monkeypatch.setattr(home.work, "run", run)
    home.clock.advance(2)
    for _ in range(200):
        if sum((await home.states()).values()) == 5:
            break
        await asyncio.sleep(0.01)
    await deliver(room, home)
    assert await home.states() == {"delivered": 5}
    await room.stop()


async def test_told_twice_with_one_key_is_one_message(both: House, receiver: Receiver) -> None:
    room = await both.process()
    await endpoint(room, both, receiver.url)
    for _ in range(3):
        await room.tell(both.org, both.project, "reviews:overdue", "review:1", key="1")
    await deliver(room, both)
    await room.tell(both.org, both.project, "reviews:overdue", "review:1", key="1")
    await deliver(room, both)
    assert len(receiver.hits) == 1
    await room.stop()


async def test_nobody_hears_of_other_tenants(home: House, receiver: Receiver) -> None:
    room = await home.process()
    await endpoint(room, home, receiver.url)
    await endpoint(room, home, receiver.url, name="all", project="acme", organization=True)
    await room.tell("f" * 32, home.project, "cases:open", "case:1")
    await room.tell(home.org, "f" * 32, "cases:open", "case:2")
    await deliver(room, home)
    (hit,) = receiver.hits
    assert msgspec.json.decode(hit.body)["data"]["subject"] == "case:2", "the organization's hears of every project"
    await room.stop()


async def test_what_was_kept_for_its_time_is_forgotten(both: House, receiver: Receiver) -> None:
    room = await both.process(disable_days=0.0)
    hook, _ = await endpoint(room, both, receiver.url)
    gone, _ = await endpoint(room, both, receiver.url, name="gone")
    await tell(room, both, 2)
    await deliver(room, both)
    receiver.status = 500
    await tell(room, both, 1)
    await room.endpoints.remove(SYSTEM, gone.id)
    both.clock.advance(4 * 86_400)
    await room.sweep()  # if its own loop was not quicker
    assert await both.states() == {"waiting": 1}
    messages = sa.select(sa.func.count()).select_from(tables.message)
    assert await both.work.read(lambda c: c.scalar(messages)) == 1
    await room.endpoints.change(SYSTEM, hook.id, notifying.Changes(enabled=False))
    both.clock.advance(31 * 86_400)
    await room.sweep()
    assert await both.states() == {"dead": 1}
    await room.stop()


async def test_a_process_that_is_killed_loses_nothing(database_url: str, receiver: Receiver, tmp_path: Path) -> None:
    """``kill -9`` while it tells and delivers: whatever it said was written down arrives, by whoever comes next."""
    control, work = urls(database_url)
    async with house(control, work, ManualClock()) as home:
        room = await home.process()
        await endpoint(room, home, receiver.url)
        org, project = home.org, home.project
        await room.stop()
    receiver.delay = 0.02
    script = Path(__file__).parent / "teller.py"
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(script), control, work, org, project, stdout=subprocess.PIPE, env={**os.environ}
    )
    assert child.stdout is not None
    written: list[str] = []
    while len(written) < 40:
        line = await asyncio.wait_for(child.stdout.readline(), 30)
        assert line, "the child ended"
        written.append(line.decode().strip())
    child.send_signal(signal.SIGKILL)
    rest = await child.stdout.read()
    written += [line for line in rest.decode().split("\n")[:-1] if line]
    await child.wait()
    before = len(receiver.hits)
    receiver.delay = 0.0
    clock = ManualClock()
    clock.jump(10 * 365 * 86_400)  # behind every lease of the child, whose clock was the machine's
    async with house(control, work, clock, seed=False) as home:
        room = await home.process(alone=True)
        await deliver(room, home)
        await room.stop()
    arrived = {msgspec.json.decode(hit.body)["data"]["subject"] for hit in receiver.hits}
    assert before > 0 and set(written) <= arrived
    assert len(set(receiver.ids)) == len(arrived), "one id for one message"
