"""Prompts through both clients: fetched once, confirmed, pushed, evicted, and served stale while the server is away."""

import os
import threading
import time
import warnings
from typing import Any

import pytest
from small_server import KEY, Both, Small, told

from ostinato import AsyncClient, Client
from ostinato.client import InvalidVariables, StalePrompt
from ostinato.core.errors import Denied, Invalid, NotFound, Unavailable


def test_a_prompt_is_rendered_here(both: Both, server: Small):
    server.put(told(params={"temperature": 0.2}, model="small", response_format={"type": "json_object"}, release="r1"))
    prompt = both.make().prompt("greeting")
    rendered = prompt.render(who="Ada")
    assert rendered.messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello Ada!"},
    ]
    assert rendered.text == "Be brief.\n\nHello Ada!"
    assert rendered.arguments() == {
        "model": "small",
        "messages": rendered.messages,
        "temperature": 0.2,
        "response_format": {"type": "json_object"},
    }
    assert (prompt.version, prompt.label, prompt.release, prompt.stale) == (1, "production", "r1", False)
    assert prompt.render({"who": "Bob"}).messages[1]["content"] == "Hello Bob!"


def test_it_is_fetched_once_within_its_time_and_confirmed_after(both: Both, server: Small, clock: Any):
    server.put(told())
    both.make(ttl=60.0)
    first = both.prompt("greeting")
    clock.advance(59)
    assert both.prompt("greeting") is first
    assert server.fetches() == 1
    clock.advance(2)
    assert both.prompt("greeting") is first
    assert server.fetches() == 2
    assert server.asked[-1][2]["if-none-match"].startswith('"')
    server.put(told(version=2, template="Good day, {{who}}."))
    clock.advance(61)
    assert both.prompt("greeting").version == 2


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        ({"name": "a/b"}, {"label": "production"}),
        ({"name": "a/b", "label": "staging"}, {"label": "staging"}),
        ({"name": "a/b", "version": 3}, {"version": "3"}),
        ({"name": "a/b@staging"}, {"label": "staging"}),
        ({"name": "prompt:a/b@3"}, {"version": "3"}),
        ({"name": "a/b", "user": "ada"}, {"label": "production", "user": "ada"}),
        ({"name": "a/b", "session": "s", "user": "ada"}, {"label": "production", "session": "s", "user": "ada"}),
    ],
)
def test_what_is_asked_for(both: Both, server: Small, arguments: dict[str, Any], query: dict[str, str]):
    server.put(told("a/b"), "production", "staging", "3", "ada")
    assert both.make().prompt(**arguments).name == "a/b"
    path, asked, headers, _ = server.asked[-1]
    assert (path, asked) == ("/api/v1/prompts/a%2Fb/resolved", query)
    assert headers["user-agent"].startswith("ostinato-python/")


@pytest.mark.parametrize(
    ("arguments", "param"),
    [
        ({"name": "a", "label": "x", "version": 1}, "version"),
        ({"name": "a@x", "label": "y"}, "label"),
        ({"name": ""}, "prompt"),
        ({"name": "a", "label": ""}, "prompt"),
        ({"name": "a", "version": 0}, "version"),
    ],
)
def test_what_cannot_be_asked_for(both: Both, arguments: dict[str, Any], param: str):
    with pytest.raises(Invalid) as caught:
        both.make().prompt(**arguments)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("values", "code", "named"),
    [
        ({}, "missing_variable", "who"),
        ({"who": 3}, "invalid_variable", "who"),
        ({"who": "x", "whom": "y"}, "unknown_variable", "whom"),
        ({"who": None}, "invalid_variable", "who"),
        ({"who": True}, "invalid_variable", "who"),
    ],
)
def test_wrong_variables_are_named(both: Both, server: Small, values: dict[str, Any], code: str, named: str):
    server.put(told())
    with pytest.raises(InvalidVariables) as caught:
        both.make().prompt("greeting").render(values)
    assert (caught.value.code, caught.value.param) == (code, f"prompt.variables.{named}")


def test_types_are_those_of_json_schema(both: Both, server: Small):
    properties = {"n": {"type": "integer"}, "x": {"type": ["number", "null"]}, "any": {}, "list": {"type": "array"}}
    server.put(told(template="{{n}} {{x}} {{any}} {{list}}", variables={"type": "object", "properties": properties}))
    prompt = both.make().prompt("greeting")
    assert prompt.render(n=2, x=None, any={"a": 1}, list=[1]).messages[1]["content"] == '2  {"a":1} [1]'
    assert prompt.render(n=2.0, x=1.5).messages[1]["content"].startswith("2")
    for wrong in ({"n": 2.5}, {"n": True}, {"x": "1"}, {"list": "abc"}):
        with pytest.raises(InvalidVariables):
            prompt.render(wrong)


