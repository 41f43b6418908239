"""The Python client and the files against the true server: resolved, pushed, called; exported, changed, imported."""

import json
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness import Running, eventually

from ostinato import AsyncClient, Client, cli
from ostinato.client import InvalidVariables, StalePrompt
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Denied, NotFound, Unavailable

EXPORTS = Path(__file__).parents[1] / "prompts" / "exports"
LABEL = {"description": "For tests"}


@pytest.fixture(scope="module")
def server(gateway: Running) -> Running:
    """A gateway with a prompt ``support/answer``: ``staging`` -> 1, and a partial."""
    assert gateway.api("PUT", "/labels/staging", LABEL)[0] == 200
    made = [
        {"name": "sign-off", "kind": "partial", "version": {"text": "-- {{company}}"}},
        {
            "name": "support/answer",
            "version": {
                "messages": [
                    {"role": "system", "template": "You help. {{>sign-off}}"},
                    {"role": "user", "template": "{{question}}"},
                ],
                "params": {"model": "plain", "temperature": 0.0},
            },
        },
    ]
    for prompt in made:
        status, told = gateway.api("POST", "/prompts", prompt)
        assert status == 201, told
    assert move(gateway, 1)[0] == 200
    return gateway


def move(server: Running, version: int, label: str = "staging") -> tuple[int, Any]:
    return server.api("PUT", f"/prompts/support~answer/labels/{label}", {"version": version})


def save(server: Running, text: str) -> int:
    body = {
        "messages": [{"role": "user", "template": text + " {{question}}"}],
        "params": {"model": "plain", "temperature": 0.0},
    }
    status, told = server.api("POST", "/prompts/support%2Fanswer/versions", body)
    assert status == 201, told
    return told["version"]["number"]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def client(server: Running, clock: ManualClock) -> Iterator[Client]:
    with Client(server.url, server.key, push=False, clock=clock) as made:
        yield made


def test_a_prompt_renders_as_the_server_renders_it(server: Running, client: Client):
    move(server, 1)
    prompt = client.prompt("support/answer", label="staging")
    assert (prompt.version, prompt.label, prompt.kind, prompt.release, prompt.arm) == (1, "staging", "chat", "", "")
    values = {"question": "Why?", "company": "Acme"}
    rendered = prompt.render(values)
    status, shown = server.api("POST", "/prompts/support~answer/render", {"variables": values, "label": "staging"})
    assert status == 200
    assert rendered.messages == shown["messages"]
    assert rendered.messages[0]["content"] == "You help. -- Acme"
    assert (rendered.model, rendered.params) == ("plain", {"temperature": 0.0})
    assert prompt.digest == shown["digest"]
    with pytest.raises(InvalidVariables) as caught:
        prompt.render(question="Why?")
    assert caught.value.param == "prompt.variables.company"
    status, shown = server.api("POST", "/prompts/support~answer/render", {"variables": {}, "version": 1})
    assert status == 422


def test_by_number_by_label_and_what_does_not_exist(server: Running, client: Client):
    assert client.prompt("support/answer", version=1).version == 1
    with pytest.raises(NotFound) as caught:
        client.prompt("support/answer")
    assert "staging" in caught.value.hint
    for missing in ({"name": "nothing"}, {"name": "support/answer", "version": 999}):
        with pytest.raises(NotFound):
            client.prompt(**missing)
    with Client(server.url, "ost_12345678_" + "x" * 43, push=False) as other, pytest.raises(Denied):
        other.prompt("support/answer")


def test_it_is_confirmed_with_304(server: Running, client: Client, clock: ManualClock):
    first = client.prompt("support/answer", version=1)
    clock.advance(3600)
    assert client.prompt("support/answer", version=1) is first
    path = "/api/v1/prompts/support%2Fanswer/resolved?version=1"
    status, headers, body = server.send("GET", path)
    assert (status, headers["cache-control"]) == (200, "private, no-cache")
    for tags in (headers["etag"], f'"other", W/{headers["etag"]}'):
        assert server.send("GET", path, headers={"if-none-match": tags})[0] == 304
    assert server.send("GET", path, headers={"if-none-match": '"other"'})[2] == body


