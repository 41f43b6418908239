"""How sure a model is, by whatever its provider lets be known: log probabilities, or several answers."""

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "calls"))

from calls_kit import Bench, bench

from ostinato import evals
from ostinato.calls import Budget, Exhausted, Limits
from ostinato.core.errors import Invalid
from ostinato.datasets.model import Example
from ostinato.evals import sureness
from ostinato.prompts import Content
from ostinato.providers.model import ChatCall, ChatReply, ProviderFailure
from ostinato.wire.model import Answer, BlockStart, BlockStop, Delta, Finish, Start, Usage

VARIABLES = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
LABELS = ("yes", "no")
FOR: dict[str, Any] = {"org": "o", "project": "p", "namespace": "run", "purpose": "search", "labels": LABELS}


def say(**params: Any) -> evals.Variant:
    content = Content(kind="text", text="Say {{text}}", variables=VARIABLES, params=params)
    return evals.Variant(name="say", content=content, digest=f"{params}", alias="m")


def example(number: int = 0) -> Example:
    return Example(id=f"e{number:03d}", digest="", split="dev", inputs={"text": f"t{number}"}, reference="yes")


class Voice:
    """Says what it is told to, by the temperature and the number of the call; knows log probabilities or not."""

    def __init__(self, room: Bench, warm: str = "", knows: float | None = None, refuses: bool = False) -> None:
        self.cold, self.warm, self.knows, self.refuses = "yes", list(warm), knows, refuses
        self.asked: list[tuple[float | None, bool, Any]] = []
        room.provider.chat = self.chat  # pyright: ignore[reportAttributeAccessIssue] - a test's

    async def chat(self, call: ChatCall) -> ChatReply:
        fields = (call.request.extra or {}).get("openai.chat", {})
        wanted = bool(fields.get("logprobs"))
        self.asked.append((call.request.temperature, wanted, fields.get("seed")))
        if wanted and self.refuses:
            raise ProviderFailure("no such field", failure="request", upstream_status=400)
        warm = call.request.temperature
        text = {"y": "yes", "n": "no", "?": "who knows"}[self.warm.pop(0)] if warm and self.warm else self.cold
        extra: dict[str, Any] | None = None
        if wanted and self.knows is not None:
            other = {"token": "no", "prob": 1 - self.knows}
            mine = {"token": "yes", "prob": self.knows}
            extra = {"logprobs": {"content": [{**mine, "top_logprobs": [mine, other]}]}}
        events = (
            Start("m"), BlockStart(0, "text"), Delta(0, text, extra), BlockStop(0), Finish("stop"),
            Usage(input=5, output=1),
        )  # fmt: skip
        return ChatReply(Answer("openai.chat", events), {}, 0.001)


def runner(room: Bench) -> evals.Runner:
    return evals.Runner(room.calls, room.clock)


async def test_answers_are_counted_where_there_are_no_probabilities(tmp_path: Path) -> None:
    async with bench(tmp_path) as room:
        voice = Voice(room, "yny?")
        budget = Budget(Limits(calls=20))
        one = await runner(room).run_cell(
            say(temperature=0, seed=7), example(), (), confidence=True, samples=5, budget=budget, **FOR
        )
        assert one.output == "yes", "what is scored is the first answer"
        assert [asked[0] for asked in voice.asked] == [0, 0, 0.7, 0.7, 0.7, 0.7]
        assert [asked[2] for asked in voice.asked] == [7, 7, 8, 9, 10, 11]
        # yes, yes, no, yes and one that is no label
        assert one.posterior == pytest.approx({"yes": 3.25 / 4.5, "no": 1.25 / 4.5})
        assert one.confidence == pytest.approx(3.25 / 4.5 * 4 / 5)
        assert budget.spent.calls == 6 == len(voice.asked), "each is counted"
        again = await runner(room).run_cell(
            say(temperature=0, seed=7), example(), (), confidence=True, samples=5, **FOR
        )
        assert (again.posterior, again.confidence, again.paid) == (one.posterior, one.confidence, False)
        assert len(voice.asked) == 6, "nothing is paid for twice"
        assert one.cost is not None and again.cost == one.cost


async def test_probabilities_are_asked_for_first_and_only_once_where_there_are_none(tmp_path: Path) -> None:
    async with bench(tmp_path) as room:
        voice = Voice(room, knows=0.8)
        one = await runner(room).run_cell(say(), example(), (), confidence=True, samples=5, **FOR)
        assert [asked[1] for asked in voice.asked] == [False, True]
        assert one.confidence == pytest.approx(0.8) and one.posterior == pytest.approx({"yes": 0.8, "no": 0.2})
    for refuses in (False, True):
        (tmp_path / f"{refuses}").mkdir()
        async with bench(tmp_path / f"{refuses}") as room:
            voice = Voice(room, "ynyyyyyy", refuses=refuses)
            run = runner(room)
            for number in range(3):
                cell = await run.run_cell(say(temperature=0.4), example(number), (), confidence=True, samples=3, **FOR)
                assert cell.confidence is not None and not cell.error
            assert sum(asked[1] for asked in voice.asked) == 1, "a model without them is not asked for them again"


async def test_nobody_asks_again_unless_it_is_wished_for(tmp_path: Path) -> None:
    async with bench(tmp_path) as room:
        voice = Voice(room)
        for more in ({}, {"confidence": True}, {"samples": 5}):
            cell = await runner(room).run_cell(say(), example(), (), **more, **FOR)
            assert cell.confidence is None and cell.posterior == {}
        assert len(voice.asked) == 1
        with pytest.raises(Exhausted):
            await runner(room).run_cell(
                say(), example(), (), confidence=True, samples=5, budget=Budget(Limits(calls=1)), **FOR
            )
        for wrong in (0, 21):
            with pytest.raises(Invalid):
                sureness.check(wrong)


def cell(output: str, yes: float, **more: Any) -> evals.Cell:
    fields = {"output": output, "confidence": yes if output == "yes" else 1 - yes, **more}
    return evals.Cell(example="e", variant="v", posterior={"yes": yes, "no": 1 - yes}, **fields)


def test_a_leaning_is_taken_off_where_all_answers_tell() -> None:
    """A model that leans to yes: the least sure of its yes was a better guess than the surest no looked."""
    cells = [cell("yes", 0.9)] * 15 + [cell("yes", 0.6)] + [cell("no", 0.45)] * 9
    found = evals.confidences(cells)
    assert found.index(min(one for one in found if one is not None)) == 15
    assert found[16] is not None and found[16] > 0.6, "0.45 is little for a model that says 0.7 on the whole"
    failed = evals.Cell(example="e", variant="v", error="upstream_request")
    assert evals.confidences([failed, *cells]) == [None, *found]
    bare = evals.Cell(example="e", variant="v", output="yes", confidence=0.2)
    assert evals.confidences([*cells, bare]) == [*(one.confidence for one in cells), 0.2]
    assert evals.confidences(cells[:5]) == [0.9] * 5, "five answers tell no leaning"
    assert evals.confidences([]) == []


def test_labels_are_known_where_they_are_few() -> None:
    some = [example(), Example(id="x", digest="", split="dev", inputs={}, reference="no")]
    assert evals.labels_of(some) == ("no", "yes")
    assert evals.labels_of(some[:1]) == ()
