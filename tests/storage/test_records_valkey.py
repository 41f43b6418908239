"""The Valkey record store and its server: killed, restarted, absent, frozen, full, holding rubbish."""

import asyncio
import hashlib
import itertools
import logging

import pytest

from ostinato.core.clock import SystemClock
from ostinato.core.errors import Invalid, Unavailable
from ostinato.storage import Query, Record, valkey
from ostinato.storage.records_valkey import ValkeyRecordStore

SCOPE = b"scope"
EVERYTHING = Query(everything=True)


def digest(text: object) -> bytes:
    return hashlib.sha256(str(text).encode()).digest()


def make(name: object, **changes) -> Record:
    fields = {
        "key": digest(name),
        "scope": SCOPE,
        "name": f"e-{name}",
        "labels": {"org": "acme"},
        "tags": ("t",),
        "expires": SystemClock().now() + 3_600_000_000,
        "blob": b"answer",
    }
    return Record(**{**fields, **changes})


async def until(condition, *, seconds: float = 10.0) -> None:
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came true")


def at_once(call) -> BaseException | None:
    """What a call raises before it waits for anything; ``None`` if it waits."""
    try:
        call.send(None)
    except StopIteration:
        return None
    except BaseException as error:
        return error
    call.close()
    return None


@pytest.fixture
async def server(new_valkey):
    return new_valkey()


@pytest.fixture
async def store(server):
    made = ValkeyRecordStore(server.url)
    await made.start()
    yield made
    await made.close()


async def test_the_server_is_asked_with_the_scope(server, store):
    await store.put_many([make("a")])
    with server.client() as client:
        names = client.keys("ost:e:*")
        assert names == [b"ost:e:" + SCOPE + b":" + digest("a")]
        client.config_resetstat()
        client.rename(names[0], b"ost:e:other:" + digest("a"))
    assert await store.get(digest("a"), SCOPE) is None


async def test_everything_but_lists_has_a_time_to_live(server, store):
    await store.put_many([make("a")])
    await store.acquire_lease(b"k", "me", 30)
    with server.client() as client:
        kinds = {name: client.pttl(name) > 0 for name in client.keys("*")}
    assert {name[:6] for name, lives in kinds.items() if not lives} == {b"ost:fa", b"ost:f:", b"ost:F:", b"ost:l:"}


async def test_time_runs_by_our_clock_not_the_servers(server, clock):
    """A record's time to live is relative: a server whose clock is years off keeps it as long as we say."""
    store = ValkeyRecordStore(server.url, clock=clock)
    await store.start()
    await store.put_many([make("a", expires=clock.now() + 10_000_000)])
    clock.jump(-3600)
    assert await store.get(digest("a"), SCOPE) is not None
    with server.client() as client:
        assert 5_000 < client.pttl(client.keys("ost:e:*")[0]) <= 10_000
    await store.close()


async def test_an_expired_record_is_gone_by_itself(store):
    await store.put_many([make("a", expires=SystemClock().now() + 30_000)])
    await asyncio.sleep(0.05)
    assert await store.get(digest("a"), SCOPE) is None
    assert await store.find(EVERYTHING) == []
    assert await store.count(EVERYTHING) == 0


async def test_touching_what_expired_leaves_nothing_behind(server, store):
    await store.put_many([make("a", expires=SystemClock().now() + 30_000)])
    await asyncio.sleep(0.05)
    await store.touch_many([(digest("a"), 1, 1)])
    with server.client() as client:
        assert client.keys("ost:m:*") == []


async def test_killed_in_flight_then_restarted(server, store, caplog):
    await store.put_many([make("a")])
    server.kill()
    with caplog.at_level(logging.WARNING), pytest.raises(Unavailable) as caught:
        await store.get(digest("a"), SCOPE)
    assert caught.value.code == "storage_unreachable"
    assert not store.healthy
    # From now on nobody waits.
    for call in (store.get(digest("a"), SCOPE), store.put_many([make("b")]), store.acquire_lease(b"k", "me", 1)):
        assert isinstance(at_once(call), Unavailable)
    server.start()
    await until(lambda: store.healthy)
    assert await store.get(digest("a"), SCOPE) is None
    await store.put_many([make("a")])
    assert await store.get(digest("a"), SCOPE) is not None
    assert caplog.text.count("does not answer") == 1


async def test_absent_at_the_start(server):
    server.kill()
    store = ValkeyRecordStore(server.url)
    await store.start()
    assert not store.healthy
    assert isinstance(at_once(store.get(digest("a"), SCOPE)), Unavailable)
    server.start()
    await until(lambda: store.healthy)
    await store.put_many([make("a")])
    assert await store.get(digest("a"), SCOPE) is not None
    await store.close()


