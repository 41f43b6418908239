"""Retrievers as they are declared: a file, another server, a function; with the packaged encoder on a small library."""

import asyncio
import json
import shutil
import threading
from collections.abc import AsyncIterator
from importlib import metadata
from pathlib import Path

import pytest

from ostinato import embeddings, outbound
from ostinato.core.clock import SystemClock
from ostinato.core.errors import Invalid, UpstreamFailed
from ostinato.core.secret import ApiKey
from ostinato.datasets.model import Example, Passage
from ostinato.embeddings import EmbedderMissing
from ostinato.evals.model import Variant
from ostinato.evals.retrieval import Function, Remote, Settings, build
from ostinato.evals.retrieval import passages as files
from ostinato.prompts import Content

LIBRARY = {
    "refunds": ("Refunds", "A refund reaches the card within five working days."),
    "hours": ("Opening hours", "The help desk answers on weekdays from eight to six."),
    "cards": ("Lost cards", "Block it in the app at once; a new one is sent within a week."),
    "fees": ("Fees abroad", "Paying in another currency costs one percent of the amount."),
}


@pytest.fixture
async def client() -> AsyncIterator[outbound.Client]:
    client = outbound.Client(outbound.Settings(), SystemClock())
    await client.start()
    yield client
    assert client.in_use == 0
    await client.close()


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path / "library.jsonl"
    rows = [{"id": key, "title": title, "text": text} for key, (title, text) in LIBRARY.items()]
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    return path


def chained(retriever: str, k: int = 1) -> Variant:
    schema = {"type": "object", "properties": {"passages": {"type": "string"}, "q": {"type": "string"}}}
    content = Content(kind="text", text="{{passages}} {{q}}", variables=schema)
    chain = {"retriever": retriever, "query": "{{q}}", "k": k}
    return Variant(name="v", content=content, digest="d", alias="m", retrieval=chain)


def example(question: str) -> Example:
    return Example(id="e", digest="0", split="dev", inputs={"q": question})


async def test_passages_of_a_file_with_the_packaged_encoder(library: Path, client: outbound.Client) -> None:
    embedder = embeddings.build(embeddings.Settings(kind="packaged"), client, SystemClock())
    declared = {
        "plain": Settings(file=str(library)),
        "titled": Settings(file=str(library), indexed="{{title}}: {{text}}"),
    }
    retrieval = build(declared, embedder, client)
    assert embedder is not None
    found = {}
    for question, wanted in {
        "When do I get my money back?": "refunds",
        "I lost my credit card": "cards",
        "At what time can I call you?": "hours",
        "how expensive is it to pay in dollars": "fees",
    }.items():
        for name in declared:
            prepared = await retrieval.prepare(chained(name), example(question))
            found[name] = found.get(name, 0) + (prepared.retrieved[0].id == wanted)
            assert prepared.variables["passages"] == LIBRARY[prepared.retrieved[0].id][1]
    assert found["titled"] == 4
    assert found["plain"] >= 3
    # Two indexes of one file are two indexes.
    assert retrieval.counts.misses == 8
    await retrieval.close()
    await embedder.close()