def test_a_change_reaches_clients_within_two_seconds(server: Running):
    move(server, 1)
    with Client(server.url, server.key, ttl=3600.0) as client:
        assert client.prompt("support/answer", label="staging").version == 1
        eventually(lambda: client.listening)
        client.prompt("support/answer", label="staging")
        number = save(server, f"Pushed at {time.time()}")
        move(server, number)
        eventually(lambda: client.prompt("support/answer", label="staging").version == number, within=2.0)
    move(server, 1)


async def test_and_asynchronous_ones(server: Running):
    import asyncio

    async with AsyncClient(server.url, server.key, ttl=3600.0) as client:
        assert (await client.prompt("support/answer", label="staging")).version == 1
        number = await asyncio.to_thread(save, server, f"Pushed at {time.time()}")
        await asyncio.to_thread(move, server, number)
        async with asyncio.timeout(2.0):
            while (await client.prompt("support/answer", label="staging")).version != number:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    await asyncio.to_thread(move, server, 1)


def test_events_tell_marks(server: Running):
    status, _, data = server.send("GET", "/api/v1/prompts/events")
    before = json.loads(data)["mark"]
    assert status == 200
    save(server, f"Marked at {time.time()}")
    assert eventually(lambda: json.loads(server.send("GET", "/api/v1/prompts/events")[2])["mark"] != before)


def test_who_may_not_see_prompts_hears_nothing(server: Running):
    _, made = server.api("POST", "/keys", {"name": "caller", "permissions": ["chat:call"]})
    for path in ("events", "support~answer/resolved"):
        assert server.send("GET", f"/api/v1/prompts/{path}", key=made["secret"])[0] == 403


def test_a_stream_ends_with_its_key(server: Running):
    _, made = server.api("POST", "/keys", {"name": "listener", "permissions": ["prompts:read"]})
    headers = {"authorization": f"Bearer {made['secret']}", "accept": "text/event-stream"}
    with httpx.stream("GET", f"{server.url}/api/v1/prompts/events", headers=headers, timeout=10) as stream:
        lines = stream.iter_lines()
        next(lines)
        assert server.api("DELETE", f"/keys/{made['key']['id']}")[0] == 200
        save(server, f"Not heard at {time.time()}")
        assert sum(line.startswith("event") for line in lines) == 1


def test_a_stream_ends_with_the_server(new_gateway: Callable[..., Running]):
    server = new_gateway()
    headers = {"authorization": f"Bearer {server.key}", "accept": "text/event-stream"}
    with httpx.stream("GET", f"{server.url}/api/v1/prompts/events", headers=headers, timeout=10) as stream:
        lines = stream.iter_lines()
        assert [next(lines).partition(":")[0] for _ in range(3)] == ["id", "event", "data"]
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 10  # it does not hold the server up until the drain is over
        assert list(lines) == [""]


def test_an_outage_is_survived_until_the_limit(new_gateway: Callable[..., Running], clock: ManualClock):
    server = new_gateway()
    server.api("POST", "/prompts", {"name": "a", "kind": "text", "version": {"text": "hi {{who}}"}})
    with Client(server.url, server.key, clock=clock, ttl=60.0, max_stale=600.0) as client:
        assert client.prompt("a", version=1).render(who="x").text == "hi x"
        server.stop()
        clock.advance(61)
        with pytest.warns(StalePrompt):
            stale = client.prompt("a", version=1)
        assert stale.stale and stale.render(who="x").text == "hi x"
        clock.advance(600)
        with pytest.raises(Unavailable):
            client.prompt("a", version=1)
        server.start()
        clock.advance(60)
        assert not client.prompt("a", version=1).stale


def test_models_are_called(server: Running, client: Client):
    asked: Any = {"model": "plain", "messages": [{"role": "user", "content": f"Hello {time.time()}"}], "tags": ["t"]}
    first, second = client.chat(**asked), client.chat(**asked)
    assert first.text and first.text == second.text
    assert (first.provenance.cache, second.provenance.cache, second.provenance.hit) == ("miss", "hit-exact", True)
    assert first.provenance.target == "openai/plain" and first.provenance.request_id != second.provenance.request_id
    assert first.provenance.cost and second.provenance.cost == 0 and second.provenance.saved == first.provenance.cost
    assert first.usage is not None and first.usage.output > 0
    with client.chat(stream=True, **asked) as stream:
        assert "".join(stream) == first.text
        assert stream.reply().usage == first.usage
    claude = client.messages(max_tokens=50, **{**asked, "model": "claude"})
    assert claude.text and claude.finish == "stop"