async def test_never_there_and_closed(server):
    server.kill()
    store = ValkeyRecordStore(server.url)
    await store.start()
    await store.close()


async def test_a_server_that_falls_silent(server, store):
    await store.put_many([make("a")])
    server.freeze()
    try:
        with pytest.raises(Unavailable):
            await store.get(digest("a"), SCOPE)
        assert not store.healthy
        assert isinstance(at_once(store.get(digest("a"), SCOPE)), Unavailable)
    finally:
        server.thaw()
    await until(lambda: store.healthy)
    assert await store.get(digest("a"), SCOPE) is not None


async def test_connections_that_are_cut(server, store):
    await store.put_many([make("a")])
    with server.client() as client:
        for _ in range(5):
            client.execute_command("CLIENT KILL TYPE normal SKIPME yes")
            try:
                await store.get(digest("a"), SCOPE)
            except Unavailable:
                await until(lambda: store.healthy)
    assert await store.get(digest("a"), SCOPE) is not None


async def test_a_full_server_refuses_writes_and_serves_reads(server, store):
    await store.put_many([make("a")])
    with server.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
    with pytest.raises(Unavailable) as caught:
        await store.put_many([make("b")])
    assert caught.value.code == "storage_full"
    assert store.healthy
    assert await store.get(digest("a"), SCOPE) is not None


async def test_rubbish_is_passed_over(server, store):
    await store.put_many([make("a"), make("b")])
    with server.client() as client:
        client.set(b"ost:e:" + SCOPE + b":" + digest("a"), b"\xc1 rubbish")
    assert await store.get(digest("a"), SCOPE) is None
    assert [found.key for found in await store.find(EVERYTHING)] == [digest("b")]
    assert set(await store.remove(EVERYTHING)) == {digest("a"), digest("b")}


async def test_a_policy_that_evicts_lists_is_said(server, caplog):
    with server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    with caplog.at_level(logging.WARNING):
        store = ValkeyRecordStore(server.url)
        await store.start()
        await store.close()
    assert "volatile-lru" in caplog.text


async def test_two_processes_share_records_and_leases(server, store):
    other = ValkeyRecordStore(server.url)
    await other.start()
    await store.put_many([make("a")])
    assert await other.get(digest("a"), SCOPE) is not None
    assert await store.acquire_lease(b"k", "one", 30)
    assert not await other.acquire_lease(b"k", "two", 30)
    assert await other.remove(Query(tag="t")) == [digest("a")]
    assert await store.get(digest("a"), SCOPE) is None
    await other.close()


async def test_prefixes_keep_installations_apart(server, store):
    other = ValkeyRecordStore(server.url, prefix="blue")
    await other.start()
    await store.put_many([make("a")])
    assert await other.get(digest("a"), SCOPE) is None
    assert await other.remove(EVERYTHING) == []
    await other.close()


async def test_lists_without_keys_are_dropped_after_an_hour(server, clock):
    store = ValkeyRecordStore(server.url, clock=clock)
    await store.start()
    await store.put_many([make("a", expires=clock.now() + 1_000_000)])
    clock.advance(2)
    assert await store.sweep(clock.now()) == 1
    with server.client() as client:
        assert client.keys("ost:F:*")
        clock.advance(3600)
        await store.sweep(clock.now())
        assert [name for name in client.keys("*") if name[:6] in (b"ost:F:", b"ost:l:", b"ost:fa")] == []
    await store.close()


async def test_a_large_batch_goes_in_pages(store):
    records = [make(n, blob=bytes(100_000)) for n in range(300)]
    await store.put_many(records)
    assert await store.count(EVERYTHING) == 300


async def test_a_lease_is_released_on_servers_without_delifeq(store, monkeypatch):
    real = store._client.command

    async def older(*arguments):
        if arguments[0] == b"DELIFEQ":
            return await real(b"NOSUCHCOMMAND", *arguments[1:])
        return await real(*arguments)

    monkeypatch.setattr(store._client, "command", older)
    assert await store.acquire_lease(b"k", "a", 30)
    await store.release_lease(b"k", "b")
    assert not await store.acquire_lease(b"k", "b", 30)
    await store.release_lease(b"k", "a")
    assert await store.acquire_lease(b"k", "b", 30)


@pytest.mark.parametrize(
    "url",
    ["", "valkey://", "http://host", "valkey://host:port", "valkey://host:99999", "valkey://h/x", "valkey://h?x=1"],
)
def test_a_wrong_url_is_refused(url):
    with pytest.raises(Invalid) as caught:
        ValkeyRecordStore(url)
    assert caught.value.code == "storage_url"