def test_passages_need_an_embedder(library: Path, client: outbound.Client) -> None:
    with pytest.raises(EmbedderMissing, match="docs"):
        build({"docs": Settings(file=str(library))}, None, client)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "line 1 is no passage"),
        ("[]", "line 1 is no passage"),
        ('{"id": "a"}', "line 1 is no passage"),
        ('{"id": 5, "text": "t"}', "line 1 is no passage"),
        ('{"id": "", "text": "t"}', "1 to 200 characters"),
        ('{"id": "a", "text": ""}', "1 to 200 characters"),
        ('\n{"id": "a", "text": "t"}\n{"id": "a", "text": "u"}', "line 3: the id 'a' stands there twice"),
    ],
)
def test_a_file_that_holds_something_else(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(text)
    with pytest.raises(Invalid, match=told):
        files.read(path)


async def test_a_file_that_is_missing_is_told_when_it_is_needed_and_read_when_it_is_there(
    tmp_path: Path, library: Path, client: outbound.Client
) -> None:
    class Same:
        id, dimensions = "same@00000000", 1

        async def embed(self, texts):
            import numpy as np

            return np.ones((len(texts), 1), np.float32)

        async def close(self) -> None:
            return

    path = tmp_path / "later.jsonl"
    retrieval = build({"docs": Settings(file=str(path))}, Same(), client)
    with pytest.raises(Invalid, match=r"later\.jsonl cannot be read"):
        await retrieval.prepare(chained("docs"), example("q"))
    await asyncio.to_thread(shutil.copy, library, path)
    assert (await retrieval.prepare(chained("docs"), example("q"))).retrieved[0].id == "refunds"


@pytest.mark.parametrize(
    ("settings", "field"),
    [(Settings(), "file"), (Settings(kind="http"), "url"), (Settings(kind="python"), "function")],
)
def test_a_declaration_lacks_something(settings: Settings, field: str, client: outbound.Client) -> None:
    with pytest.raises(Invalid) as caught:
        build({"docs": settings}, None, client)
    assert caught.value.param == f"retrievers.docs.{field}"


# --- another server -----------------------------------------------------------------------------------------------


class Search:
    """A real HTTP server that answers one thing, and keeps what it was asked."""

    def __init__(self, status: int = 200, body: bytes = b"{}", wait: float = 0.0) -> None:
        self.status, self.body, self.wait = status, body, wait
        self.asked: list[tuple[str, dict]] = []

    async def __aenter__(self) -> "Search":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/search"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.lower().split("content-length:")[1].split("\r\n")[0])
                self.asked.append((head, json.loads(await reader.readexactly(length))))
                await asyncio.sleep(self.wait)
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (self.status, len(self.body)) + self.body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def passages(*pairs: tuple[str, str]) -> bytes:
    return json.dumps({"passages": [{"id": key, "text": text, "score": 0.5} for key, text in pairs]}).encode()


async def test_another_server_is_asked(client: outbound.Client) -> None:
    async with Search(body=passages(("a", "one"), ("b", "two"), ("a", "again"), ("c", "three"))) as server:
        settings = Settings(kind="http", url=server.url, api_key=ApiKey("sk-1"), version="3")
        retriever = Remote("site", settings, client)
        assert retriever.index_version == "3"
        found = await retriever.retrieve("how?", 2)
        assert found == (Passage(id="a", text="one"), Passage(id="b", text="two"))
        head, body = server.asked[0]
        assert body == {"query": "how?", "k": 2}
        assert "authorization: Bearer sk-1" in head


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"{}"),
        (302, b"{}"),
        (200, b""),
        (200, b"<html>"),
        (200, b'{"passages": [{"text": "no id"}]}'),
        (200, b'{"passages": [{"id": "", "text": "t"}]}'),
        (200, passages(("a", "x" * 70_000))),
    ],
)
async def test_a_server_that_answers_something_else(client: outbound.Client, status: int, body: bytes) -> None:
    async with Search(status, body) as server:
        with pytest.raises(UpstreamFailed) as caught:
            await Remote("site", Settings(kind="http", url=server.url), client).retrieve("private words", 2)
        assert caught.value.code == "retriever_failed"
        assert "site" in caught.value.message
        assert "private" not in caught.value.sentence


async def test_a_server_that_is_slow_or_says_too_much(client: outbound.Client) -> None:
    async with Search(wait=5) as server:
        with pytest.raises(outbound.TimedOut):
            await Remote("site", Settings(kind="http", url=server.url, timeout=0.05), client).retrieve("q", 1)
    async with Search(body=b" " * 9_000_000) as server:
        with pytest.raises(outbound.TooLarge):
            await Remote("site", Settings(kind="http", url=server.url), client).retrieve("q", 1)


