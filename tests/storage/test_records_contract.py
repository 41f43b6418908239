"""What a record store does, on SQLite, on Valkey, and on Valkey as a cluster."""

import asyncio
import hashlib
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ostinato.core.errors import Invalid, Unavailable
from ostinato.storage import Query, Record, SqliteRecordStore
from ostinato.storage.records_valkey import ValkeyRecordStore

HOUR = 3_600_000_000
EVERYTHING = Query(everything=True)


def digest(text: object) -> bytes:
    return hashlib.sha256(str(text).encode()).digest()


@pytest.fixture(params=["sqlite", "valkey", "valkey-cluster"])
async def store(request, tmp_path, clock):
    if request.param == "sqlite":
        made = SqliteRecordStore(tmp_path / "cache.db", clock=clock)
    else:
        fixture = "valkey_url" if request.param == "valkey" else "valkey_cluster_url"
        made = ValkeyRecordStore(request.getfixturevalue(fixture), clock=clock)
    await made.start()
    assert made.healthy
    yield made
    await made.close()


@pytest.fixture
def record(clock):
    def make(name: object = "one", **changes) -> Record:
        fields = {
            "key": digest(name),
            "scope": digest("scope")[:16],
            "name": f"e-{name}",
            "labels": {"org": "acme", "project": "support", "alias": "fast", "user": ""},
            "tags": ("faq",),
            "expires": clock.now() + HOUR,
            "blob": b"answer",
        }
        return Record(**{**fields, **changes})

    return make


async def keys(store, query: Query = EVERYTHING, limit: int = 10_000) -> set[bytes]:
    return {found.key for found in await store.find(query, limit)}


async def test_what_was_put_comes_back(store, record):
    await store.put_many([record("a"), record("b", blob=bytes(range(256)) * 40)])
    assert await store.get(digest("a"), record().scope) == record("a")
    assert (await store.get(digest("b"), record().scope)).blob == bytes(range(256)) * 40
    assert await store.get(digest("c"), record().scope) is None


async def test_no_scope_opens_anothers_record(store, record):
    mine, theirs = digest("mine"), digest("theirs")
    await store.put_many([record("a", scope=mine)])
    assert await store.get(digest("a"), theirs) is None
    assert await store.get(digest("a"), b"") is None
    assert await store.get(digest("a"), mine + b"x") is None
    await store.put_many([record("a", scope=theirs, blob=b"theirs")])
    assert (await store.get(digest("a"), mine)).blob == b"answer"
    assert (await store.get(digest("a"), theirs)).blob == b"theirs"


async def test_random_pairs_of_scopes_share_nothing(store, record):
    draw = random.Random(1)
    scopes = [draw.randbytes(draw.choice((1, 16, 32))) for _ in range(30)]
    placed = {(digest(n), draw.choice(scopes)): b"%d" % n for n in range(300)}
    await store.put_many([record(key, key=key, scope=scope, blob=blob) for (key, scope), blob in placed.items()])
    for _ in range(2_000):
        pair = draw.choice(list(placed))[0], draw.choice(scopes)
        found = await store.get(*pair)
        assert (found.blob if found else None) == placed.get(pair)


async def test_a_later_record_replaces_an_earlier_one(store, record):
    await store.put_many([record("a", blob=b"1"), record("b"), record("a", blob=b"2")])
    assert (await store.get(digest("a"), record().scope)).blob == b"2"
    await store.touch_many([(digest("a"), 5, 99)])
    await store.put_many([record("a", blob=b"3", labels={"org": "other"}, tags=())])
    assert await store.count(EVERYTHING) == 2
    assert await keys(store, Query(labels={"org": "acme"})) == {digest("b")}
    assert await store.count(Query(tag="faq")) == 1
    [found] = await store.find(Query(labels={"org": "other"}))
    assert (found.blob, found.hits, found.last_hit) == (b"3", 0, 0)


