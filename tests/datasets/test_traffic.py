"""Versions of recorded traffic: what is chosen, each question once, redacted, so many of each kind."""

from collections.abc import Iterator
from typing import Any

import pytest

from ostinato import storage, traces
from ostinato.core import ids
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Denied, Invalid
from ostinato.datasets import Datasets, Quality, Shares, Traffic
from ostinato.signals import Signal, Signals

ME = "recorded"


class Ledgers:
    """A ledger with signals, and a dataset to fill."""

    def __init__(self, kit: Any, database: storage.Database, clock: ManualClock) -> None:
        self.kit, self.clock = kit, clock
        self.recorder = traces.Recorder(database, clock, traces.Settings(batch_seconds=60.0))
        self.recorder.start()
        self.signals = Signals(database, clock)
        self.start = clock.now()
        ledger = traces.Ledger(database, clock, catch_up=self.recorder.catch_up)
        self.datasets = Datasets(kit.database, clock, kit.log, ledger=ledger, signals=self.signals)

    def call(self, text: str | None, answer: str | None = "Well.", **fields: Any) -> str:
        self.clock.advance(1)
        home = self.kit.projects[0]
        now = self.clock.now()
        row = traces.CallRow(
            request_id=ids.new(now),
            at=now,
            **{
                "org": home.org_id,
                "project": home.id,
                "key_id": "k1",
                "wire": "openai.chat",
                "input_text": text,
                "output_text": answer,
                **fields,
            },
        )
        self.recorder.call(row)
        return row.request_id

    def tell(self, request_id: str, value: float | None, label: str = "", **fields: Any) -> None:
        home = self.kit.projects[0]
        self.signals.record(
            [
                Signal(
                    **{
                        "id": ids.new(self.clock.now()),
                        "request_id": request_id,
                        "at": self.clock.now(),
                        "org": home.org_id,
                        "project": home.id,
                        "source": "feedback",
                        "name": "feedback",
                        "value": value,
                        "label": label,
                        **fields,
                    }
                )
            ]
        )

    async def make(self, caller: Any = None, **wanted: Any) -> tuple[Any, list[Any]]:
        """The version that ``wanted`` makes, and its examples."""
        me = caller or self.kit.caller()
        chosen = Traffic(**{"since": self.start, "until": self.clock.now() + 1_000_000, **wanted})
        version = await self.datasets.from_traffic(me, ME, chosen)
        return version, list(await self.datasets.load(version.id))


@pytest.fixture
async def ledgers(kit: Any, traces: storage.Database, clock: ManualClock) -> Iterator[Ledgers]:
    made = Ledgers(kit, traces, clock)
    await made.datasets.create(kit.caller(), ME, shares=Shares(train=1, dev=0, holdout=0))
    yield made
    made.recorder.stop()


async def test_what_was_asked_becomes_examples(ledgers: Ledgers) -> None:
    first = ledgers.call(
        "Where is my card?", "In the post.", intent="card", target="p/m", user_digest="u1", session="s"
    )
    ledgers.call("", None, intent="card")
    ledgers.call(None, None)
    ledgers.call("Refused?", "No.", status=429, error="rate")
    ledgers.call("Our own loop asks.", "Yes.", key_id="")
    ledgers.call("Somebody else asks.", "Yes.", project=ledgers.kit.projects[1].id)
    version, found = await ledgers.make(reference="answer", stratum="intent")
    (one,) = found
    assert (one.inputs, one.reference, one.stratum) == ({"input": "Where is my card?"}, "In the post.", "card")
    assert (one.group, one.source) == ("session:s", f"request:{first}")
    assert one.metadata == {"target": "p/m", "subject": "u1"}
    assert version.origin["requests"] == 1
    assert version.origin["traffic"]["reference"] == "answer"
    gone = await ledgers.datasets.erase(ledgers.kit.caller(), ME, subject="u1")
    assert gone == (one.id,)


async def test_variables_are_the_inputs_where_the_ledger_has_them(ledgers: Ledgers) -> None:
    extra = {"traceparent": "t", "variables": {"question": "Why? Write to me@example.org.", "n": [1, "b@example.org"]}}
    ledgers.call("Rendered: Why?", prompt="support", prompt_version=2, extra=extra)
    _, (one,) = await ledgers.make(prompt="support")
    assert one.inputs == {"question": "Why? Write to [EMAIL].", "n": [1, "[EMAIL]"]}
    assert one.metadata == {"prompt": "support", "prompt_version": 2}


async def test_each_question_comes_once(ledgers: Ledgers) -> None:
    long = "I have paid the invoice of last month twice, once by card and once by transfer"
    for text in ("Hello?", "  HELLO? ", "Hello?", long, long + ".", "Something else entirely"):
        ledgers.call(text, f"Answer to {text}")
    version, found = await ledgers.make(reference="answer")
    assert len(found) == 3
    assert version.dropped == {"duplicates": 2, "near-duplicates": 1}
    assert next(one.reference for one in found if "ello" in one.inputs["input"]) == "Answer to Hello?"


