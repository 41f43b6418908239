"""A chain on the public xquad passages: query template -> packaged encoder -> the paragraph that holds the answer.

Templates are chosen on one half of the questions and shown on the other; questions of one paragraph stay together.
"""

import asyncio
import hashlib
import json
import time
from pathlib import Path
from typing import Any

from bench import Bench
from figures import Figure, skipped

from ostinato import embeddings, scorers
from ostinato.core.clock import SystemClock
from ostinato.datasets.model import Example, Passage
from ostinato.evals.model import Variant
from ostinato.evals.retrieval import Line, Passages, Retrieval
from ostinato.prompts import Content
from ostinato.scorers.model import Spec, Subject
from ostinato.statistics import mcnemar

LANGUAGES = ("en", "de", "es")
QUESTIONS = 632
"""Of each language at most."""
FOUND, K = 5, 1
"""Passages that a chain gives to the prompt; of them the first is scored: five of 120 would nearly always do."""
QUERIES = {
    "request": "Please find the passage that answers the following question: {{question}}",
    "question": "{{question}}",
    "prefix": "query: {{question}}",
    "title": "{{topic}}: {{question}}",
}
"""``request`` is the base: a query written as one writes to a person. ``title`` takes the title of the article: what a
caller who stands on its page knows."""
INDEXED = ("text", "titled")
BASE = "text/request"
CONTENT = Content(
    kind="text",
    text="{{passages}}\n\n{{question}}",
    variables={
        "type": "object",
        "properties": {name: {"type": "string"} for name in ("passages", "question", "topic")},
    },
)


def load(path: Path, most: int = QUESTIONS) -> tuple[list[tuple[Passage, str]], list[Example]]:
    """Passages with the topic of their article, and examples with the passage that is relevant."""
    passages: list[tuple[Passage, str]] = []
    asked: list[tuple[str, str, str]] = []
    for number, article in enumerate(json.loads(path.read_text())["data"]):
        topic = article["title"].replace("_", " ")
        for place, paragraph in enumerate(article["paragraphs"]):
            id = f"{number}.{place}"
            passages.append((Passage(id=id, text=paragraph["context"]), topic))
            asked += [(id, topic, answer["question"]) for answer in paragraph["qas"]]
    step = max(1, len(asked) // most)
    examples = [
        Example(
            id=str(number),
            digest="",
            split="train" if hashlib.sha256(id.encode()).digest()[0] % 2 else "dev",
            inputs={"question": question, "topic": topic},
            passages=(Passage(id=id, relevance=1.0),),
            group=id,
        )
        for number, (id, topic, question) in enumerate(asked[::step])
    ]
    return passages, examples


def variant(retriever: str, query: str) -> Variant:
    """A chain with one query template."""
    chain = {"retriever": retriever, "query": query, "k": FOUND}
    return Variant(name="v", content=CONTENT, digest="", alias="", retrieval=chain)


async def recalls(retrieval: Retrieval, one: Variant, examples: list[Example]) -> list[float]:
    """recall@1 of each example."""
    context = scorers.Context(clock=SystemClock())
    scorer = scorers.build(Spec(kind="recall-at-k", config={"k": K}), context)
    found: list[float] = []
    for example in examples:
        prepared = await retrieval.prepare(one, example)
        subject = Subject(output="", passages=example.passages, retrieved=prepared.retrieved)
        score = await scorer.score(subject)
        assert score.value is not None
        found.append(score.value)
    return found


def share(values: list[float]) -> float:
    return 100 * sum(values) / len(values)


async def language(name: str, directory: Path, most: int = QUESTIONS) -> dict[str, Any]:
    """Every index and query template on one half, the winner and the base on the other; and what the cache saves."""
    passages, examples = load(directory / f"xquad.{name}.json", most)
    encoder = embeddings.Cached(embeddings.Packaged(), 64 * 1024 * 1024)
    indexes = {
        "text": [Line(one, one.text) for one, _ in passages],
        "titled": [Line(one, f"{topic}: {one.text}") for one, topic in passages],
    }
    retrieval = Retrieval({key: Passages(key, lines, encoder) for key, lines in indexes.items()})
    chosen = [one for one in examples if one.split == "train"]
    shown = [one for one in examples if one.split == "dev"]
    tried: dict[str, float] = {}
    variants = {f"{index}/{query}": variant(index, text) for index in INDEXED for query, text in QUERIES.items()}
    for key, one in variants.items():
        tried[key] = share(await recalls(retrieval, one, chosen))
    best = max(tried, key=lambda key: tried[key])
    base_values = await recalls(retrieval, variants[BASE], shown)
    best_values = await recalls(retrieval, variants[best], shown)
    wins = sum(a > b for a, b in zip(best_values, base_values, strict=True))
    losses = sum(a < b for a, b in zip(best_values, base_values, strict=True))
    before = retrieval.counts
    began = time.perf_counter()
    await recalls(retrieval, variants[BASE], shown)
    again = (time.perf_counter() - began) / len(shown)
    hits = retrieval.counts.hits - before.hits
    await retrieval.close()
    await encoder.close()
    return {
        "passages": len(passages),
        "tried": tried,
        "best": best,
        "shown": len(shown),
        "base": share(base_values),
        "recall": share(best_values),
        "wins": wins,
        "losses": losses,
        "p": mcnemar(wins, losses),
        "hit_us": again * 1e6,
        "hits": hits / len(shown),
    }


def measure(bench: Bench) -> list[Figure]:
    """recall@1 of the base query and of the best of eight chains, in three languages."""
    directory = bench.shared / "data/xquad"
    if not directory.is_dir():
        return [skipped("retrieval", "chains on xquad", f"{directory} is not there: make bench SHARED=DIR")]
    tick = bench.ticker("retrieval", len(LANGUAGES))
    rows: list[Figure] = []
    for name in LANGUAGES:
        tick(name)
        found = asyncio.run(language(name, directory))
        rows.append(
            Figure(
                id=f"retrieval-{name}",
                what=f"recall@{K} of the best chain on xquad ({name}), questions it was not chosen on",
                value=found["recall"],
                unit="%",
                more=True,
                note=f"{found['best']}; the base, a request in words: {found['base']:.1f} %; {found['wins']} won, "
                f"{found['losses']} lost of {found['shown']}, p = {found['p']:.2g}",
                detail=found,
            )
        )
        if name == LANGUAGES[0]:
            rows.append(
                Figure(
                    id="retrieval-cache",
                    what="an example whose query was searched before, passages and scorer included",
                    value=found["hit_us"],
                    unit="us",
                    note=f"{100 * found['hits']:.0f} % from the retrieval cache",
                )
            )
    tick("")
    return rows
