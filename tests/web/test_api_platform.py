"""What holds for every route of the control plane: request ids, reasons, refusals written down, repeated changes."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1]))

from control import TENANTS, Plane, opened
from inside import SYSTEM, pass_time, settle

from ostinato.audit import tables as audit_tables
from ostinato.core.errors import Unavailable
from ostinato.storage.answers import ABANDONED_SECONDS, KEPT_SECONDS
from ostinato.storage.tables import kept_answer
from ostinato.web.api import denials

ADMIN = frozenset(
    {"chat:call", "projects:read", "projects:write", "keys:read", "keys:write", "organizations:write", "cache:write"}
)


@pytest.fixture
async def plane() -> AsyncIterator[Plane]:
    async with opened() as made:
        yield made


# -- which request it was, and why -------------------------------------------------------------------------------


async def test_every_answer_says_which_request_it_was(plane: Plane) -> None:
    key = await plane.key(ADMIN)
    asked = [("GET", "/whoami"), ("GET", "/nothing"), ("BREW", "/keys"), ("GET", "/keys/none"), ("GET", "/stats")]
    for method, path in asked:
        for token in (key, None):
            own = await plane.call(method, path, None, token, x_request_id="mine-1")
            assert own.headers["x-request-id"] == "mine-1"
            made = [(await plane.call(method, path, None, token)).headers["x-request-id"] for _ in range(2)]
            assert made[0] != made[1] and all(len(one) == 32 for one in made)
            odd = await plane.call(method, path, None, token, x_request_id="a b\tc")
            assert len(odd.headers["x-request-id"]) == 32
            assert odd.headers.get_list("x-request-id") == [odd.headers["x-request-id"]]
            assert odd.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("because it was asked for", "because it was asked for"),
        ("100% sure", "100% sure"),
        ("Gr%C3%BC%C3%9Fe", "Grüße"),
        ("  spaces  ", "spaces"),
        ("x" * 512, "x" * 512),
    ],
)
async def test_the_reason_is_written_down(plane: Plane, sent: str, kept: str) -> None:
    await plane.call("GET", "/keys", None, await plane.key(frozenset({"chat:call"})), ostinato_reason=sent)
    texts = await plane.app.control.read(lambda c: c.execute(sa.select(audit_tables.text.c.reason)).scalars().all())
    assert texts[-1] == kept
    assert kept not in (await plane.leaves())[-1]["body"]


@pytest.mark.parametrize("sent", ["x" * 513, "%FF%FE", "two%0Alines", "a%00b"])
async def test_a_reason_that_cannot_be_kept_is_refused(plane: Plane, sent: str) -> None:
    reply = await plane.call("GET", "/whoami", None, await plane.key(ADMIN), ostinato_reason=sent)
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_reason")


async def test_what_a_request_was_does_not_outlive_it(plane: Plane) -> None:
    from ostinato import audit

    await plane.call("GET", "/whoami", None, await plane.key(ADMIN), ostinato_reason="why")
    assert audit.occasion() == audit.Occasion()


# -- refusals ----------------------------------------------------------------------------------------------------


async def test_a_denied_attempt_is_one_leaf(plane: Plane) -> None:
    key = await plane.key(frozenset({"chat:call"}))
    maker = await plane.key(frozenset({"keys:write"}))
    who = plane.app.access.authenticate(key, plane.world.clock.now())
    before = len(await plane.leaves())
    path = "/keys/" + key
    assert (await plane.call("DELETE", path + "?reason=no", None, key, x_request_id="r-1")).status_code == 403
    (leaf,) = (await plane.leaves())[before:]
    assert leaf["actor"] == f"key:{who.key_id}" and leaf["org"] == who.org and leaf["project"] == who.project
    assert (leaf["action"], leaf["outcome"], leaf["request_id"]) == ("keys:write", "denied", "r-1")
    assert leaf["resource"] == f"/api/v1/keys/{key[:12]}...", "a secret given by mistake is not written down"
    # Refused further in, by a rule about what is asked for: the same.
    assert (await plane.call("POST", "/keys", {"name": "x", "role": "owner"}, maker)).status_code == 403
    leaves = await plane.leaves()
    assert len(leaves) == before + 2 and leaves[-1]["action"] == "keys:write"
    # What is not refused, or not there, leaves none.
    await plane.call("GET", "/whoami", None, key)
    await plane.call("GET", "/nothing", None, key)
    assert len(await plane.leaves()) == before + 2


async def test_a_flood_of_denied_attempts_is_counted(plane: Plane) -> None:
    key = await plane.key(frozenset({"chat:call"}))
    before = len(await plane.leaves())
    attempts = int(denials.BURST) + 150
    for _ in range(attempts):
        assert (await plane.call("GET", "/keys", None, key)).status_code == 403
    told = (await plane.leaves())[before:]
    assert len(told) == denials.BURST
    plane.world.clock.advance(2.0)
    await plane.call("GET", "/keys", None, key)
    told = (await plane.leaves())[before:]
    assert len(told) + told[-1]["facts"]["unrecorded"] == attempts + 1


async def test_the_unknown_are_counted_by_the_minute(plane: Plane) -> None:
    before = len(await plane.leaves())
    for key in (None, "ost_nothing", "sk-other", ""):
        assert (await plane.call("GET", "/keys", None, key)).status_code == 401
    assert len(await plane.leaves()) == before
    plane.world.clock.advance(61)
    for _ in range(200):
        await asyncio.sleep(0.005)
        if len(told := (await plane.leaves())[before:]) == 1:
            break
    (leaf,) = told
    assert (leaf["action"], leaf["outcome"]) == (denials.ACTION_OF_UNKNOWN, "denied")
    assert leaf["facts"]["attempts"] == 4
    await plane.call("GET", "/keys")
    await plane.app.desk.stop()
    assert (await plane.leaves())[-1]["facts"]["attempts"] == 1, "the rest is told at the end"


async def test_who_is_refused_stays_refused_where_that_cannot_be_written(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await plane.key(frozenset({"chat:call"}))

    async def full(_: Any) -> int:
        raise Unavailable("The disk is full.")

    monkeypatch.setattr(plane.app.audit, "record", full)
    assert (await plane.call("GET", "/keys", None, key)).status_code == 403
    assert plane.app.desk.denials.unrecorded == 1
    monkeypatch.undo()
    assert (await plane.call("GET", "/keys", None, key)).status_code == 403
    assert (await plane.leaves())[-1]["facts"] == {"unrecorded": 1}


# -- repeated changes --------------------------------------------------------------------------------------------

NEW = {"key": "made", "name": "Made"}


async def test_a_repeated_change_is_made_once(plane: Plane) -> None:
    key = await plane.key(ADMIN)
    first = await plane.call("POST", "/projects", NEW, key, idempotency_key="one")
    again = await plane.call("POST", "/projects", NEW, key, idempotency_key="one")
    assert first.status_code == again.status_code == 201
    assert first.content == again.content and first.headers["content-type"] == again.headers["content-type"]
    assert again.headers["idempotency-replayed"] == "true" and "idempotency-replayed" not in first.headers
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    other = await plane.call("POST", "/projects", {**NEW, "name": "Other"}, key, idempotency_key="one")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    elsewhere = await plane.call("POST", "/organizations", NEW, key, idempotency_key="one")
    assert elsewhere.status_code == 422
    # Somebody else's key of that name is another key; without one the change is a new one.
    for more in ({"idempotency_key": "two"}, {}):
        assert (await plane.call("POST", "/projects", NEW, key, **more)).status_code == 409
    stranger = await plane.key(ADMIN)
    assert (await plane.call("POST", "/projects", NEW, stranger, idempotency_key="one")).status_code == 409
    # Nor is it told to whom the key has made one, although the same principal stands behind both.
    child = (await plane.call("POST", "/keys", {"name": "child", "permissions": sorted(ADMIN)}, key)).json()["secret"]
    assert (await plane.call("POST", "/projects", NEW, child, idempotency_key="one")).status_code == 409
    plane.world.clock.advance(KEPT_SECONDS + 1)
    assert (await plane.call("POST", "/projects", NEW, key, idempotency_key="one")).status_code == 409


async def test_what_gives_no_body_is_repeated_too(plane: Plane) -> None:
    key = await plane.key(ADMIN | {"targets:write", "targets:read"})
    body = {"targets": ["fake/plain"], "project": plane.projects[TENANTS[0]]}
    assert (await plane.call("PUT", "/models/made", body, key, idempotency_key="p")).status_code == 200
    assert (await plane.call("PUT", "/models/made", body, key, idempotency_key="p")).headers["idempotency-replayed"]
    for _ in range(2):
        gone = await plane.call("DELETE", "/models/made", None, key, idempotency_key="d")
        assert (gone.status_code, gone.content) == (204, b"")
    assert (await plane.call("DELETE", "/models/made", None, key)).status_code == 404


async def test_a_refused_change_may_be_tried_again_with_its_key(plane: Plane) -> None:
    key = await plane.key(ADMIN)
    headers = {"idempotency_key": "again"}
    assert (await plane.call("PATCH", "/projects/made", {"name": "x"}, key, **headers)).status_code == 404
    assert (await plane.call("POST", "/projects", {"key": "a b", "name": "x"}, key, **headers)).status_code == 400
    assert (await plane.call("POST", "/projects", NEW, key, **headers)).status_code == 201
    assert await _rows(plane) == 1


async def test_reading_takes_no_key(plane: Plane) -> None:
    key = await plane.key(ADMIN)
    for _ in range(2):
        reply = await plane.call("GET", "/projects", None, key, idempotency_key="read")
        assert reply.status_code == 200 and "idempotency-replayed" not in reply.headers
    assert await _rows(plane) == 0


@pytest.mark.parametrize("sent", ["", " ", "x" * 256, "tab\there", "ümlaut"])
async def test_an_odd_key_is_refused(plane: Plane, sent: str) -> None:
    key = await plane.key(ADMIN)
    headers = [(b"authorization", f"Bearer {key}".encode()), (b"idempotency-key", sent.encode("latin-1"))]
    reply = await plane.client.post("/api/v1/projects", json=NEW, headers=headers)
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_idempotency_key")


async def test_secrets_are_not_kept_for_a_repetition(plane: Plane) -> None:
    key = await plane.key(ADMIN)
    made = (await plane.call("POST", "/keys", {"name": "once"}, key, idempotency_key="k")).json()
    again = await plane.call("POST", "/keys", {"name": "once"}, key, idempotency_key="k")
    assert (again.status_code, again.json()["code"]) == (409, "secret_not_repeated")
    assert "otate" in again.json()["hint"] and made["secret"] not in again.text
    path = f"/keys/{made['key']['id']}/rotate"
    rotated = (await plane.call("POST", path, {}, key, idempotency_key="r")).json()
    assert (await plane.call("POST", path, {}, key, idempotency_key="r")).status_code == 409
    assert len((await plane.call("GET", "/keys?limit=500", None, key)).json()["items"]) == 4, (
        "the first, ours, the one made, its successor"
    )
    bodies = await plane.app.control.read(lambda c: c.execute(sa.select(kept_answer.c.body)).scalars().all())
    assert bodies == [None, None]
    for secret in (made["secret"], rotated["secret"]):
        for file in plane.app.directory.path.glob("control.db*"):
            assert secret.encode() not in file.read_bytes()


async def test_an_answer_is_only_told_to_who_still_may(plane: Plane) -> None:
    key = await plane.key(ADMIN)
    await plane.call("POST", "/projects", NEW, key, idempotency_key="one")
    await plane.app.access.update_key(SYSTEM, key[:12], _narrowed())
    assert (await plane.call("POST", "/projects", NEW, key, idempotency_key="one")).status_code == 403
    await plane.app.access.revoke_key(SYSTEM, key[:12])
    assert (await plane.call("POST", "/projects", NEW, key, idempotency_key="one")).status_code == 401


def _narrowed() -> Any:
    from ostinato.access import KeyChanges

    return KeyChanges(permissions=frozenset({"chat:call"}))


async def test_of_the_same_change_at_once_one_is_made(plane: Plane) -> None:
    key = await plane.key(ADMIN)
    replies = await asyncio.gather(
        *(plane.call("POST", "/projects", NEW, key, idempotency_key="race") for _ in range(12))
    )
    assert {reply.status_code for reply in replies} <= {201, 409}
    done = [reply for reply in replies if reply.status_code == 201]
    assert len([reply for reply in done if "idempotency-replayed" not in reply.headers]) == 1
    assert len({reply.content for reply in done}) == 1
    for reply in replies:
        if reply.status_code == 409:
            assert reply.json()["code"] == "idempotency_in_progress" and int(reply.headers["retry-after"]) >= 1


async def test_who_dies_on_the_way_is_followed_after_a_minute(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    key = await plane.key(ADMIN)
    never = asyncio.Event()

    async def hangs(*_: Any, **__: Any) -> Any:
        await never.wait()

    monkeypatch.setattr(plane.app.access, "create_project", hangs)
    task = asyncio.create_task(plane.call("POST", "/projects", NEW, key, idempotency_key="dies"))
    for _ in range(500):
        await asyncio.sleep(0.01)
        if await _rows(plane):
            break
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    monkeypatch.undo()
    waiting = await plane.call("POST", "/projects", NEW, key, idempotency_key="dies")
    assert (waiting.status_code, waiting.json()["code"]) == (409, "idempotency_in_progress")
    plane.world.clock.advance(ABANDONED_SECONDS + 1)
    assert (await plane.call("POST", "/projects", NEW, key, idempotency_key="dies")).status_code == 201


async def test_a_failure_to_keep_an_answer_does_not_take_it_away(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    key = await plane.key(ADMIN)

    async def full(*_: Any) -> bool:
        raise Unavailable("The disk is full.")

    monkeypatch.setattr(plane.app.desk.answers, "finish", full)
    assert (await plane.call("POST", "/projects", NEW, key, idempotency_key="lost")).status_code == 201
    monkeypatch.undo()
    assert (await plane.call("POST", "/projects", NEW, key, idempotency_key="lost")).status_code == 409
    plane.world.clock.advance(ABANDONED_SECONDS + 1)
    told = (await plane.call("POST", "/projects", NEW, key, idempotency_key="lost")).json()
    assert told["code"] == "idempotency_answer_lost", "its leaf says that it was made"


async def test_old_keys_are_forgotten(plane: Plane) -> None:
    key = await plane.key(ADMIN)
    await plane.call("POST", "/projects", NEW, key, idempotency_key="old")
    assert await _rows(plane) == 1

    async def swept() -> None:
        while await _rows(plane):
            await settle()

    plane.world.clock.advance(KEPT_SECONDS)
    await pass_time(plane.world, [asyncio.create_task(swept())], step=61.0)


async def _rows(plane: Plane) -> int:
    count = sa.select(sa.func.count()).select_from(kept_answer)
    return await plane.app.control.read(lambda c: c.execute(count).scalar_one())