async def test_an_embedder_may_say_what_else_is_the_same(ledgers: Ledgers) -> None:
    for text in ("Where is my card?", "My card, where could it be?", "Hello"):
        ledgers.call(text)

    async def near(texts: Any) -> list[tuple[int, int]]:
        return [tuple(sorted(at for at, text in enumerate(texts) if "card" in text))]

    chosen = Traffic(since=ledgers.start, until=ledgers.clock.now() + 1)
    version = await ledgers.datasets.from_traffic(ledgers.kit.caller(), ME, chosen, near=near)
    assert version.dropped == {"near-duplicates": 1}


async def test_signals_choose_and_label(ledgers: Ledgers) -> None:
    good, bad, hit_of, silent = (ledgers.call(f"Question number {n}?", "x") for n in range(4))
    ledgers.tell(good, 1.0, "right")
    ledgers.tell(bad, 0.0, "wrong")
    ledgers.tell("f" * 32, 0.9, origin=hit_of)
    ledgers.tell(silent, None, "other", source="review", name="verdict")
    _, liked = await ledgers.make(quality=Quality(source="feedback", least=0.5))
    assert {one.source for one in liked} == {f"request:{good}", f"request:{hit_of}"}
    version, labelled = await ledgers.make(quality=Quality(), reference="label")
    assert {one.reference for one in labelled} == {"right", "wrong", "other"}
    assert version.dropped == {"unlabelled": 1}
    _, reviewed = await ledgers.make(quality=Quality(source="review", name="verdict"), reference="label")
    assert [one.reference for one in reviewed] == ["other"]


async def test_who_changes_their_mind_is_heard(ledgers: Ledgers) -> None:
    regretted, praised, two = (
        ledgers.call(text) for text in ("Where is my card?", "And my parcel?", "A loan, please?")
    )
    for request, *values in ((regretted, 1.0, 0.0), (praised, 0.0, 1.0)):
        for value in values:
            ledgers.tell(request, value, "good" if value else "bad", actor="key:a")
    ledgers.tell(two, 1.0, "good", actor="key:a")
    ledgers.tell(two, 0.0, "bad", actor="key:b")
    good = Quality(source="feedback", least=0.5)
    _, chosen = await ledgers.make(quality=good, reference="answer")
    assert {one.inputs["input"] for one in chosen} == {"And my parcel?", "A loan, please?"}, (
        "what was taken back counted"
    )
    _, chosen = await ledgers.make(quality=Quality(most=0.5), reference="label")
    assert {one.inputs["input"]: one.reference for one in chosen} == {
        "Where is my card?": "bad",
        "A loan, please?": "bad",
    }


async def test_samples_are_stratified_and_drawn_by_a_seed(ledgers: Ledgers) -> None:
    for number in range(60):
        ledgers.call(f"{number * number} {number} is this one?", "x", intent="rare" if number < 5 else "common")
    version, found = await ledgers.make(stratum="intent", limit=20)
    assert version.strata == {"common": 15, "rare": 5}, "strata take turns"
    _, again = await ledgers.make(stratum="intent", limit=20)
    _, other = await ledgers.make(stratum="intent", limit=20, seed=1)
    assert [one.id for one in found] == [one.id for one in again]
    assert {one.id for one in found} != {one.id for one in other}
    few, _ = await ledgers.make(stratum="intent", per_stratum=3)
    assert few.strata == {"common": 3, "rare": 3}


async def test_windows_are_exact(ledgers: Ledgers) -> None:
    ledgers.call("Before?")
    middle = ledgers.clock.now() + 500_000
    ledgers.call("After?")
    _, late = await ledgers.make(since=middle)
    _, early = await ledgers.make(until=middle)
    assert [one.inputs["input"] for one in (*early, *late)] == ["Before?", "After?"]


async def test_what_is_not_there_is_said(ledgers: Ledgers) -> None:
    with pytest.raises(Invalid, match="no request of this kind") as caught:
        await ledgers.make()
    assert "store_text" in caught.value.hint
    ledgers.call("Hello?")
    with pytest.raises(Invalid, match="none has such a signal"):
        await ledgers.make(quality=Quality(least=0.5))
    for wrong in (
        {"until": 0},
        {"until": 10**30},
        {"since": -1},
        {"limit": 0},
        {"per_stratum": 0},
        {"reference": "label"},
    ):
        with pytest.raises(Invalid):
            await ledgers.make(**wrong)
    with pytest.raises(Denied, match="traces:text"):
        await ledgers.make(ledgers.kit.caller("traces:text"))
    assert await ledgers.datasets.versions(ledgers.kit.caller(), ME) == []