def test_partials_are_taken_at_the_versions_that_are_pinned(both: Both, server: Small):
    pieces = {
        "foot@2": {"template": "{{>sign}} v2", "partials": {"sign": 1}},
        "head@1": {"template": "[{{>sign}}]", "partials": {"sign": 7}},
        "sign@1": {"template": "one, {{who}}"},
        "sign@7": {"template": "seven"},
    }
    server.put(told(template="{{>head}} {{>foot}}", partials={"foot": 2, "head": 1}, pieces=pieces))
    assert both.make().prompt("greeting").render(who="Ada").messages[1]["content"] == "[seven] one, Ada v2"


def test_a_404_evicts(both: Both, server: Small, clock: Any):
    server.put(told())
    both.make(ttl=10.0).prompt("greeting")
    del server.prompts["greeting", "production"]
    clock.advance(11)
    with pytest.raises(NotFound) as caught:
        both.prompt("greeting")
    assert (caught.value.code, caught.value.hint) == ("label_not_found", "There are: staging.")
    assert any("req-1" in note for note in caught.value.__notes__)
    server.stop()
    with pytest.raises(Unavailable):  # not the one that was evicted
        both.prompt("greeting")


def test_a_key_that_is_refused_is_served_nothing_stale(both: Both, server: Small, clock: Any):
    server.put(told())
    both.make(ttl=10.0).prompt("greeting")
    server.status = 403
    clock.advance(11)
    with pytest.raises(Denied):
        both.prompt("greeting")
    server.status = 503
    with pytest.raises(Unavailable):
        both.prompt("greeting")


def test_while_the_server_is_away_prompts_are_stale_and_say_so_until_the_limit(both: Both, server: Small, clock: Any):
    server.put(told())
    both.make(ttl=60.0, max_stale=600.0).prompt("greeting")
    server.stop()
    clock.advance(61)
    with pytest.warns(StalePrompt, match="61 s ago"):
        stale = both.prompt("greeting")
    assert stale.stale and stale.render(who="Ada").messages[1]["content"] == "Hello Ada!"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # told once
        for _ in range(8):
            clock.advance(60)
            assert both.prompt("greeting").stale
    clock.advance(60)
    with pytest.raises(Unavailable) as caught:
        both.prompt("greeting")
    assert caught.value.code == "unreachable" and server.url in caught.value.message
    server.start()
    clock.advance(60)
    assert not both.prompt("greeting").stale


def test_a_server_that_is_away_is_not_asked_for_every_prompt(both: Both, server: Small, clock: Any):
    server.put(told())
    both.make(ttl=1.0).prompt("greeting")
    server.status = 503
    clock.advance(2)
    before = server.fetches()
    with pytest.warns(StalePrompt):
        for _ in range(100):
            assert both.prompt("greeting").stale
    assert server.fetches() == before + 1
    server.status = 0
    clock.advance(1)
    assert not both.prompt("greeting").stale


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, 408])
def test_statuses_that_say_nothing_of_the_prompt_leave_it_usable(both: Both, server: Small, clock: Any, status: int):
    server.put(told())
    both.make(ttl=1.0).prompt("greeting")
    server.status = status
    clock.advance(2)
    with pytest.warns(StalePrompt):
        assert both.prompt("greeting").stale


def test_without_a_prompt_at_hand_the_error_comes_through(both: Both, server: Small):
    server.status = 503
    with pytest.raises(Unavailable) as caught:
        both.make().prompt("greeting")
    assert caught.value.retry_after == 7


def test_what_is_no_ostinato_is_said_to_be_none(both: Both, server: Small):
    server.put({**told(), "messages": "what?"})
    with pytest.raises(Unavailable) as caught:
        both.make().prompt("greeting")
    assert caught.value.code == "unreadable_answer"


def test_changes_are_pushed(both: Both, server: Small, clock: Any):
    server.put(told())
    both.make(push=True, ttl=3600.0)
    assert both.prompt("greeting").version == 1
    both.eventually(lambda: both.client._shelf.notices)
    clock.advance(10)
    both.prompt("greeting")  # after the notice that comes with the connection
    clock.advance(10)
    fetches = server.fetches()
    both.prompt("greeting")
    assert server.fetches() == fetches
    server.put(told(version=2))
    server.tell()
    both.eventually(lambda: both.prompt("greeting").version == 2, within=2.0)


def test_after_a_notice_nothing_is_fresh_for_long(both: Both, server: Small, clock: Any):
    # Another process of the server may not have heard yet, and may have answered with what it knew.
    server.put(told())
    both.make(push=True, ttl=3600.0)
    both.prompt("greeting")
    both.eventually(lambda: both.client._shelf.notices)
    clock.advance(10)
    both.prompt("greeting")  # after the notice that comes with the connection
    before = server.fetches()
    server.tell()
    both.eventually(lambda: both.prompt("greeting") and server.fetches() > before)
    server.put(told(version=2))
    assert both.prompt("greeting").version == 1
    clock.advance(4)
    assert both.prompt("greeting").version == 2


def test_a_change_during_a_fetch_is_not_missed(both: Both, server: Small):
    server.put(told())
    both.make(ttl=3600.0)

    def change() -> None:
        server.put(told(version=2))
        both.client._shelf.notice()
        server.before = lambda: None

    server.before = change
    assert both.prompt("greeting").version == 1
    assert both.prompt("greeting").version == 2


