"""At least once, under one id, through outages and crashes; nobody in another's way."""

import base64
import hashlib
import hmac

import msgspec
from kit import House, Receiver, deliver, endpoint


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
    told = f"{hit.headers['webhook-id']}.{hit.headers['webhook-timestamp']}.".encode() + hit.body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, told, hashlib.sha256).digest()).decode()
    assert hit.headers["webhook-signature"] == f"v1,{expected}"
    assert abs(int(hit.headers["webhook-timestamp"]) - both.clock.now() // 1_000_000) <= 1
    assert await both.states() == {"delivered": 1}
    assert "t0ken" not in hook.address
    await room.stop()
