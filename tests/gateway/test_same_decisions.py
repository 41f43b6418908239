"""With and without the look-up by raw body, every decision is the same.

Two projects of one server live through the same story, one with the look-up and one without; after every step their
replies must be equal but for what is new in every reply.
"""

import asyncio
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inside import CHAT, MESSAGES, PROVIDERS, RESPONSES, SYSTEM, Got, World, inside, question

from ostinato.cache import Selector

POLICIES: list[dict[str, Any] | None] = [
    {"ttl": 100.0, "ttl_jitter": 0.0},
    {"ttl": 100.0, "ttl_jitter": 0.0, "stale_while_revalidate": 50.0},
    {"ttl": 30.0, "ttl_jitter": 0.0, "scope": "project"},
    {"mode": "off"},
    {"ttl": 100.0, "ttl_jitter": 0.0, "session_scope": True},
    {"ttl": 100.0, "ttl_jitter": 0.0, "temperature_limit": 0.2},
    {"ttl": 100.0, "ttl_jitter": 0.0, "allow_directives": []},
]
WAYS = ["plain", "stream", "usage", "messages", "messages stream", "responses", "spaced"]
HEADERS: list[dict[str, str]] = [
    {},
    {"ostinato-user": "ann"},
    {"ostinato-user": "bob", "ostinato-session": "s"},
    {"ostinato-session": "s"},
    {"ostinato-context": "de"},
    {"ostinato-tags": "cards"},
    {"x-request-id": "mine"},
    {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
    {"cache-control": "no-cache"},
    {"cache-control": "no-store"},
    {"cache-control": "max-age=20"},
    {"cache-control": "only-if-cached"},
    {"anthropic-beta": "b1"},
    {"x-unknown": "1"},
]
KEYS = ["usual", "deaf", "strict", "limited", "short", "leaver"]

PARTS = (
    st.sampled_from(["one", "two"]),
    st.sampled_from(WAYS),
    st.sampled_from(HEADERS),
    st.sampled_from(["usual", "usual", "usual", *KEYS]),
    st.sampled_from([None, None, 0.1, 1.5]),
)
changes = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([1, 15, 29, 31, 71, 101, 160])),
    st.tuples(st.just("policy"), st.integers(0, len(POLICIES) - 1)),
    st.tuples(st.just("withdraw"), st.sampled_from(["tag", "alias", "user", "context", "everything"])),
    st.tuples(st.just("revoke")),
    st.tuples(st.just("route"), st.integers(0, 3)),
    st.tuples(st.just("price"), st.integers(1, 3)),
)


@st.composite
def stories(draw: st.DrawFn, most: int = 25) -> list[Any]:
    """One request and its near relatives, asked again and again, while things change between."""
    first = draw(st.tuples(*PARTS))
    relatives = [first, first]
    for index, part in enumerate(PARTS):
        relatives.append((*first[:index], draw(part), *first[index + 1 :]))
    ask = st.tuples(st.just("ask"), st.sampled_from(relatives), st.sampled_from([1, 1, 3]))
    # One strategy in another's ``one_of`` would be flattened, and most steps be changes.
    return [draw(ask) if draw(st.integers(0, 3)) else draw(changes) for _ in range(draw(st.integers(6, most)))]


class Side:
    """One of the two projects."""

    def __init__(self, world: World, project: str, raw: bool) -> None:
        self.world = world
        self.project = project
        self.raw = raw
        self.keys: dict[str, str] = {}
        self.short_until = 0

    async def prepare(self) -> None:
        """Keys, new where the last story has used them up."""
        make, now = self.world.new_key, self.world.clock.now()
        if not self.keys:
            self.keys["usual"] = await make(self.project)
            self.keys["deaf"] = await make(self.project, may_act_for_users=False)
            self.keys["strict"] = await make(self.project, end_user_required=True)
            self.keys["limited"] = await make(self.project, allowed_models=frozenset({"vectors"}))
        if self.short_until <= now:
            self.short_until = now + 150_000_000
            self.keys["short"] = await make(self.project, expires_at=self.short_until)
        if "leaver" not in self.keys:
            self.keys["leaver"] = await make(self.project)

    async def ask(self, text: str, way: str, headers: Any, key: str, temperature: Any, times: int) -> list[Any]:
        path, body = as_asked(text, way, temperature)
        asked = [self.world.ask(path, body, {**headers}, self.keys[key], raw=self.raw) for _ in range(times)]
        replies = await asyncio.gather(*asked)
        if times == 1:
            return [decided(replies[0])]
        # Who asks at the same time joins or comes a moment too late and hits; that one call is made does not vary.
        texts = [got.text if got.status == 200 else "" for got in replies]
        return [[got.status for got in replies], texts, sum(got.cache == "miss" and not got.reason for got in replies)]


def as_asked(text: str, way: str, temperature: float | None) -> tuple[str, Any]:
    extra = {} if temperature is None else {"temperature": min(temperature, 1.0) if "messages" in way else temperature}
    if way == "responses":
        return RESPONSES, {"model": "plain", "input": text, **extra}
    if way.startswith("messages"):
        return MESSAGES, {**question(text, **extra), "max_tokens": 50, "stream": way.endswith("stream")}
    if way == "usage":
        return CHAT, question(text, **extra, stream=True, stream_options={"include_usage": True})
    body = question(text, **extra, stream=way == "stream")
    return CHAT, json.dumps(body, indent=3).encode() if way == "spaced" else body