def test_prompts_are_called(server: Running, client: Client):
    move(server, 1)
    values = {"question": f"Why {time.time()}?", "company": "Acme"}
    for method in (client.chat, client.messages):
        more: Any = {"max_tokens": 40} if method == client.messages else {}
        reply = method(prompt="support/answer", label="staging", variables=values, **more)
        told = reply.provenance
        assert reply.text
        assert (told.prompt, told.version, told.target) == ("support/answer", 1, "openai/plain")
    with pytest.raises(InvalidVariables) as caught:
        client.chat(prompt="support/answer", label="staging", variables={"question": "x"})
    assert "company" in str(caught.value.param)
    with pytest.raises(NotFound):
        client.chat(prompt="support/answer", label="nothing", variables=values)


# --- files ------------------------------------------------------------------------------------------------------------


class Shell:
    """The command line in the test's own process: a fifth of the time."""

    def __init__(self, server: Running, patch: pytest.MonkeyPatch, printed: pytest.CaptureFixture[str]) -> None:
        self._server = server
        self._patch = patch
        self._printed = printed
        self.key = server.key

    def __call__(self, *arguments: str, fails: bool = False) -> str:
        """What ``ostinato prompts ARGUMENTS`` prints."""
        self._patch.setenv("OSTINATO_URL", self._server.url)
        self._patch.setenv("OSTINATO_KEY", self.key)
        with pytest.raises(SystemExit) as ended:
            cli.main(["prompts", *arguments])
        told = self._printed.readouterr()
        assert bool(ended.value.code) == fails, told.err
        return told.err if fails else told.out


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[Running], Shell]:
    return lambda server: Shell(server, monkeypatch, capsys)


def test_files_there_and_back(new_gateway: Callable[..., Running], shell: Callable[[Running], Shell], tmp_path: Path):
    server = new_gateway()
    there = shell(server)
    assert server.api("PUT", "/labels/staging", LABEL)[0] == 200
    partial = {"name": "foot", "kind": "partial", "description": "Ends", "version": {"text": "bye\n{{who}}"}}
    assert server.api("POST", "/prompts", partial)[0] == 201
    prompt = {"name": "a/b", "kind": "text", "tags": ["x"], "version": {"text": "hi {{>foot}}", "message": "First"}}
    assert server.api("POST", "/prompts", prompt)[0] == 201
    assert server.api("POST", "/prompts/a~b/versions", {"text": "good day '''\n{{>foot}}"})[0] == 201
    assert server.api("PUT", "/prompts/a~b/labels/staging", {"version": 2})[0] == 200
    repository = tmp_path / "repository"
    assert "2 prompts with 3 versions; 6 files written" in there("export", str(repository))
    assert "0 files written" in there("export", str(repository))
    bytes_before = {path: path.read_bytes() for path in repository.rglob("*.toml")}
    assert "Nothing to do: 4 versions and labels are so already." in there("import", str(repository))

    # A person adds a version and moves a label; nothing is written before it is applied.
    (repository / "prompts/a/b/0003.toml").write_text('message = "Shorter"\ntext = "yo {{who}}"\n')
    lock = repository / "labels.lock.toml"
    lock.write_text('["a/b"]\nstaging = { version = 3 }\nproduction = { version = 2 }\n')
    said = there("import", str(repository))
    assert "version 3: Shorter" in said and "staging: 2 -> 3" in said and "--apply does it" in said
    assert "Left: 'production' of 'a/b' stays at nothing: only a release moves it" in said
    assert server.api("GET", "/prompts/a~b")[1]["latest"] == 2
    told = json.loads(there("import", str(repository), "--apply", "--propose", "--json"))
    assert [step["action"] for step in told["steps"]] == ["add", "move", "propose"]
    _, now = server.api("GET", "/prompts/a~b")
    assert (now["latest"], now["labels"]) == (3, {"staging": 3})
    again = json.loads(there("import", str(repository), "--apply", "--propose", "--json"))
    assert again["steps"] == [] and "already, proposed" in again["left"][0]
    assert server.api("GET", "/prompts/a~b/versions/3")[1]["source"] == "import"

    # Another server comes to the same bytes.
    assert there("export", str(repository))
    other = new_gateway()
    elsewhere = shell(other)
    elsewhere("import", str(repository), "--apply", "--declare")
    copy = tmp_path / "copy"
    elsewhere("export", str(copy))
    for path in repository.rglob("*.toml"):
        assert (copy / path.relative_to(repository)).read_bytes() == path.read_bytes()
        if path in bytes_before and path.name != "labels.lock.toml":
            assert path.read_bytes() == bytes_before[path]

    # What is wrong is named, and nothing is written.
    (copy / "prompts/a/b/0004.toml").write_text('text = "x"\ntemprature = 1\n')
    said = elsewhere("import", str(copy), "--apply", fails=True)
    assert "prompts/a/b/0004.toml, line 2: there is no 'temprature' here" in said
    (copy / "prompts/a/b/0004.toml").write_text('text = "{{#x}}"\n')
    assert "prompts/a/b/0004.toml (text): Line 1" in elsewhere("import", str(copy), fails=True)
    (copy / "prompts/a/b/0004.toml").unlink()
    edited = copy / "prompts/a/b/0003.toml"
    edited.write_text(edited.read_text().replace("yo", "oy"))
    assert "was edited after it had been exported" in elsewhere("import", str(copy), fails=True)
    assert other.api("GET", "/prompts/a~b")[1]["latest"] == 3