async def test_queries_join_by_and(store, record):
    await store.put_many(
        [
            record("a", labels={"org": "acme", "project": "x"}, tags=("t1", "t2")),
            record("b", labels={"org": "acme", "project": "y"}, tags=("t2",)),
            record("c", labels={"org": "zeta", "project": "x"}, tags=(), scope=b"else"),
        ]
    )
    expected = [
        (Query(labels={"org": "acme"}), "ab"),
        (Query(labels={"org": "acme", "project": "x"}), "a"),
        (Query(labels={"org": "zeta", "project": "y"}), ""),
        (Query(labels={"project": "x"}), "ac"),
        (Query(tag="t2"), "ab"),
        (Query(tag="t2", labels={"project": "y"}), "b"),
        (Query(tag="t3"), ""),
        (Query(scope=b"else"), "c"),
        (Query(scope=b"else", labels={"org": "acme"}), ""),
        (Query(name="e-a"), "a"),
        (Query(name="e-a", labels={"org": "acme"}), "a"),
        (Query(name="e-a", labels={"org": "zeta"}), ""),
        (Query(name="e-a", tag="t3"), ""),
        (Query(name="e-c", scope=b"else"), "c"),
        (Query(name="e-nobody"), ""),
        (EVERYTHING, "abc"),
    ]
    for query, names in expected:
        assert await keys(store, query) == {digest(name) for name in names}, query
        assert await store.count(query) == len(names), query


async def test_labels_and_tags_are_told_apart(store, record):
    await store.put_many(
        [
            record("a", labels={"tag": "x", "a=b": "c"}, tags=("y",)),
            record("b", labels={"a": "b=c"}, tags=("x",)),
        ]
    )
    assert await keys(store, Query(tag="x")) == {digest("b")}
    assert await keys(store, Query(labels={"tag": "x"})) == {digest("a")}
    assert await keys(store, Query(labels={"a": "b=c"})) == {digest("b")}


async def test_a_query_that_names_nothing_is_refused(store):
    for call in (store.find, store.count, store.remove):
        with pytest.raises(Invalid) as caught:
            await call(Query())
        assert caught.value.code == "empty_query"


async def test_find_gives_no_more_than_the_limit(store, record):
    await store.put_many([record(n, labels={"org": f"o{n % 7}"}) for n in range(40)])
    assert len(await store.find(EVERYTHING, 13)) == 13
    assert len(await store.find(Query(labels={"org": "o1"}), 3)) == 3
    assert await store.find(Query(name="e-1"), 0) == []


async def test_removal_removes_those_and_no_others(store, record):
    records = [record(n, labels={"org": "acme", "alias": f"a{n % 3}"}) for n in range(60)]
    await store.put_many(records)
    gone = await store.remove(Query(labels={"org": "acme", "alias": "a1"}))
    assert sorted(gone) == sorted(digest(n) for n in range(60) if n % 3 == 1)
    for n in range(60):
        assert (await store.get(digest(n), record().scope) is None) == (n % 3 == 1)
    assert await store.count(EVERYTHING) == 40
    assert await store.remove(Query(labels={"alias": "a1"})) == []
    assert await store.remove(Query(name="e-2")) == [digest(2)]
    assert len(await store.remove(EVERYTHING)) == 39
    assert await store.count(EVERYTHING) == 0
    await store.put_many(records[:1])
    assert await keys(store) == {digest(0)}


async def test_removal_by_key_reaches_every_scope(store, record):
    await store.put_many([record("a"), record("a", scope=b"2"), record("b")])
    assert await store.remove_keys([digest("a"), digest("a"), digest("nobody")]) == 2
    assert await store.remove_keys([]) == 0
    assert await keys(store) == {digest("b")}
    assert await store.get(digest("a"), b"2") is None


async def test_touches_add_up(store, record):
    await store.put_many([record("a"), record("b")])
    await store.touch_many([(digest("a"), 2, 100), (digest("nobody"), 1, 1)])
    await store.touch_many([(digest("a"), 3, 200)])
    await store.touch_many([])
    found = {each.key: (each.hits, each.last_hit) for each in await store.find(EVERYTHING)}
    # The time of a record's birth is its own; only what is said of hits counts here.
    assert found[digest("a")][0] == 5
    assert found[digest("b")] == (0, 0)
    assert len(found) == 2


async def test_sweeping_takes_what_expired(store, record, clock):
    await store.put_many([record(n, expires=clock.now() + HOUR * (1 if n % 2 else 3)) for n in range(20)])
    assert await store.sweep(clock.now()) == 0
    clock.advance(2 * 3600)
    assert await store.sweep(clock.now()) == 10
    assert await store.count(EVERYTHING) == 10
    clock.advance(2 * 3600)
    assert await store.sweep(clock.now()) == 10
    assert await store.count(EVERYTHING) == 0
    await store.put_many([record("new")])
    assert await store.count(Query(labels={"org": "acme"})) == 1


