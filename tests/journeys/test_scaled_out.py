"""Two processes on PostgreSQL and Valkey behave as one: answers, keys, withdrawal, money; also when a server goes."""

import json
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from harness import Running, Upstream, eventually

CHAT = "/v1/chat/completions"


class Pair:
    def __init__(self, one: Running, two: Running, upstream: Upstream, postgres: Any, valkey: Any) -> None:
        self.one = one
        self.two = two
        self.both = (one, two)
        self.upstream = upstream
        self.postgres = postgres
        self.valkey = valkey


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, mortal_postgres: Any, valkey_server: Any
) -> Iterator[Pair]:
    """Two servers; PostgreSQL and Valkey are this module's own to stop."""
    valkey = type(valkey_server)()
    valkey.start()
    url = mortal_postgres.new_database()
    extra = (
        f'[storage]\nurl = "{url}"\nvalkey = "{valkey.url}"\ndirectory = "DIR"\n[cache]\nurl = "{valkey.url}"\n'
        "[access]\nrequests_per_minute = 1000000\nprocesses = 2\n"
    )
    servers: list[Running] = []
    try:
        for name in ("one", "two"):
            directory = tmp_path_factory.mktemp(name)
            key = servers[0].key if servers else ""
            mine = extra.replace("DIR", str(directory / "data"))
            servers.append(Running(directory, upstream, mine, key=key, starts=False))
            servers[-1].launch()
        for server in servers:
            eventually(server.answers, within=60)
        yield Pair(servers[0], servers[1], upstream, mortal_postgres, valkey)
    finally:
        for server in servers:
            server.stop(signal.SIGTERM)
        valkey.kill()


def test_one_answers_what_the_other_has_asked(pair: Pair) -> None:
    before = pair.upstream.count()
    _, first, asked = pair.one.chat("scaled: shared", headers={"ostinato-user": "ann"})
    assert first["ostinato-cache"] == "miss"

    def found() -> Any:
        _, headers, told = pair.two.chat(
            "scaled: shared", headers={"ostinato-user": "ann", "cache-control": "only-if-cached"}
        )
        return headers["ostinato-cache"] == "hit-exact" and (headers, told)

    headers, told = eventually(found, within=5)
    assert headers["ostinato-entry"] == first["ostinato-entry"]
    assert told["choices"] == asked["choices"]
    assert told["usage"] == asked["usage"]
    assert pair.upstream.count() == before + 1
    # Streamed, in the other wire, and for another user.
    body = {
        "model": "plain",
        "stream": True,
        "messages": [{"role": "user", "content": "scaled: shared"}],
        "user": "ann",
    }
    assert pair.two.send("POST", CHAT, body)[1]["ostinato-cache"] == "hit-exact"
    assert pair.two.chat("scaled: shared", headers={"ostinato-user": "bob"})[1]["ostinato-cache"] == "miss"


def test_somebody_erased_in_one_is_in_no_cache_of_either(pair: Pair) -> None:
    """Not on Valkey, nor in the memory of the process that was not asked, nor in PostgreSQL."""
    token = "canary-61c0fa"
    _, projects = pair.one.api("GET", "/projects")
    headers = {"ostinato-user": f"eve-{token}", "ostinato-session": f"s-{token}", "ostinato-tags": f"t-{token}"}
    other = {"ostinato-user": "frank", "ostinato-tags": "kept"}
    for number in range(3):
        for server in pair.both:
            for sent in (headers, other):
                asked = f"scaled: {number}"
                eventually(lambda s=server, h=sent, t=asked: s.chat(t, headers=h)[1]["ostinato-cache"] == "hit-exact")
    # Without her name: found by the conversation, and by the call that made the answer.
    pair.one.chat("scaled: nobody's", headers={"ostinato-session": f"s-{token}", "ostinato-tags": f"t-{token}"})

    def stored(word: str) -> list[bytes]:
        """Keys on Valkey that have a word, in their name or in what they hold."""
        with pair.valkey.client() as client:
            read = {
                b"string": client.get,
                b"hash": client.hgetall,
                b"set": client.smembers,
                b"zset": lambda key: client.zrange(key, 0, -1),
                b"none": lambda _: b"",  # it has ended since it was listed
            }
            keys = list(client.scan_iter(count=1000))
            held = {key: read[client.type(key)](key) for key in keys}
        return [key for key, value in held.items() if word in f"{key!r} {value!r}"]

    eventually(lambda: sum(key.startswith(b"ost:e:") for key in stored(token)) == 4)
    kept = len(stored("kept"))
    wish = {"user": f"eve-{token}", "project": projects[0]["id"]}
    status, begun = pair.two.api("POST", "/retention/erasures", wish)
    assert status == 202
    path = f"/retention/erasures/{begun['erasure']['id']}"
    shown = eventually(lambda: (one := pair.one.api("GET", path)[1])["state"] == "done" and one, within=30)
    assert {one["store"]: one["found"] for one in shown["stores"]}["cache"] == 4
    assert not any(one["left"] or one["held"] for one in shown["stores"])
    assert stored(token) == []
    assert len(stored("kept")) == kept > 3

    def gone() -> bool:
        sent = {**headers, "cache-control": "only-if-cached"}
        return all(server.chat("scaled: 1", headers=sent)[0] == 504 for server in pair.both)

    eventually(gone, within=5)
    for server in pair.both:
        assert server.chat("scaled: 1", headers=other)[1]["ostinato-cache"] == "hit-exact"
        assert token not in server.log.read_text()