def test_a_scoped_key_is_enough_for_a_pipeline(
    new_gateway: Callable[..., Running], shell: Callable[[Running], Shell], tmp_path: Path
):
    server = new_gateway()
    there = shell(server)
    permissions = ["prompts:read", "prompts:write", "labels:move", "releases:read", "releases:propose"]
    _, made = server.api("POST", "/keys", {"name": "ci", "permissions": permissions})
    assert server.api("PUT", "/labels/staging", LABEL)[0] == 200
    (tmp_path / "prompts/a").mkdir(parents=True)
    (tmp_path / "prompts/a/prompt.toml").write_text('kind = "text"\n')
    (tmp_path / "prompts/a/0001.toml").write_text('text = "hi"\n')
    lock = tmp_path / "labels.lock.toml"
    lock.write_text("[a]\nstaging = { version = 1 }\nproduction = { version = 1 }\n")
    assert tomllib.loads(lock.read_text())
    there.key = made["secret"]
    told = json.loads(there("import", str(tmp_path), "--apply", "--propose", "--json"))
    assert [step["action"] for step in told["steps"]] == ["create", "add", "move", "propose"]


def test_exports_of_other_registries(new_gateway: Callable[..., Running], shell: Callable[[Running], Shell]):
    server = new_gateway()
    there = shell(server)
    said = there("import", "--langfuse", str(EXPORTS / "langfuse.json"), "--apply", "--declare")
    assert "Note: The prompt 'Movie Critic' becomes 'movie-critic'." in said
    assert "Left: 'production' of 'movie-critic'" in said
    mlflow = ["--mlflow", str(EXPORTS / "mlflow-rest.json"), "--mlflow", str(EXPORTS / "mlflow-prompt.json")]
    there("import", *mlflow, "--apply", "--declare")
    found = {one["name"]: one for one in server.api("GET", "/prompts")[1]["items"]}
    assert {name: (one["kind"], one["latest"], one["labels"]) for name, one in found.items()} == {
        "movie-critic": ("text", 2, {}),
        "qa_chat": ("chat", 1, {}),
        "summarize": ("text", 2, {"candidate": 2}),
        "support/answer": ("chat", 1, {"staging": 1}),
    }
    again = there("import", *mlflow, "--apply", "--declare")
    assert "Nothing to do" in again
    odd = '[{"name": "a", "version": 1, "prompt": "x", "colour": "red"}]'
    (server.directory / "odd.json").write_text(odd)
    said = there("import", "--langfuse", str(server.directory / "odd.json"), fails=True)
    assert "the field 'colour' has no counterpart here" in said and "--leave-out colour" in said
    assert "Give a DIRECTORY" in there("import", fails=True)