def test_a_server_that_may_not_be_called(client: outbound.Client) -> None:
    for url, private in (("http://169.254.169.254/x", True), ("http://10.0.0.1/x", False), ("file:///etc", None)):
        with pytest.raises(outbound.Refused):
            build({"site": Settings(kind="http", url=url, allow_private=private)}, None, client)


# --- a function ---------------------------------------------------------------------------------------------------


def plain(query: str, k: int) -> list[dict]:
    return [{"id": query, "text": str(number)} for number in range(k)]


async def coroutine(query: str, k: int) -> list[Passage]:
    return [Passage(id=f"{query}{number}", text="t") for number in range(k + 5)]


async def test_functions_plain_and_coroutines() -> None:
    assert await Function("f", plain).retrieve("q", 3) == (Passage(id="q", text="0"),)
    assert [one.id for one in await Function("f", coroutine).retrieve("q", 2)] == ["q0", "q1"]


@pytest.mark.parametrize("answer", [None, 5, "text", [1], [{"id": 3}], [{"text": "t"}]])
async def test_a_function_that_gives_something_else(answer: object) -> None:
    with pytest.raises(UpstreamFailed, match="'f' gave"):
        await Function("f", lambda query, k: answer).retrieve("q", 1)


async def test_a_function_that_fails_or_takes_too_long() -> None:
    async def slow(query: str, k: int) -> list[Passage]:
        await asyncio.sleep(10)
        return []

    def broken(query: str, k: int) -> list[Passage]:
        raise KeyError(query)

    with pytest.raises(UpstreamFailed, match=r"longer than 0\.05 seconds"):
        await Function("f", slow, timeout=0.05).retrieve("q", 1)
    with pytest.raises(UpstreamFailed, match=r"failed \(KeyError\)") as caught:
        await Function("f", broken).retrieve("my words", 1)
    assert "my words" not in caught.value.sentence


async def test_functions_that_never_return_take_no_thread_of_others() -> None:
    gate = threading.Event()

    def stuck(query: str, k: int) -> list[Passage]:
        gate.wait()
        return []

    function = Function("f", stuck, timeout=0.02)
    try:
        for _ in range(40):
            with pytest.raises(UpstreamFailed, match="longer"):
                await function.retrieve("q", 1)
        stuck_now = [one for one in threading.enumerate() if one.name == "ostinato-scorer"]
        assert len(stuck_now) == 8
        assert await asyncio.wait_for(asyncio.to_thread(lambda: 1), 5) == 1
    finally:
        gate.set()


async def test_a_function_by_its_entry_point(monkeypatch: pytest.MonkeyPatch, client: outbound.Client) -> None:
    points = [
        metadata.EntryPoint("search", f"{__name__}:plain", "ostinato.retrievers"),
        metadata.EntryPoint("broken", "no_such_module:f", "ostinato.retrievers"),
        metadata.EntryPoint("number", "math:pi", "ostinato.retrievers"),
    ]
    monkeypatch.setattr(metadata, "entry_points", lambda group: [p for p in points if p.group == group])
    monkeypatch.setattr(metadata.EntryPoint, "load", _load)
    retrieval = build({"mine": Settings(kind="python", function="search", version="1")}, None, client)
    assert (await retrieval.prepare(chained("mine"), example("hello"))).retrieved[0].id == "hello"
    assert (await retrieval.prepare(chained("mine"), example("hello"))).cached
    for name, told in (("missing", "No installed package"), ("broken", "cannot be loaded"), ("number", "no function")):
        with pytest.raises(Invalid, match=told):
            build({"mine": Settings(kind="python", function=name)}, None, client)


def _load(point: metadata.EntryPoint) -> object:
    module, _, name = point.value.partition(":")
    if module == __name__:
        return globals()[name]
    return getattr(__import__(module), name)