def test_a_key_revoked_in_one_stops_in_the_other_within_two_seconds(pair: Pair) -> None:
    body = {"model": "plain", "messages": [{"role": "user", "content": "scaled: revoked"}]}
    for _ in range(3):
        secret = pair.one.new_key("leaver")
        eventually(lambda s=secret: pair.two.send("POST", CHAT, body, key=s)[0] == 200, within=2)
        assert pair.one.api("DELETE", f"/keys/{secret[:12]}")[0] == 200
        revoked = time.monotonic()
        assert pair.one.send("POST", CHAT, body, key=secret)[0] == 401
        eventually(lambda s=secret: pair.two.send("POST", CHAT, body, key=s)[0] == 401, within=2)
        assert time.monotonic() - revoked < 2


def test_what_is_withdrawn_in_one_is_gone_in_the_other(pair: Pair) -> None:
    tags = {"ostinato-tags": "scaled"}
    for server in pair.both:
        eventually(
            lambda s=server: s.chat("scaled: tagged", headers=tags)[1]["ostinato-cache"] == "hit-exact", within=5
        )
    status, report = pair.two.api("POST", "/cache/invalidations", {"tag": "scaled", "dry_run": False})
    assert (status, report["total"]) == (200, 1)

    def gone() -> bool:
        asked = {**tags, "cache-control": "only-if-cached"}
        return all(server.chat("scaled: tagged", headers=asked)[0] == 504 for server in pair.both)

    eventually(gone, within=2)
    assert pair.one.chat("scaled: tagged", headers=tags)[1]["ostinato-cache"] == "miss"