def test_urls_are_understood_and_passwords_hidden():
    address = valkey.Address("valkeys://me:p%40ss@cache.example:7000/3")
    assert (address.tls, address.user, address.password) == (True, "me", "p@ss")
    assert (address.host, address.port, address.database) == ("cache.example", 7000, 3)
    assert "p@ss" not in repr(address)
    assert valkey.Address("redis://h").port == 6379
    assert valkey.Address("valkey://h?cluster=true").cluster
    assert valkey.Address("valkey+unix:///run/v.sock").socket == "/run/v.sock"


async def test_a_password_is_used_and_not_told(server):
    with server.client() as client:
        client.config_set("requirepass", "SECRET")
    url = f"valkey://:SECRET@127.0.0.1:{server.port}"
    store = ValkeyRecordStore(url)
    await store.start()
    await store.put_many([make("a")])
    assert "SECRET" not in repr(store) + repr(store._client)
    await store.close()
    wrong = ValkeyRecordStore(url.replace("SECRET", "WRONG"))
    await wrong.start()
    assert not wrong.healthy
    with pytest.raises(Unavailable) as caught:
        await wrong.get(digest("a"), SCOPE)
    assert "WRONG" not in caught.value.sentence
    await wrong.close()


async def test_a_unix_socket(new_valkey, tmp_path):
    import tempfile

    with tempfile.TemporaryDirectory(prefix="ost-") as folder:
        new_valkey(unixsocket=f"{folder}/v.sock")
        store = ValkeyRecordStore(f"valkey+unix://{folder}/v.sock")
        await store.start()
        await store.put_many([make("a")])
        assert await store.get(digest("a"), SCOPE) is not None
        await store.close()


@pytest.mark.parametrize("before", [False, True], ids=["new", "replaced"])
async def test_no_order_of_steps_leaves_a_record_that_cannot_be_found(server, before):
    """A put and a removal by two processes, interleaved in every way there is."""
    putting, removing = ValkeyRecordStore(server.url), ValkeyRecordStore(server.url)
    await putting.start()
    await removing.start()
    order: list[str] = []

    def in_turn(store: ValkeyRecordStore, me: str) -> None:
        real = store._batch

        async def batch(commands):
            while me in order and order[0] != me:  # noqa: ASYNC110 - the turn passes often
                await asyncio.sleep(0)
            try:
                return await real(commands)
            finally:
                if me in order:
                    order.remove(me)

        store._batch = batch

    async def then(work, me: str) -> None:
        await work
        order[:] = [each for each in order if each != me]

    in_turn(putting, "p")
    in_turn(removing, "r")
    query = Query(labels={"org": "acme"})
    steps = 9
    for places in itertools.combinations(range(steps), 3):
        order.clear()
        await removing.remove(EVERYTHING)
        if before:
            await putting.put_many([make("a", blob=b"old")])
        order[:] = ["p" if step in places else "r" for step in range(steps)]
        await asyncio.gather(then(putting.put_many([make("a")]), "p"), then(removing.remove(query), "r"))
        readable = await putting.get(digest("a"), SCOPE)
        listed = await putting.find(query)
        assert readable is None or listed == [readable], places
    await putting.close()
    await removing.close()


async def test_scrubbed_nothing_is_left_of_labels_and_tags_of_what_is_gone(server, store):
    await store.put_many([make("a", tags=("hers",), labels={"user": "hers"}), make("b")])
    await store.remove(Query(tag="hers"))
    with server.client() as client:
        assert any(b"hers" in key for key in client.keys("*")), "so that nobody who fills the list finds it gone"
        await store.scrub()
        keys = client.keys("*")
        told = [client.get(key) for key in keys if client.type(key) == b"string"]
        assert not any(b"hers" in one for one in (*keys, *told))
    assert [one.name for one in await store.find(Query(tag="t"))] == ["e-b"]
    await store.put_many([make("a", tags=("hers",), labels={"user": "hers"})])
    assert [one.name for one in await store.find(Query(tag="hers"))] == ["e-a"]


async def test_what_is_stored_while_lists_are_scrubbed_is_found(store, monkeypatch):
    await store.put_many([make("a")])
    await store.remove(Query(tag="t"))
    forget = store._forget

    async def meanwhile(*arguments) -> None:
        await store.put_many([make("b")])  # after it was seen to be empty
        await forget(*arguments)

    monkeypatch.setattr(store, "_forget", meanwhile)
    await store.scrub()
    assert [one.name for one in await store.find(Query(tag="t"))] == ["e-b"]
    assert await store.count(EVERYTHING) == 1
