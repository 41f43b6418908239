"""Measuring cells: what one example suffers is told in its cell, what everything suffers is raised."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "calls"))

from calls_kit import Bench, bench
from inside import until

from ostinato import evals
from ostinato.calls import Budget, Exhausted, Limits, ModelAway
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Invalid, NotFound
from ostinato.datasets.model import Example
from ostinato.evals import runner as runners
from ostinato.prompts import Content
from ostinato.providers.model import ProviderFailure
from ostinato.scorers.confidence import Sure
from ostinato.scorers.model import Score, Spec, Subject
from ostinato.storage import Notices

VARIABLES = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
SAY = evals.Variant(
    name="say", content=Content(kind="text", text="Say {{text}}", variables=VARIABLES), digest="1", alias="m"
)
FOR: dict[str, Any] = {"org": "o", "project": "p", "namespace": "run", "purpose": "search"}


class Fixed:
    """A scorer that says what it was told to."""

    def __init__(self, name: str, value: Any, rationale: str = "") -> None:
        self.id = f"{name}@00000000"
        self.value = value
        self.rationale = rationale
        self.seen: list[Subject] = []

    async def score(self, subject: Subject) -> Score:
        self.seen.append(subject)
        if isinstance(self.value, Exception):
            raise self.value
        return Score(scorer=self.id, value=self.value, rationale=self.rationale, cost=5)


def example(number: int = 0, **more: Any) -> Example:
    fields = {"inputs": {"text": f"t{number}"}, "reference": "r", "stratum": "s", **more}
    return Example(id=f"e{number:03d}", digest="", split="dev", **fields)


def runner(room: Bench, **more: Any) -> evals.Runner:
    return evals.Runner(room.calls, room.clock, **more)


async def test_a_cell(tmp_path: Path) -> None:
    async with bench(tmp_path) as room:
        judge = Fixed("judge", 0.5)
        cell = await runner(room).run_cell(SAY, example(), (judge, Fixed("other", 1.0)), **FOR)
        assert (cell.example, cell.variant, cell.stratum) == ("e000", evals.identity(SAY), "s")
        assert (cell.value, cell.output, cell.error, cell.paid) == (0.75, "re: Say t0", "", True)
        called = await room.ask("x")
        assert cell.usage is not None and cell.cost is not None and cell.cost >= 10 and called.cost is not None
        (subject,) = judge.seen
        assert (subject.output, subject.reference, subject.inputs) == ("re: Say t0", "r", {"text": "t0"})
        assert subject.input_text == "Say t0"
        again = await runner(room).run_cell(SAY, example(), (judge,), specs=(Spec(kind="", name="judge"),), **FOR)
        assert (again.value, again.paid, again.latency_us) == (0.5, False, cell.latency_us)
        other = await runner(room).run_cell(SAY, example(), (judge,), replicate=1, **FOR)
        assert other.paid and other.call != cell.call


async def test_weights_and_what_is_missing(tmp_path: Path) -> None:
    async with bench(tmp_path) as room:
        specs = (
            Spec(kind="", name="a", weight=3.0),
            Spec(kind="", name="b", weight=1.0),
            Spec(kind="", name="c", weight=0),
        )
        scored = (Fixed("a", 1.0), Fixed("b", 0.0), Fixed("c", 0.0))
        assert (await runner(room).run_cell(SAY, example(), scored, specs=specs, **FOR)).value == 0.75
        for bad in (7, float("nan"), ValueError("no"), None):
            cell = await runner(room).run_cell(SAY, example(), (Fixed("a", bad),), specs=specs[:1], **FOR)
            assert cell.value is None and cell.error == "" and cell.output == "re: Say t0", bad


async def test_what_one_example_suffers(tmp_path: Path) -> None:
    async with bench(tmp_path) as room:
        run = runner(room)
        cell = await run.run_cell(SAY, example(inputs={"other": "x"}), (), **FOR)
        assert cell.error and cell.value is None and not room.provider.asked
        assert (await run.run_cell(SAY, example(erased=True), (), **FOR)).error == "erased"
        room.provider.fail = lambda _n: ProviderFailure("too long", failure="request", upstream_status=400)
        assert (await run.run_cell(SAY, example(), (), **FOR)).error == "upstream_request"
        with pytest.raises(Invalid, match="text"):
            run.check(SAY, example(inputs={}), project="p")


async def test_what_everything_suffers(tmp_path: Path) -> None:
    async with bench(tmp_path) as room:
        run = runner(room)
        with pytest.raises(NotFound):
            await run.run_cell(msgspec.structs.replace(SAY, alias="nobody"), example(), (), **FOR)
        with pytest.raises(Exhausted):
            await run.run_cell(SAY, example(), (), budget=Budget(Limits(calls=0)), **FOR)
        room.provider.fail = lambda _n: ProviderFailure("refused", failure="credential", upstream_status=401)
        with pytest.raises(ProviderFailure):
            await run.run_cell(SAY, example(), (), **FOR)
        room.provider.fail = lambda _n: None
        for rationale, kind in (("budget_exhausted: no", Exhausted), ("model_away: gone", ModelAway)):
            with pytest.raises(kind):
                await run.run_cell(SAY, example(), (Fixed("judge", None, rationale),), **FOR)


async def test_many_in_order_and_bounded(tmp_path: Path) -> None:
    async with bench(tmp_path) as room:
        room.provider.latency = 0.001
        done: list[int] = []
        pairs = [(SAY, example(number)) for number in range(40)]
        cells = await runner(room).run_many(
            pairs, (), concurrency=3, on_cell=lambda place, _cell: done.append(place), **FOR
        )
        assert [cell.example for cell in cells] == [one.id for _, one in pairs]
        assert sorted(done) == list(range(40)) and room.provider.most_open == 3
        assert await runner(room).run_many([], (), **FOR) == []


async def test_many_until_the_money_ends(tmp_path: Path) -> None:
    """What was paid for is told before the error is."""
    async with bench(tmp_path) as room:
        done: list[str] = []
        pairs = [(SAY, example(number)) for number in range(40)]
        with pytest.raises(Exhausted):
            await runner(room).run_many(
                pairs,
                (),
                budget=Budget(Limits(calls=7)),
                on_cell=lambda _place, cell: done.append(cell.example),
                **FOR,
            )
        assert len(done) == len(room.provider.asked) == 7


async def test_cancelled_in_the_middle(tmp_path: Path) -> None:
    clock = ManualClock()
    async with bench(tmp_path, clock) as room:
        room.provider.latency = 5.0
        task = asyncio.create_task(runner(room).run_many([(SAY, example(n)) for n in range(40)], (), **FOR))
        await until(lambda: room.provider.open == 8)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        clock.advance(5.0)
        await until(lambda: not room.calls.open)
        assert len(room.provider.asked) == 8 == (await room.calls.journal("run")).calls


async def test_parameters_and_partials(tmp_path: Path) -> None:
    async with bench(tmp_path) as room:
        whole = Content(kind="text", text="{{> tone}} {{text}}", variables=VARIABLES, partials={"tone": 2})
        tone = Content(kind="partial", text="Kindly:")
        variant = msgspec.structs.replace(SAY, content=whole, params={"max_tokens": 3})
        cell = await runner(room, pieces=lambda _project, _name, _number: tone).run_cell(variant, example(), (), **FOR)
        assert cell.output == "re: Kindly: t0"
        assert cell.usage is not None and cell.usage.output <= 3
        with pytest.raises(NotFound):
            await runner(room).run_cell(variant, example(1), (), **FOR)
        assert evals.identity(variant) != evals.identity(SAY)


async def test_how_sure(tmp_path: Path) -> None:
    async with bench(tmp_path) as room:
        run = runner(room, confident=lambda called, labels: Sure(len(called.text) / 100) if labels else None)
        assert (await run.run_cell(SAY, example(), (), confidence=True, labels=("a",), **FOR)).confidence == 0.1
        assert (await run.run_cell(SAY, example(), (), **FOR)).confidence is None


async def test_what_is_erased_in_one_process_is_asked_about_in_none(tmp_path: Path) -> None:
    async with bench(tmp_path) as room:
        notices, erased = Notices(), ["e007"]

        async def lately() -> list[str]:
            return erased

        here, there = runner(room), runner(room)
        for one in (here, there):
            one.follow(notices, lately)
        here.forget_everywhere([f"e{number:03d}" for number in range(5)] + [f"{number:032x}" for number in range(300)])
        for number in range(5):
            assert (await there.run_cell(SAY, example(number), (), **FOR)).error == "erased"
        assert not room.provider.asked
        assert (await there.run_cell(SAY, example(7), (), **FOR)).error == ""
        assert await there.recall(SAY, example(7), evals.Measure(**FOR, scorers=())) == "re: Say t7"
        notices.publish(runners.TOPIC)  # after a time of not hearing
        await until(lambda: "e007" in there._forgotten)
        assert (await there.run_cell(SAY, example(7), (), **FOR)).error == "erased"
        assert await there.recall(SAY, example(7), evals.Measure(**FOR, scorers=())) is None
        await here.stop()
        await there.stop()
        notices.publish(runners.TOPIC, "e008")
        assert "e008" not in there._forgotten


async def test_what_is_erased_while_it_is_asked_about_is_not_told(tmp_path: Path) -> None:
    async with bench(tmp_path) as room:
        run = runner(room)

        class Erases(Fixed):
            async def score(self, subject: Subject) -> Score:
                run.forget(["e000"])
                return await super().score(subject)

        cell = await run.run_cell(SAY, example(), (Erases("a", 1.0),), **FOR)
        assert (cell.error, cell.output, cell.value) == ("erased", "", None)