def test_identical_misses_in_both_make_one_call(pair: Pair) -> None:
    before = pair.upstream.count()
    replies: list[Any] = []

    def ask(server: Running) -> None:
        replies.append(server.chat("scaled: stampede", model="openai-slow"))

    threads = [threading.Thread(target=ask, args=(server,)) for server in pair.both for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [status for status, _, _ in replies] == [200] * 12
    assert len({told["choices"][0]["message"]["content"] for _, _, told in replies}) == 1
    assert pair.upstream.count() == before + 1
    costs = [float(headers["ostinato-cost"]) for _, headers, _ in replies]
    assert sum(cost > 0 for cost in costs) == 1, "one payer"


def test_models_and_policies_declared_in_one_hold_in_both(pair: Pair) -> None:
    assert pair.one.api("PUT", "/models/everywhere", {"targets": ["openai/plain"]})[0] == 200
    eventually(lambda: pair.two.chat("scaled: declared", model="everywhere")[0] == 200, within=3)
    assert pair.two.api("PUT", "/models/everywhere", {"targets": ["anthropic/plain"]})[0] == 200
    eventually(
        lambda: pair.one.chat("scaled: declared", model="everywhere")[1].get("ostinato-target") == "anthropic/plain",
        within=3,
    )


def test_a_release_and_its_way_back_reach_both_within_two_seconds(pair: Pair) -> None:
    """C2, C3: after a rollback nobody serves what was rolled back; the answers of before are warm in both."""
    one, two = pair.both
    for text in ("Old words. {{q}}", "New words. {{q}}"):
        draft = {"text": text, "params": {"model": "plain"}}
        path, body = "/prompts/scaled/versions", draft
        if text.startswith("Old"):
            path, body = "/prompts", {"name": "scaled", "kind": "text", "version": draft}
        assert one.api("POST", path, body)[0] == 201
    assert one.api("POST", "/principals", {"key": "scaled-bo", "name": "Bo", "kind": "person"})[0] == 201
    assert one.api("POST", "/bindings", {"principal": "scaled-bo", "role": "approver"})[0] == 201
    bo = one.api("POST", "/keys", {"name": "bo", "principal": "scaled-bo", "role": "approver"})[1]["secret"]

    def release(number: int) -> str:
        wish = {"prompt": "scaled", "number": number, "reason": "journey"}
        status, made = one.api("POST", "/releases", wish)
        assert status == 201, made
        word = {"digest": made["digest"], "comment": "seen"}
        status, told = one.api("POST", f"/releases/{made['id']}/approve", word)
        assert status == 403, "nobody approves what they propose"
        status, told = eventually(
            lambda: (got := two.api("POST", f"/releases/{made['id']}/approve", word, key=bo))[0] != 401 and got
        )
        assert status == 200, told
        assert one.api("POST", f"/releases/{made['id']}/start")[0] == 200
        return made["id"]

    body = {"model": "prompt:scaled", "prompt": {"variables": {"q": "scaled?"}}}

    def serves(server: Running, release_id: str) -> Any:
        status, headers, _ = server.send("POST", CHAT, body)
        return status == 200 and f"release={release_id}" in headers["ostinato-prompt"] and headers

    first = release(1)
    found = [eventually(lambda s=server: serves(s, first), within=2) for server in pair.both]
    assert all("ostinato-entry" in headers for headers in found), found
    kept = [headers["ostinato-entry"] for headers in found]
    assert kept[0] == kept[1]
    second = release(2)
    for server in pair.both:
        eventually(lambda s=server: serves(s, second), within=2)
    assert one.api("POST", f"/releases/{second}/rollback", {"reason": "worse"})[0] == 200
    for server in pair.both:
        headers = eventually(lambda s=server: serves(s, first), within=2)
        assert (headers["ostinato-cache"], headers["ostinato-entry"]) == ("hit-exact", kept[0])


def test_a_budget_is_one_for_both(pair: Pair) -> None:
    _, found, _ = pair.one.chat("scaled: what does one cost?", max_tokens=40, headers={"cache-control": "no-store"})
    price = int(float(found["ostinato-cost"]) * 1e9)
    status, made = pair.one.api("POST", "/keys", {"name": "poor", "budget": {"nano": price * 30, "period": "total"}})
    assert status == 201
    secret = made["secret"]
    body = {"model": "plain", "max_tokens": 40, "messages": [{"role": "user", "content": "x"}]}
    eventually(lambda: pair.two.send("POST", CHAT, body, {"cache-control": "no-store"}, key=secret)[0] in (200, 429))
    passed: list[int] = []

    def spend(server: Running, name: str) -> None:
        for number in range(25):
            ask = {**body, "messages": [{"role": "user", "content": f"scaled: spend {name} {number:02}"}]}
            passed.append(server.send("POST", CHAT, ask, key=secret)[0])

    threads = [threading.Thread(target=spend, args=(s, f"{n}{i}")) for n, s in enumerate(pair.both) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(passed) <= {200, 429}
    assert 429 in passed

    def told() -> Any:
        return pair.one.api("GET", f"/keys/{made['key']['id']}/budget")[1]

    state = eventually(lambda: (found := told())["spent"] >= passed.count(200) * price * 0.8 and found)
    assert state["spent"] <= price * 30
    assert state["spent"] + state["held"] <= price * 30


def test_the_ledger_is_one(pair: Pair) -> None:
    _, miss, _ = pair.one.chat("scaled: ledger", headers={"x-request-id": "scaled-1"})
    _, hit, _ = pair.two.chat("scaled: ledger", headers={"x-request-id": "scaled-2"})
    assert miss["x-request-id"] == "scaled-1" and hit["x-request-id"] == "scaled-2"
    assert pair.two.row("scaled-1")["cache"] == "miss"
    # Asked before the first has let go of it, the second waits for that answer: it joined, which saves as a hit does.
    assert hit["ostinato-cache"] in ("hit-exact", "miss; reason=joined")
    row = pair.one.row("scaled-2")
    assert (row["cache"], row["kind"] == "joined") == ("hit-exact", "joined" in hit["ostinato-cache"])


def test_servers_that_hang_slow_nobody_down_for_long(pair: Pair) -> None:
    """F1: connections stay, answers stop. Hits go on at once, misses after a short wait."""
    pair.one.chat("scaled: hanging")
    for frozen in (pair.valkey, pair.postgres):
        frozen.freeze()
        try:
            for number in range(4):
                begun = time.monotonic()
                assert pair.one.chat("scaled: hanging")[1]["ostinato-cache"] == "hit-exact"
                assert pair.one.chat(f"scaled: hanging {type(frozen).__name__} {number}")[0] == 200
                assert time.monotonic() - begun < 4
        finally:
            frozen.thaw()
    eventually(lambda: pair.two.api("POST", "/keys", {"name": "thawed"})[0] == 201, within=15)


def test_valkey_that_dies_in_flight_costs_hits_and_nothing_else(pair: Pair) -> None:
    pair.one.chat("scaled: remembered")
    eventually(lambda: pair.two.chat("scaled: remembered")[1]["ostinato-cache"] == "hit-exact")
    secret = pair.one.new_key("while away")
    pair.valkey.kill()
    for number in range(5):
        for server in pair.both:
            begun = time.monotonic()
            assert server.chat(f"scaled: without {number}")[0] == 200
            assert time.monotonic() - begun < 5
            assert server.chat("scaled: remembered")[1]["ostinato-cache"] == "hit-exact", "memory has it"
    # Notices go another way meanwhile: revocation still reaches everybody.
    body = {"model": "plain", "messages": [{"role": "user", "content": "scaled: remembered"}]}
    assert pair.one.api("DELETE", f"/keys/{secret[:12]}")[0] == 200
    eventually(lambda: pair.two.send("POST", CHAT, body, key=secret)[0] == 401, within=3)
    status, _, data = pair.one.send("GET", "/readyz")
    assert status == 200
    assert json.loads(data)["parts"]["cache"] != "ok"
    pair.valkey.start()
    eventually(lambda: json.loads(pair.one.send("GET", "/readyz")[2])["parts"]["cache"] == "ok", within=15)

    def shared_again() -> bool:
        text = f"scaled: again {time.monotonic()}"
        pair.one.chat(text)
        time.sleep(0.2)
        return pair.two.chat(text)[1]["ostinato-cache"] == "hit-exact"

    eventually(shared_again, within=15)


def test_postgresql_that_goes_away_costs_changes_and_nothing_else(pair: Pair) -> None:
    key = pair.one.new_key("known")
    body = {"model": "plain", "messages": [{"role": "user", "content": "scaled: known key"}]}
    eventually(lambda: pair.two.send("POST", CHAT, body, key=key)[0] == 200, within=3)
    pair.postgres.stop()
    try:
        for server in pair.both:
            assert server.send("POST", CHAT, body, key=key)[1]["ostinato-cache"] == "hit-exact"
            assert server.chat(f"scaled: no database {server.port}")[0] == 200
            prompt = {"model": "prompt:scaled", "prompt": {"variables": {"q": f"away {server.port}"}}}
            assert server.send("POST", CHAT, prompt)[0] == 200, "the last snapshot is served"
            assert server.send("POST", CHAT, body, key="ost_" + "A" * 58)[0] == 401, "authorization never opens"
            status, told = server.api("POST", "/keys", {"name": "impossible"})
            assert status == 503, told
            assert told["hint"]
    finally:
        pair.postgres.start()
    eventually(lambda: pair.one.api("POST", "/keys", {"name": "possible"})[0] == 201, within=15)
    made = eventually(
        lambda: (found := pair.two.api("POST", "/keys", {"name": "again"}))[0] == 201 and found[1], within=15
    )
    eventually(lambda: pair.one.send("POST", CHAT, body, key=made["secret"])[0] == 200, within=5)
    for server in pair.both:
        told = server.log.read_text()
        assert "Traceback" not in told, told[-3000:]
        assert server.key not in told