async def test_every_prefix_is_given(store, record):
    await store.put_many([record(n, tags=(f"t{n % 5}",)) for n in range(200)])
    seen = [prefix async for prefixes in store.key_prefixes() for prefix in prefixes]
    assert set(seen) == {digest(n)[:8] for n in range(200)}


async def test_an_empty_store_has_no_prefixes(store):
    assert [prefixes async for prefixes in store.key_prefixes()] == []


async def test_a_lease_has_one_holder(store, clock):
    key = digest("flight")
    assert await store.acquire_lease(key, "a", 30)
    assert not await store.acquire_lease(key, "b", 30)
    assert await store.acquire_lease(key, "a", 30)
    await store.release_lease(key, "b")
    assert not await store.acquire_lease(key, "b", 30)
    await store.release_lease(key, "a")
    assert await store.acquire_lease(key, "b", 30)
    assert await store.acquire_lease(digest("another"), "a", 30)
    await store.release_lease(digest("nobody"), "a")


async def test_a_lease_ends_by_itself(store, clock):
    assert await store.acquire_lease(b"key", "a", 0.05)
    clock.advance(0.06)
    await asyncio.sleep(0.06)
    assert await store.acquire_lease(b"key", "b", 30)


async def test_of_many_only_one_gets_the_lease(store):
    won = await asyncio.gather(*(store.acquire_lease(b"key", f"owner-{n}", 30) for n in range(50)))
    assert sum(won) == 1


async def test_what_can_be_read_can_be_found(store, record):
    """Puts and removals at the same time, over and over: no record may slip out of the lists and stay readable."""

    async def put() -> None:
        for turn in range(15):
            await store.put_many([record(n, labels={"org": "acme", "turn": str(turn % 2)}) for n in range(20)])

    async def remove() -> None:
        for _ in range(15):
            await store.remove(Query(labels={"org": "acme"}))

    await asyncio.gather(put(), remove(), put(), remove())
    listed = await keys(store, Query(labels={"org": "acme"}))
    readable = {digest(n) for n in range(20) if await store.get(digest(n), record().scope) is not None}
    assert readable <= listed
    await store.remove(Query(labels={"org": "acme"}))
    assert [n for n in range(20) if await store.get(digest(n), record().scope) is not None] == []


async def test_a_cancelled_call_breaks_nothing(store, record):
    await store.put_many([record("a")])
    for _ in range(20):
        call = asyncio.ensure_future(store.get(digest("a"), record().scope))
        await asyncio.sleep(0)
        call.cancel()
    assert await store.get(digest("a"), record().scope) is not None


async def test_the_loops_own_threads_are_left_alone(store, record):
    from concurrent.futures import ThreadPoolExecutor

    asked = []

    class Counting(ThreadPoolExecutor):
        def submit(self, *arguments, **named):
            asked.append(arguments)
            return super().submit(*arguments, **named)

    asyncio.get_running_loop().set_default_executor(Counting(1))
    await store.put_many([record()])
    await store.get(digest("one"), record().scope)
    await store.find(EVERYTHING)
    assert asked == []


async def test_closed_means_unavailable(store, record):
    await store.close()
    await store.close()
    assert not store.healthy
    for call in (
        store.get(b"k", b"s"),
        store.put_many([record()]),
        store.find(EVERYTHING),
        store.remove_keys([b"k"]),
    ):
        with pytest.raises(Unavailable):
            await call


async def test_starting_again_after_closing(store, record, clock):
    await store.put_many([record()])
    await store.close()
    await store.start()
    assert await store.get(digest("one"), record().scope) == record()


text = st.text(max_size=20)
labels = st.dictionaries(text, text, max_size=4)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_any_record_survives(store, clock, data):
    made = data.draw(
        st.builds(
            Record,
            key=st.binary(min_size=32, max_size=32),
            scope=st.binary(max_size=64),
            name=st.text(min_size=1, max_size=20),
            labels=labels,
            tags=st.lists(text.filter(bool), max_size=3, unique=True).map(lambda tags: tuple(sorted(tags))),
            expires=st.just(clock.now() + HOUR),
            blob=st.binary(max_size=2_000),
        )
    )
    await store.put_many([made])
    assert await store.get(made.key, made.scope) == made
    assert made.key in await keys(store, Query(labels=made.labels, everything=True))
    for tag in made.tags:
        assert made.key in await keys(store, Query(tag=tag))
    assert made.key in await store.remove(Query(name=made.name))
    assert await store.get(made.key, made.scope) is None
