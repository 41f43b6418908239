"""Chains: what an example's prompt is filled in with, whom it may search, and what is refused before it costs."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from ostinato.calls.model import Called
from ostinato.core.errors import Invalid, NotFound
from ostinato.datasets.model import Example, Passage
from ostinato.evals.model import Variant
from ostinato.evals.retrieval import Chain, Line, Passages, Retrieval, RetrievalCache, read
from ostinato.prompts import Content, MissingVariable
from ostinato.wire.model import Answer, ChatRequest, Text, Usage

LIBRARY = (
    Passage(id="refunds", text="A refund reaches the card within five working days."),
    Passage(id="hours", text="The help desk answers on weekdays from eight to six."),
    Passage(id="cards", text="A lost card is blocked in the app, under Cards, and replaced in a week."),
)


class Words:
    """A retriever by the number of shared words; counts what it is asked."""

    def __init__(self, version: str = "1") -> None:
        self.id = "words@00000001"
        self.index_version = version
        self.asked: list[tuple[str, int]] = []
        self.fails = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def retrieve(self, query: str, k: int) -> tuple[Passage, ...]:
        self.asked.append((query, k))
        await self.gate.wait()
        if self.fails:
            self.fails -= 1
            raise NotFound("The index is away.")
        words = set(query.lower().split())
        return tuple(sorted(LIBRARY, key=lambda one: -len(words & set(one.text.lower().split()))))[:k]


def variant(retrieval: dict | None, text: str = "Passages:\n{{passages}}\n\nQuestion: {{question}}") -> Variant:
    names = {name: {"type": "string"} for name in ("passages", "question", "rewritten") if name in text}
    content = Content(kind="text", text=text, variables={"type": "object", "properties": names})
    return Variant(name="v", content=content, digest="d", alias="m", retrieval=retrieval)


def test_a_query_that_asks_for_what_no_example_has_is_told_before_it_costs() -> None:
    retrieval = Retrieval({"words": Words()})
    asked = example("When is the desk open?")
    retrieval.fill(read(CHAIN), asked)
    with pytest.raises(MissingVariable, match="takes 'topic'"):
        retrieval.fill(read({**CHAIN, "query": "{{topic}}: {{question}}"}), asked)
    retrieval.fill(read({**CHAIN, "query": "{{#topic}}{{topic}}: {{/topic}}{{question}}"}), asked)
    ask_first = {"content": {"kind": "text", "text": "{{question}}", "variables": {}}, "alias": "small"}
    retrieval.fill(read({**CHAIN, "query": "{{rewritten}}", "rewrite": ask_first}), asked)


def example(question: str, *relevant: str) -> Example:
    return Example(
        id="e",
        digest="0",
        split="dev",
        inputs={"question": question},
        passages=tuple(Passage(id=one, relevance=1.0) for one in relevant),
    )


CHAIN = {"retriever": "words", "query": "{{question}}", "k": 2}


async def test_without_a_chain_the_inputs_are_all() -> None:
    prepared = await Retrieval({}).prepare(variant(None), example("When?"))
    assert prepared.variables == {"question": "When?"}
    assert prepared.retrieved == ()


async def test_passages_become_a_variable_and_keep_their_relevance() -> None:
    words = Words()
    prepared = await Retrieval({"words": words}).prepare(
        variant(CHAIN), example("when does the refund reach the card", "refunds", "nowhere")
    )
    assert words.asked == [("when does the refund reach the card", 2)]
    assert [one.id for one in prepared.retrieved] == ["refunds", "cards"]
    assert [one.relevance for one in prepared.retrieved] == [1.0, None]
    assert prepared.variables["passages"] == f"{LIBRARY[0].text}\n\n{LIBRARY[2].text}"
    assert prepared.variables["question"] == "when does the refund reach the card"


async def test_the_query_and_each_passage_have_their_templates() -> None:
    words = Words()
    chain = {
        **CHAIN,
        "query": "query: {{question}}",
        "passage": "[{{number}}] ({{id}}) {{text}}",
        "separator": "\n",
        "k": 1,
    }
    prepared = await Retrieval({"words": words}).prepare(variant(chain), example("help desk"))
    assert words.asked == [("query: help desk", 1)]
    assert prepared.variables["passages"] == f"[1] (hours) {LIBRARY[1].text}"


async def test_passages_are_never_rendered_themselves() -> None:
    class Sly(Words):
        async def retrieve(self, query: str, k: int) -> tuple[Passage, ...]:
            return (Passage(id="x", text="{{question}} {{secret}}"),)

    prepared = await Retrieval({"words": Sly()}).prepare(variant(CHAIN), example("hidden"))
    assert prepared.variables["passages"] == "{{question}} {{secret}}"


async def test_a_list_for_prompts_that_loop() -> None:
    prepared = await Retrieval({"words": Words()}).prepare(variant({**CHAIN, "shape": "list"}), example("card"))
    first = prepared.variables["passages"][0]
    assert (first["number"], first["id"]) == (1, prepared.retrieved[0].id)


async def test_a_model_may_rewrite_the_question() -> None:
    asked: list[tuple[str, ChatRequest]] = []
    usage = Usage()

    async def ask(alias: str, request: ChatRequest) -> Called:
        asked.append((alias, request))
        return Called(
            key="k",
            answer=Answer(wire="openai.chat", events=()),
            text=" lost card \n",
            finish="stop",
            usage=usage,
            cost=7,
            target="p/m",
            upstream_us=1,
            paid=True,
        )

    content = {
        "kind": "text",
        "text": "Keywords of: {{question}}",
        "variables": {"type": "object", "properties": {"question": {"type": "string"}}},
        "params": {"temperature": 0},
    }
    chain = {**CHAIN, "query": "{{rewritten}}", "rewrite": {"content": content, "alias": "small"}}
    words = Words()
    retrieval = Retrieval({"words": words})
    prepared = await retrieval.prepare(variant(chain), example("I cannot find it any more"), ask=ask)
    alias, request = asked[0]
    assert alias == "small"
    assert request.model == "small"
    assert request.temperature == 0
    assert request.messages[0].content == (Text("Keywords of: I cannot find it any more"),)
    assert words.asked == [("lost card", 2)]
    assert [one.cost for one in prepared.calls] == [7]
    assert "rewritten" not in prepared.variables
    with pytest.raises(Invalid, match="nobody is there to ask"):
        await retrieval.prepare(variant(chain), example("again"))


# --- judged before anything is spent ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"k": 0}, "retrieval.k"),
        ({"k": 101}, "retrieval.k"),
        ({"query": "{{#open}}"}, "retrieval.query"),
        ({"passage": "{{"}, "retrieval.passage"),
        ({"topk": 3}, "retrieval"),
        ({"shape": "tree"}, "retrieval"),
        ({"into": "context"}, "retrieval.into"),
    ],
)
def test_a_chain_that_cannot_be(change: dict, param: str) -> None:
    retrieval = Retrieval({"words": Words()})
    with pytest.raises(Invalid) as caught:
        retrieval.check(variant({**CHAIN, **change}))
    assert caught.value.param == param


def test_an_unknown_retriever_is_told_with_the_known() -> None:
    retrieval = Retrieval({"words": Words(), "docs": Words()})
    with pytest.raises(NotFound) as caught:
        retrieval.check(variant({**CHAIN, "retriever": "word"}))
    assert "docs, words" in caught.value.hint
    assert isinstance(retrieval.check(variant(CHAIN)), Chain)
    assert retrieval.check(variant(None)) is None


async def test_a_retriever_of_some_projects_is_not_there_for_others() -> None:
    retrieval = Retrieval({"words": Words()}, projects={"words": ("p1",)})
    assert retrieval.check(variant(CHAIN), project="p1") is not None
    for project in ("p2", ""):
        with pytest.raises(NotFound) as caught:
            retrieval.check(variant(CHAIN), project=project)
        assert "words" not in caught.value.hint
        with pytest.raises(NotFound):
            await retrieval.prepare(variant(CHAIN), example("card"), project=project)


def test_read_gives_defaults() -> None:
    chain = read({"retriever": "r", "query": "{{q}}"})
    assert (chain.k, chain.into, chain.shape) == (5, "passages", "text")


# --- the retrieval cache ------------------------------------------------------------------------------------------


async def test_what_was_found_is_kept_by_query_retriever_version_and_k() -> None:
    words = Words()
    retrieval = Retrieval({"words": words})
    one = await retrieval.prepare(variant(CHAIN), example("card"))
    two = await retrieval.prepare(variant({**CHAIN, "passage": "- {{text}}"}), example("card", "cards"))
    assert len(words.asked) == 1
    assert (one.cached, two.cached) == (False, True)
    # The relevance is the example's own, not that of who asked first.
    assert {one.id: one.relevance for one in two.retrieved}["cards"] == 1.0
    assert {one.relevance for one in one.retrieved} == {None}
    await retrieval.prepare(variant({**CHAIN, "k": 1}), example("card"))
    await retrieval.prepare(variant(CHAIN), example("cards"))
    words.index_version = "2"
    assert not (await retrieval.prepare(variant(CHAIN), example("card"))).cached
    words.id = "words@00000002"
    assert not (await retrieval.prepare(variant(CHAIN), example("card"))).cached
    assert len(words.asked) == 5
    assert (retrieval.counts.hits, retrieval.counts.misses) == (1, 5)


async def test_a_retriever_without_a_version_is_asked_every_time() -> None:
    words = Words(version="")
    retrieval = Retrieval({"words": words})
    for _ in range(2):
        assert not (await retrieval.prepare(variant(CHAIN), example("card"))).cached
    assert len(words.asked) == 2
    assert retrieval.counts.entries == 0


async def test_equal_searches_at_one_moment_are_one() -> None:
    words = Words()
    words.gate.clear()
    retrieval = Retrieval({"words": words})
    tasks = [asyncio.create_task(retrieval.prepare(variant(CHAIN), example("card"))) for _ in range(8)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    # Who came first may leave.
    tasks[0].cancel()
    words.gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert len({one.variables["passages"] for one in outcomes[1:]}) == 1
    assert len(words.asked) == 1
    assert retrieval.counts.joined == 7


async def test_a_failure_is_everybodys_who_waited_and_is_not_kept() -> None:
    words = Words()
    words.fails = 1
    retrieval = Retrieval({"words": words})
    outcomes = await asyncio.gather(
        *(retrieval.prepare(variant(CHAIN), example("card")) for _ in range(3)), return_exceptions=True
    )
    assert all(isinstance(one, NotFound) for one in outcomes)
    assert len((await retrieval.prepare(variant(CHAIN), example("card"))).retrieved) == 2


async def test_the_cache_is_bounded_by_bytes() -> None:
    words = Words()
    cache = RetrievalCache(8_000)
    for number in range(50):
        await cache.retrieve(words, f"card {number}", 2)
        assert cache.counts.size <= 8_000
    assert 1 <= cache.counts.entries < 50
    _, hit = await cache.retrieve(words, "card 49", 2)
    assert hit
    _, hit = await cache.retrieve(words, "card 0", 2)
    assert not hit


# --- passages by the nearness of their vectors --------------------------------------------------------------------


class Letters:
    """An embedder by the letters of a text."""

    dimensions = 26

    def __init__(self, id: str = "letters@00000000") -> None:
        self.id = id
        self.texts = 0

    async def embed(self, texts: Sequence[str]):
        self.texts += len(texts)
        rows = np.array([[text.count(chr(97 + n)) + 0.001 for n in range(26)] for text in texts], np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    async def close(self) -> None:
        return


def lines(*texts: str) -> list[Line]:
    return [Line(Passage(id=str(number), text=text), text) for number, text in enumerate(texts)]


async def test_the_nearest_come_first_and_ties_stay_in_order() -> None:
    index = Passages("docs", lines("aab", "zz", "ab", "ba", "zzz"), Letters())
    assert [one.id for one in await index.retrieve("ab", 3)] == ["2", "3", "0"]
    found = [one.id for one in await index.retrieve("z", 9)]
    assert found[:2] == ["1", "4"] or found[:2] == ["4", "1"]
    assert len(found) == 5


async def test_vectors_of_the_passages_are_made_once() -> None:
    letters = Letters()
    index = Passages("docs", lines("aab", "zz"), letters)
    await asyncio.gather(*(index.retrieve("a", 1) for _ in range(5)))
    assert letters.texts == 2 + 5


def test_version_and_id_tell_what_is_searched() -> None:
    base = Passages("docs", lines("a", "b"), Letters())
    assert base.index_version == Passages("other", lines("a", "b"), Letters()).index_version
    assert base.index_version != Passages("docs", lines("a", "c"), Letters()).index_version
    assert base.id != Passages("docs", lines("a", "b"), Letters("letters@00000001")).id


def test_no_passages_are_no_index() -> None:
    with pytest.raises(Invalid, match="has no passages"):
        Passages("docs", [], Letters())
