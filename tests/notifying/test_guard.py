"""S5: no message goes inward, however its address leads there; every try is judged anew."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from notifying_kit import House, Receiver, deliver, endpoint

from ostinato.core.errors import Invalid
from ostinato.notifying import tables


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Say which addresses a name has, from one look-up to the next."""

    def answer(*texts: str) -> None:
        left = list(texts)

        async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
            text = left.pop(0) if len(left) > 1 else left[0]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, port))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)

    return answer


async def said(home: House) -> str:
    return str(await home.work.read(lambda c: c.scalar(sa.select(tables.delivery.c.said))))


@pytest.mark.parametrize("inward", ["127.0.0.1", "169.254.169.254", "10.0.0.7", "192.168.1.1", "0.0.0.0", "100.64.0.1"])
async def test_a_name_that_leads_inward_is_refused_at_the_try(
    home: House, receiver: Receiver, names: Callable[..., None], inward: str
) -> None:
    room = await home.process()
    names(inward)
    port = receiver.url.split(":")[2].split("/")[0]
    await endpoint(room, home, f"https://hooks.example:{port}/x")
    await room.tell(home.org, home.project, "cases:open", "case:1")
    await deliver(room, home)
    assert receiver.hits == [] and receiver.open == 0
    assert "hooks.example" in await said(home) and await home.states() == {"waiting": 1}
    await room.stop()


async def test_a_name_that_changes_its_mind_is_judged_again(
    home: House, receiver: Receiver, names: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: a harmless address when it is looked at first, ours at the next try."""
    room = await home.process(allow_private=())
    names("93.184.216.34", "127.0.0.1")
    tried: list[str] = []
    loop = asyncio.get_running_loop()

    async def connect(_factory: Any, host: str, _port: int, **_: Any) -> Any:
        tried.append(host)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(loop, "create_connection", connect)
    await endpoint(room, home, "https://hooks.example/x")
    await room.tell(home.org, home.project, "cases:open", "case:1")
    for _ in range(4):
        await deliver(room, home)
        home.clock.advance(3_600)
    assert tried == ["93.184.216.34"], "the connection goes to the address that was judged, and never inward"
    assert "loopback or private" in await said(home)
    await room.stop()


async def test_loopback_only_where_the_configuration_says_so(home: House, receiver: Receiver) -> None:
    room = await home.process()
    await endpoint(room, home, receiver.url)
    await room.stop()
    stricter = await home.process(allow_private=())
    await stricter.tell(home.org, home.project, "cases:open", "case:1")
    await deliver(stricter, home)
    assert receiver.hits == [] and "loopback" in await said(home)
    await stricter.stop()


async def test_a_redirect_inward_is_not_followed(home: House, receiver: Receiver) -> None:
    room = await home.process()
    inside = Receiver()
    await inside.start()
    receiver.status, receiver.headers = 307, {"location": inside.url}
    await endpoint(room, home, receiver.url)
    await room.tell(home.org, home.project, "cases:open", "case:1")
    await deliver(room, home)
    assert len(receiver.hits) == 1 and inside.hits == []
    assert "redirects" in await said(home)
    await inside.stop()
    await room.stop()


async def test_an_endless_answer_holds_nobody(home: House, receiver: Receiver) -> None:
    room = await home.process(timeout_seconds=0.5)
    receiver.body = b"x" * 20_000_000
    await endpoint(room, home, receiver.url)
    await room.tell(home.org, home.project, "cases:open", "case:1")
    await deliver(room, home)
    assert await home.states() == {"delivered": 1}, "it said 200: nobody reads on"
    receiver.status = 500
    await room.tell(home.org, home.project, "cases:open", "case:2")
    await deliver(room, home)
    table = tables.delivery
    row = await home.work.read(lambda c: c.execute(sa.select(table).where(table.c.state == "waiting")).mappings().one())
    assert row["status"] == 500 and len(row["said"]) <= 200
    await room.stop()


async def test_the_way_out_is_one_that_there_is(home: House) -> None:
    """Whoever declares an endpoint cannot allow private hosts: that is said in the server's configuration."""
    room = await home.process(allow_private=())
    for url in ("https://10.0.0.7/x", "https://[::1]/x"):
        with pytest.raises(Invalid) as refused:
            await endpoint(room, home, url)
        assert "notifying.allow_private" in refused.value.hint, url
    with pytest.raises(Invalid) as never:
        await endpoint(room, home, "https://169.254.169.254/x")
    assert never.value.hint == "", "no setting allows it"
    await room.stop()