def test_the_connection_for_changes_is_opened_again(both: Both, server: Small, clock: Any):
    server.put(told())
    both.make(push=True, ttl=3600.0).prompt("greeting")
    both.eventually(lambda: both.client._shelf.notices)
    clock.advance(10)
    both.prompt("greeting")
    server.stop()
    both.eventually(lambda: not both.client.listening)
    server.listeners.clear()
    fetches = server.fetches()
    server.start()
    both.eventually(lambda: both.client.listening and server.listeners)
    clock.advance(10)
    both.prompt("greeting")
    assert server.fetches() == fetches  # nothing has changed meanwhile
    server.stop()
    both.eventually(lambda: not both.client.listening)
    server.listeners.clear()
    server.put(told(version=2))
    server.tell()
    server.start()
    both.eventually(lambda: both.client.listening and server.listeners)
    both.eventually(lambda: both.prompt("greeting").version == 2)


def test_a_server_without_events_is_asked_by_time(both: Both, server: Small, clock: Any):
    server.events = False
    server.put(told())
    both.make(push=True, ttl=10.0).prompt("greeting")
    both.eventually(lambda: any(path.endswith("/events") for path, *_ in server.asked))
    assert not both.client.listening
    server.put(told(version=2))
    clock.advance(11)
    assert both.prompt("greeting").version == 2


def test_many_that_want_one_prompt_ask_once(server: Small):
    server.put(told())
    server.before = lambda: time.sleep(0.1)
    with Client(server.url, KEY, push=False) as client:
        threads = [threading.Thread(target=client.prompt, args=("greeting",)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert server.fetches() == 1


def test_the_shelf_is_bounded(both: Both, server: Small):
    both.make()
    both.client._shelf._most = 3
    for name in ("a", "b", "c", "a", "d", "a", "b"):
        server.put(told(name))
        both.prompt(name)
    assert [path.split("/")[-2] for path, *_ in server.asked] == ["a", "b", "c", "d", "b"]


def test_nothing_runs_or_connects_before_it_is_needed(server: Small):
    threads = threading.active_count()
    client = Client(server.url, KEY)
    assert threading.active_count() == threads
    server.put(told())
    client.prompt("greeting")
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("ostinato-prompts") == 1
    client.close()
    client.close()
    with pytest.raises(Unavailable, match="closed"):
        client.prompt("greeting")
    assert "ostinato-prompts" not in [thread.name for thread in threading.enumerate()]


def test_a_client_that_nobody_uses_any_more_stops_listening(server: Small):
    server.put(told())
    client = Client(server.url, KEY)
    client.prompt("greeting")
    del client
    end = time.monotonic() + 3
    while "ostinato-prompts" in [thread.name for thread in threading.enumerate()]:
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_makes_connections_of_its_own(server: Small):
    server.put(told())
    with Client(server.url, KEY, ttl=0.0) as client:
        client.prompt("greeting")
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            try:
                answer = f"{client.prompt('greeting').version} {client._process.number == os.getpid()}"
                client.close()
                os.write(write, answer.encode())
            except BaseException as error:
                os.write(write, repr(error).encode())
            os._exit(0)
        os.close(write)
        said = b""
        while data := os.read(read, 4096):
            said += data
        os.waitpid(child, 0)
        assert said == b"1 True"
        assert client.prompt("greeting").version == 1


async def test_another_loop_makes_connections_of_its_own(server: Small):
    import asyncio

    server.put(told())
    client = AsyncClient(server.url, KEY, ttl=0.0)
    assert (await client.prompt("greeting")).version == 1

    def elsewhere() -> int:
        async def ask() -> int:
            return (await client.prompt("greeting")).version

        return asyncio.run(ask())

    assert await asyncio.to_thread(elsewhere) == 1
    await client.close()


@pytest.mark.parametrize("made", [Client, AsyncClient])
def test_where_to_and_with_what_key(made: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OSTINATO_KEY", raising=False)
    monkeypatch.setenv("OSTINATO_URL", "http://gateway:9000/")
    with pytest.raises(Denied, match="no key"):
        made()
    monkeypatch.setenv("OSTINATO_KEY", KEY)
    assert repr(made()) == f"{made.__name__}('http://gateway:9000')"
    assert "other" in repr(made("http://other/v1")) and "/v1" not in repr(made("http://other/v1"))
    assert KEY not in repr(made()._settings)
    for address in ("gateway:9000", "ftp://x", "http://"):
        with pytest.raises(Invalid) as caught:
            made(address)
        assert caught.value.param == "base_url"
    with pytest.raises(Invalid) as caught:
        made(api_key=KEY + "\n")
    assert caught.value.param == "api_key" and KEY not in str(caught.value)
    with pytest.raises(Invalid) as caught:
        made(ttl=-1.0)
    assert caught.value.param == "ttl"
    with pytest.raises(Invalid):
        made(max_stale=float("nan"))


def test_a_wrong_key_is_said_to_be_wrong(both: Both, server: Small):
    with pytest.raises(Denied) as caught:
        both.make(api_key="ost_other").prompt("greeting")
    assert caught.value.authenticated is False
