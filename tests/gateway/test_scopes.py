"""T3, T5, T6: whose answers a request may get comes from its key; what it names can only narrow; nothing tells more."""

import itertools
import json
import math
import random
import time

import pytest
from inside import CHAT, COUNT, EMBEDDINGS, MESSAGES, RESPONSES, SYSTEM, Got, inside, question

from ostinato.core.clock import ManualClock, SystemClock

ARM = 120
"""Samples per arm of the timing audit; the soak takes a thousand."""


async def test_headers_and_body_never_widen_the_scope() -> None:
    """T3: with whatever headers and body fields, a stranger's key never gets what another project has stored."""
    async with inside() as world:
        ours, theirs = await world.new_project("ours"), await world.new_project("theirs")
        victim, stranger = await world.new_key(ours), await world.new_key(theirs)
        first = await world.chat("a secret", key=victim)
        assert (await world.chat("a secret", key=victim)).cache == "hit-exact"
        organization = (await world.app.access.list_organizations(SYSTEM))[0].id
        spoofs = {
            "ostinato-project": ours,
            "ostinato-org": organization,
            "ostinato-scope": "project",
            "ostinato-entry": first.headers["ostinato-entry"],
            "x-ostinato-project": ours,
            "openai-project": ours,
            "openai-organization": organization,
            "anthropic-project": ours,
            "x-api-key": victim,
            "x-forwarded-for": "127.0.0.1",
            "x-original-authorization": f"Bearer {victim}",
            "cookie": f"key={victim}",
        }
        bodies = [
            {},
            {"project": ours, "organization": organization},
            {"metadata": {"project": ours, "org": organization, "key": victim}},
            {"user": ours},
            {"scope": "project", "cache": {"scope": ours}},
        ]
        headers = [{}, *({name: value} for name, value in spoofs.items()), spoofs]
        for sent, fields in itertools.product(headers, bodies):
            got = await world.chat("a secret", sent, key=stranger, **fields)
            assert got.status == 200
            # Their own second time may be a hit of their own entry, never of ours.
            assert got.headers.get("ostinato-entry") != first.headers["ostinato-entry"], (sent, fields)


async def test_what_a_request_names_narrows() -> None:
    async with inside() as world:
        named = [
            {},
            {"ostinato-user": "ann"},
            {"ostinato-user": "bob"},
            {"ostinato-context": "de"},
            {"ostinato-context": "fr"},
            {"ostinato-user": "ann", "ostinato-context": "de"},
        ]
        entries = set()
        for headers in named:
            assert (await world.chat("narrow", headers)).cache == "miss"
        for headers in named:
            got = await world.chat("narrow", headers)
            assert got.cache == "hit-exact"
            entries.add(got.headers["ostinato-entry"])
        assert len(entries) == len(named)
        # The body's own field names the same user as the header does.
        assert (await world.chat("narrow", user="ann")).headers["ostinato-entry"] in entries
        assert (
            await world.ask(MESSAGES, {**question("narrow"), "max_tokens": 5, "metadata": {"user_id": "ann"}})
        ).status == 200


async def test_keys_that_may_not_act_for_users_or_must() -> None:
    async with inside() as world:
        deaf = await world.new_key(may_act_for_users=False)
        strict = await world.new_key(end_user_required=True)
        plain = await world.chat("who", key=deaf)
        assert plain.cache == "miss"
        assert (await world.chat("who", {"ostinato-user": "ann"}, key=deaf)).cache == "hit-exact", (
            "its word is not heard"
        )
        for _ in range(2):
            got = await world.chat("who", key=strict)
            assert (got.cache, got.reason) == ("bypass", "no-end-user")
        assert [(await world.chat("who", {"ostinato-user": "ann"}, key=strict)).cache for _ in range(2)] == [
            "miss",
            "hit-exact",
        ]


async def test_keys_of_one_project_share_and_models_do_not() -> None:
    async with inside(
        '[models.twin]\ntargets = ["fake/plain"]\n[prices."other/plain"]\ninput = 1\noutput = 1\n'
    ) as world:
        one, two = await world.new_key(), await world.new_key()
        limited = await world.new_key(allowed_models=frozenset({"twin"}))
        assert (await world.chat("shared", key=one)).cache == "miss"
        assert (await world.chat("shared", key=two)).cache == "hit-exact"
        assert (await world.chat("shared", key=two, model="twin")).cache == "miss", "another alias is another promise"
        assert (await world.chat("shared", key=limited)).status == 403
        assert (await world.chat("shared", key=limited)).status == 403, "nor from the raw-body index"
        assert (await world.chat("shared", key=limited, model="twin")).cache == "hit-exact"