NEW = {"id", "created", "created_at", "completed_at", "item_id", "obfuscation"}


def bare(value: Any) -> Any:
    """Without what is new in every reply."""
    if isinstance(value, dict):
        return {name: bare(item) for name, item in value.items() if name not in NEW}
    return [bare(item) for item in value] if isinstance(value, list) else value


def decided(got: Got) -> Any:
    """Everything about a reply that is a decision."""
    varying = {"x-request-id", "server-timing", "date", "content-length", "ostinato-entry"}
    headers = {name: value for name, value in got.headers.items() if name not in varying}
    headers["entry"] = "ostinato-entry" in got.headers
    headers.pop("x-ratelimit-remaining-requests", None)
    headers["id echoed"] = got.headers["x-request-id"] == "mine"
    is_stream = got.headers["content-type"].startswith("text/event-stream")
    got = Got(got.status, got.headers, re.sub(rb"ost_\w{8}", b"a key", got.body))
    return got.status, headers, bare(got.events()) if is_stream else bare(got.json())


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


@pytest.fixture(scope="module")
def sides(runner: asyncio.Runner) -> Iterator[tuple[Side, Side]]:
    # Nothing is declared in the file: then all of it may be changed.
    opened = inside(base=PROVIDERS)
    world = runner.run(opened.__aenter__())

    async def both() -> tuple[Side, Side]:
        return (
            Side(world, await world.new_project("with"), raw=True),
            Side(world, await world.new_project("without"), raw=False),
        )

    yield runner.run(both())
    runner.run(opened.__aexit__(None, None, None))


numbers = itertools.count()


standing: dict[str, Any] = {}


async def declare(world: World, kind: str, name: str, body: Any) -> None:
    if standing.get(name) != body:
        standing[name] = body
        await world.declare(kind, name, body)


async def begin(sides: tuple[Side, Side]) -> None:
    world = sides[0].world
    await declare(world, "policies", "all", POLICIES[0])
    await declare(world, "models", "plain", {"targets": ["fake/plain"]})
    await declare(world, "prices", "fake/plain", {"input": 1, "output": 2})
    for side in sides:
        await side.prepare()


async def live(sides: tuple[Side, Side], story: list[Any]) -> None:
    world, nonce = sides[0].world, next(numbers)
    await begin(sides)
    for step in story:
        what = step[0]
        if what == "ask":
            text, *rest = step[1]
            seen, unseen = [await side.ask(f"{text} {nonce}", *rest, step[2]) for side in sides]
            assert seen == unseen, step
        elif what == "wait":
            world.clock.advance(step[1])
        elif what == "policy":
            await declare(world, "policies", "all", POLICIES[step[1]])
        elif what == "route":
            await declare(
                world,
                "models",
                "plain",
                {"targets": [{"provider": "fake", "model": "plain", "revision": str(step[1])}]},
            )
        elif what == "price":
            await declare(world, "prices", "fake/plain", {"input": step[1], "output": 2})
        elif what == "revoke":
            for side in sides:
                await world.app.access.revoke_key(SYSTEM, side.keys["leaver"][:12])
        elif what == "withdraw":
            await withdraw(sides, step[1])
    if any(step[0] == "revoke" for step in story):
        for side in sides:
            del side.keys["leaver"]


async def withdraw(sides: tuple[Side, Side], what: str) -> None:
    world = sides[0].world
    organization = (await world.app.access.list_organizations(SYSTEM))[0].id
    named: dict[str, Any] = {
        "tag": {"tag": "cards"},
        "alias": {"alias": "plain"},
        "user": {"user": "ann"},
        "context": {"context": "de"},
        "everything": {"everything": True},
    }[what]
    for side in sides:
        # How many there were is not compared: what has expired in earlier stories is swept whenever it is.
        await world.app.cache.invalidate(Selector(org=organization, project=side.project, **named), dry_run=False)


@given(stories())
@settings(deadline=None, max_examples=100)
def test_every_story_ends_the_same(runner: asyncio.Runner, sides: tuple[Side, Side], story: list[Any]) -> None:
    runner.run(live(sides, story))


@pytest.mark.soak
@given(stories(most=100))
@settings(deadline=None, max_examples=2000)
def test_every_long_story_ends_the_same(runner: asyncio.Runner, sides: tuple[Side, Side], story: list[Any]) -> None:
    runner.run(live(sides, story))


def test_the_look_up_is_really_used(runner: asyncio.Runner, sides: tuple[Side, Side]) -> None:
    """Otherwise the stories compare nothing with nothing."""

    async def count() -> tuple[int, int]:
        world = sides[0].world
        await begin(sides)
        found: list[int] = []
        for side in sides:
            body = json.dumps(question("is it used?")).encode()
            hits = 0
            for _ in range(4):
                sent = [(b"authorization", b"Bearer " + side.keys["usual"].encode())]
                hits += isinstance(world.app.gateway.repeater.whole(b"/v1/chat/completions", sent, body), bytes)
                await side.world.ask(CHAT, body, key=side.keys["usual"], raw=side.raw)
            found.append(hits)
        return found[0], found[1]

    used, unused = runner.run(count())
    assert used >= 2
    assert unused == 0
