"""Messages of the whole application: over the API, and for what it does by itself."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parents[1]))

from control import Plane, opened
from inside import SYSTEM
from notifying_kit import Receiver

from ostinato import releases, reviews
from ostinato.access.permissions import ROLES
from ostinato.releases import watching

SETTINGS = """
[notifying]
allow_private = ["127.0.0.1"]
timeout_seconds = 2.0
retry_seconds = [5.0, 30.0]
"""
ORG = "acme/main"


@pytest_asyncio.fixture
async def plane() -> AsyncIterator[Plane]:
    async with opened(SETTINGS) as made:
        yield made


async def told(plane: Plane, receiver: Receiver, count: int) -> list[dict[str, Any]]:
    """What has arrived, as soon as there is so much of it; the clock goes on meanwhile."""
    for _ in range(500):
        if len(receiver.hits) >= count:
            return [msgspec.json.decode(hit.body) for hit in receiver.hits]
        plane.world.clock.advance(1.1)
        await asyncio.sleep(0.01)
    raise AssertionError(f"{len(receiver.hits)} of {count} messages came")


async def follows(plane: Plane) -> None:
    """Wait until the log is followed from here on."""
    await plane.app.governing.notifying._follow()


async def hook(plane: Plane, receiver: Receiver, *events: str, key: str = "", **more: Any) -> dict[str, Any]:
    wish = {"name": "hook", "address": receiver.url, "events": list(events), **more}
    made = await plane.call("POST", "/webhooks", wish, key or await plane.key(ROLES["owner"]))
    assert made.status_code == 201, made.text
    return made.json()


async def test_a_test_arrives_and_its_delivery_is_seen(plane: Plane, receiver: Receiver) -> None:
    key = await plane.key(ROLES["operator"])
    made = await hook(plane, receiver, "cases:*", key=key)
    assert made["secret"].startswith("whsec_") and "t0ken" not in str(made)
    sent = await plane.call("POST", "/webhooks/hook/test", None, key)
    assert sent.status_code == 200
    (message,) = await told(plane, receiver, 1)
    assert message["type"] == "webhooks:test" and receiver.ids == [sent.json()["message"]]
    for _ in range(200):
        page = (await plane.call("GET", "/webhooks/hook/deliveries?state=delivered", None, key)).json()
        if page["items"]:
            break
        await asyncio.sleep(0.01)
    assert [one["message"] for one in page["items"]] == receiver.ids
    assert page["items"][0]["status"] == 200 and page["items"][0]["tries"] == 1


async def test_dead_letters_are_seen_and_sent_again(plane: Plane, receiver: Receiver) -> None:
    key = await plane.key(ROLES["operator"])
    await hook(plane, receiver, "cases:*", key=key)
    receiver.status = 500
    room = plane.app.governing.notifying
    await room.tell(plane.organizations[ORG], plane.projects[ORG], "cases:open", "case:1")
    await told(plane, receiver, 3)
    for _ in range(200):
        dead = (await plane.call("GET", "/webhooks/hook/deliveries?state=dead", None, key)).json()["items"]
        if dead:
            break
        await asyncio.sleep(0.01)
    assert dead[0]["tries"] == 3 and dead[0]["status"] == 500
    shown = (await plane.call("GET", "/webhooks/hook", None, key)).json()
    assert shown["failures"] == 3 and shown["failing_since"]
    receiver.status = 200
    again = await plane.call("POST", "/webhooks/hook/resend", {"messages": [dead[0]["message"]]}, key)
    assert again.json() == {"resent": 1}
    await told(plane, receiver, 4)
    assert len(set(receiver.ids)) == 1


async def test_a_secret_is_told_once_even_under_an_idempotency_key(plane: Plane, receiver: Receiver) -> None:
    key = await plane.key(ROLES["owner"])
    wish = {"name": "hook", "address": receiver.url, "events": ["*"]}
    first = await plane.call("POST", "/webhooks", wish, key, idempotency_key="1")
    again = await plane.call("POST", "/webhooks", wish, key, idempotency_key="1")
    assert first.status_code == 201 and again.status_code == 409
    assert again.json()["code"] == "secret_not_repeated"
    rotated = await plane.call("POST", "/webhooks/hook/rotate", {}, key)
    assert rotated.json()["secret"] not in (first.json()["secret"], "")
    for path in ("/webhooks", "/webhooks/hook", "/audit/leaves"):
        page = (await plane.call("GET", path, None, key)).text
        for secret in (first.json()["secret"], rotated.json()["secret"], "t0ken"):
            assert secret not in page


async def test_broken_glass_pages(plane: Plane, receiver: Receiver) -> None:
    """G9: whoever breaks the glass is seen by those who asked to be told, with its reason left out."""
    key = await plane.key(ROLES["owner"])
    await hook(plane, receiver, "breakglass:*", key=key, organization=True)
    await follows(plane)
    wish = {"reason": "The pager of Bob is broken.", "minutes": 5}
    assert (await plane.call("POST", "/breakglass", wish, key)).status_code == 201
    (message,) = await told(plane, receiver, 1)
    assert message["type"] == "breakglass:begin" and message["data"]["facts"]["minutes"] == 5
    assert "Bob" not in str(message)


async def test_automatic_rollouts_are_told(plane: Plane, receiver: Receiver, monkeypatch: Any) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "authorization"))
    import governed

    await hook(plane, receiver, "releases:promote", "releases:rollback", project=plane.projects[ORG])
    await follows(plane)
    one = await governed.release("approve start")(plane, ORG, {})
    release = (await plane.app.releases.show(SYSTEM, one)).release
    await plane.app.releases.rollback(watching.ACTOR, one, "harm: errors 0.2 against 0.1", release.version)
    (message,) = await told(plane, receiver, 1)
    assert message["type"] == "releases:rollback" and message["data"]["actor"] == "system:releases"
    assert message["data"]["subject"] == release.resource and message["data"]["facts"]["state"] == "rolled_back"
    assert isinstance(release, releases.Release)


async def test_reviews_that_are_overdue_are_told_once(plane: Plane, receiver: Receiver) -> None:
    home = plane.projects[ORG]
    await hook(plane, receiver, "reviews:overdue", project=home)
    declared = reviews.Declaration(mode="single", due_seconds=3_600.0)
    await plane.app.reviews.declare(SYSTEM, "urgent", declared, project=home)
    (item,) = await plane.app.reviews.put(
        SYSTEM,
        "urgent",
        [reviews.NewItem(content=reviews.Content(input_text="What is it?", outputs=(reviews.Output(text="This."),)))],
        project=home,
    )
    plane.world.clock.advance(3_700)
    (message,) = await told(plane, receiver, 1)
    assert message["data"]["subject"] == f"review:{item.id}" and message["data"]["queue"] == "urgent"
    assert "What is it" not in str(message)
    for _ in range(5):
        plane.world.clock.advance(70)
        await asyncio.sleep(0.02)
    assert len(receiver.hits) == 1


async def test_a_receiver_that_is_gone_opens_a_case(plane: Plane, receiver: Receiver) -> None:
    home = plane.projects[ORG]
    await hook(plane, receiver, "updates:*", project=home)
    receiver.status = 410
    await plane.app.governing.notifying.tell(plane.organizations[ORG], home, "updates:start", "update:1")
    await told(plane, receiver, 1)
    for _ in range(300):
        found = [one for one in await plane.app.governing.cases.list(SYSTEM) if one.detector.startswith("webhook:")]
        if found:
            break
        await asyncio.sleep(0.01)
    assert "410 Gone" in found[0].title and found[0].project == home


async def test_how_messages_fare_is_among_the_metrics(plane: Plane, receiver: Receiver) -> None:
    await hook(plane, receiver, "cases:*")
    room = plane.app.governing.notifying
    await room.tell(plane.organizations[ORG], plane.projects[ORG], "cases:open", "case:1")
    await told(plane, receiver, 1)
    await room.worker.idle()
    await room.look()
    page = plane.app.metrics_page().decode()
    assert "ostinato_notifications_delivered_total 1.0" in page
    assert 'ostinato_notifications{state="delivered"} 1.0' in page
    assert plane.app.health().parts["notifying"] == "ok"