async def test_nothing_in_a_reply_tells_of_keys_or_neighbours() -> None:
    """T6: no cache key, fingerprint, similarity or neighbour in any header or body, hits and errors included."""
    async with inside() as world:
        replies: list[Got] = []
        for path, body in (
            (CHAT, question("quiet")),
            (CHAT, question("quiet", stream=True)),
            (MESSAGES, {**question("quiet"), "max_tokens": 5}),
            (RESPONSES, {"model": "plain", "input": "quiet"}),
            (EMBEDDINGS, {"model": "vectors", "input": "quiet"}),
            (COUNT, question("quiet")),
            (CHAT, question("quiet", model="nothing")),
            (CHAT, question("quiet", temperature=2)),
        ):
            for _ in range(3):
                replies.append(await world.ask(path, body))
                replies.append(await world.ask(path, body, {"cache-control": "only-if-cached"}))
        known: set[str] = set()
        for row in await world.rows(10):
            for name in ("fingerprint", "generation", "input_digest", "key_id", "org", "project"):
                value = getattr(row, name, "")
                if isinstance(value, str) and len(value) > 8:
                    known.add(value)
        allowed = {
            "content-type", "content-length", "x-request-id", "age", "date", "server-timing",
            "ostinato-cache", "ostinato-entry", "ostinato-target", "ostinato-cost", "ostinato-saved",
            "ostinato-cached-inputs", "ostinato-estimated",
            "cache-control", "x-accel-buffering", "x-should-retry", "retry-after",
            "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests",
        }  # fmt: skip
        for got in replies:
            assert set(got.headers) <= allowed, set(got.headers) - allowed
            told = json.dumps(got.headers) + got.body.decode()
            assert not [value for value in known if value in told]
            assert "similarity" not in told and "distance" not in told


@pytest.mark.parametrize("samples", [ARM, pytest.param(1000, marks=pytest.mark.soak)])
async def test_times_do_not_tell_a_stranger_what_others_have_asked(samples: int) -> None:
    """T5: what another project has cached costs a stranger the same steps as what nobody has. Counted, not timed."""
    async with inside() as world:
        ours, theirs = await world.new_project("ours"), await world.new_project("theirs")
        victim, stranger = await world.new_key(ours), await world.new_key(theirs)
        known = [f"known {number}" for number in range(samples)]
        for text in known:
            await world.chat(text, key=victim)
        rng = random.Random(7)
        probes = [(text, True) for text in known] + [(f"nobody {number}", False) for number in range(samples)]
        rng.shuffle(probes)
        work: dict[bool, list[tuple[object, ...]]] = {True: [], False: []}
        for text, seen in probes:
            calls = world.fake.calls
            got = await world.chat(text, key=stranger)
            work[seen].append((got.status, got.cache, got.reason, world.fake.calls - calls, sorted(got.headers)))
        assert work[True] == work[False], "every step is the same, so nothing is left for a clock to see"
        assert work[True][0][:4] == (200, "miss", "", 1)


@pytest.mark.soak
async def test_a_clock_cannot_tell_either() -> None:
    """T5 with a real clock: Kolmogorov-Smirnov p > 0.01 and a threshold's AUC <= 0.53, a thousand samples per arm."""
    async with inside(clock=SystemClock()) as world:
        ours, theirs = await world.new_project("ours"), await world.new_project("theirs")
        victim, stranger = await world.new_key(ours), await world.new_key(theirs)
        probes = [(f"known {number}", True) for number in range(1000)]
        for text, _ in probes:
            await world.chat(text, key=victim)
        probes += [(f"nobody {number}", False) for number in range(1000)]
        random.Random(7).shuffle(probes)
        times: dict[bool, list[float]] = {True: [], False: []}
        for text, seen in probes:
            begun = time.perf_counter()
            await world.chat(text, key=stranger)
            times[seen].append(time.perf_counter() - begun)
        assert smirnov(times[True], times[False]) > 0.01
        below = sum(a < b for a in times[True] for b in times[False]) / 1_000_000
        assert max(below, 1 - below) <= 0.53


def smirnov(one: list[float], two: list[float]) -> float:
    """The p-value of the two-sample Kolmogorov-Smirnov test, asymptotically."""
    distance, i, j = 0.0, 0, 0
    one, two = sorted(one), sorted(two)
    while i < len(one) and j < len(two):
        if one[i] <= two[j]:
            i += 1
        else:
            j += 1
        distance = max(distance, abs(i / len(one) - j / len(two)))
    size = math.sqrt(len(one) * len(two) / (len(one) + len(two)))
    scaled = (size + 0.12 + 0.11 / size) * distance
    return min(1.0, 2 * sum((-1) ** (k - 1) * math.exp(-2 * k * k * scaled * scaled) for k in range(1, 101)))


SHARED = """
[policies.plain]
alias = "plain"
scope = "project"
checks = ["words"]
[policies.vectors]
alias = "vectors"
scope = "project"
[checks.rules.words]
kind = "banned"
terms = ["forbidden"]
action = "block"
"""


async def test_whoever_is_named_is_written_down_by_digest_where_entries_are_shared_too() -> None:
    """They are found again when they are to be forgotten; whose entries are read does not change by it."""
    async with inside(SHARED) as world:
        ann, bob = {"ostinato-user": "ann"}, {"ostinato-user": "bob"}
        assert isinstance(world.clock, ManualClock)
        assert (await world.chat("hello", ann)).cache == "miss"
        for headers in (bob, bob, ann, ann):  # by the ordinary path, then by the raw body
            world.clock.advance(0.001)  # rows are listed by their time
            assert (await world.chat("hello", headers)).cache == "hit-exact"
        world.clock.advance(0.001)
        assert (await world.chat("a forbidden word", ann)).status == 400
        for control in ("no-store", ""):
            world.clock.advance(0.001)
            asked = {"model": "vectors", "input": "a", "user": "ann"}
            assert (await world.ask(EMBEDDINGS, asked, {"cache-control": control} if control else {})).status == 200
        rows = await world.rows(8)
        of_ann, of_bob = rows[0].user_digest, rows[1].user_digest
        assert of_ann and of_bob and of_ann != of_bob
        assert [row.user_digest for row in rows] == [of_ann, of_bob, of_bob, *[of_ann] * 5]
