"""Whole runs under the rules that ask for more than a proof: judges, people, dear examples."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from inside import SYSTEM
from run_kit import LABELS, PROMPT, Kit, Painter, examples, opened, truth

from ostinato import access
from ostinato.core.errors import NotFound
from ostinato.datasets.model import Example, NewExample
from ostinato.evals.model import Cell
from ostinato.optimization import binding
from ostinato.optimization.reviewing import Reviewing
from ostinato.optimization.run import Run
from ostinato.providers.model import ChatCall, ChatReply
from ostinato.reviews.model import Declaration, NewItem, NewVerdict, Sampling
from ostinato.scorers.calibration import calibrate
from ostinato.scorers.model import Score, Spec
from ostinato.wire.model import Answer, BlockStart, BlockStop, Delta, Finish, Start, Text, Usage

MODELS = '[providers.spare]\nkind = "fake"\n[models.judge]\ntargets = ["spare/judge"]\n'
JUDGE = Spec(kind="judge", name="colour", config={"model": "judge", "rubric": "Is it the colour of the item?"})


class Judge(Painter):
    """Knows every colour."""

    async def chat(self, call: ChatCall) -> ChatReply:
        text = "\n".join(b.text for m in call.request.messages for b in m.content if isinstance(b, Text))
        self.asked.append(text)
        item = text.rsplit("item ", 1)[1].split()[0].strip(".?!")
        said = text.rsplit(" ANSWER\n", 1)[1].split("\n")[0]
        verdict = {"rationale": "", "label": "good" if said == truth(item) else "bad", "confidence": 1.0}
        events = (
            Start(call.model), BlockStart(0, "text"), Delta(0, json.dumps(verdict)), BlockStop(0), Finish("stop"),
            Usage(input=len(text) // 4, output=10),
        )  # fmt: skip
        return ChatReply(Answer(self.wire, events), {}, 0.001)


@pytest.mark.parametrize(("agreeing", "state"), [(None, "refused"), (0.75, "refused"), (1.0, "proposed")])
async def test_a_judge_promotes_only_once_it_agrees_with_people(agreeing: float | None, state: str) -> None:
    async with opened(240, MODELS, real_calibrations=True) as kit:
        app = kit.world.app
        app.providers["spare"] = Judge(kit.world.clock)
        ann = await kit.caller()
        declared = await app.scorers.declare(ann, JUDGE, project=kit.project)
        if agreeing is not None:
            people = [1.0, 0.0] * 20
            answers = [one if at < agreeing * 40 else 1.0 - one for at, one in enumerate(people)]
            judged = [Score(scorer="colour", value=one) for one in answers]
            identity = f"{declared.name}@{declared.version}"
            await app.scorers.keep_calibration(ann, declared, calibrate(identity, judged, people), dataset="x")
        plan = await kit.runs.plan(ann, kit.wish(scorers=(), declared=("colour",)), kit.project)
        assert not plan.errors and plan.calls >= 2 * plan.pairs * 4, "what the judge is asked is planned, too"
        run = await kit.finished(ann, scorers=(), declared=("colour",))
        assert run.state == state, run.sentence
        assert [one.kind for one in run.wish.scorers] == ["judge"]
        assert ("kappa" in run.why) == (state == "refused")
        spent = (await kit.runs.show(ann, run.id)).spent
        assert spent.calls == len(kit.painter.asked) + len(app.providers["spare"].asked) <= plan.calls


async def test_a_grounding_judge_is_one_and_a_plain_ready_scorer_is_none() -> None:
    async with opened(240, MODELS) as kit:
        ann = await kit.caller()
        for spec, wanted in (
            (Spec(kind="groundedness", config={"model": "judge"}), 1),
            (Spec(kind="groundedness"), 0),
            (Spec(kind="label", config={"labels": list(LABELS)}), 0),
        ):
            run = await kit.runs.start(ann, kit.wish(scorers=(spec,)), kit.project)
            assert len(binding.proving.judges_of(run.wish)) == wanted
            await kit.runs.cancel(ann, run.id)
        with pytest.raises(NotFound, match="nobody"):
            await kit.runs.plan(ann, kit.wish(declared=("nobody",)), kit.project)


async def people(kit: Kit, run: Run, says: str) -> int:
    """Verdicts of a reviewer on all items: the better answer is the one that ``says`` names."""
    reviews = kit.world.app.reviews
    secret = await kit.world.new_key(kit.project, permissions=access.permissions.ROLES["owner"])
    bob = kit.world.app.access.authenticate(secret, kit.world.clock.now())
    given = 0
    while (task := await reviews.next(bob, "optimization", project=kit.project)) is not None:
        assert task.content is not None and task.about is None
        thing = str(task.content.inputs["thing"]).removeprefix("item ")
        right = [one.text == truth(thing) for one in task.content.outputs]
        decision = "tie" if right[0] == right[1] else ("first" if right[0] == (says == "truth") else "second")
        await reviews.decide(bob, task.item, NewVerdict(decision=decision))
        given += 1
    return given


@pytest.mark.parametrize(("says", "state"), [("truth", "proposed"), ("lies", "refused")])
async def test_people_have_the_last_word_where_the_policy_asks(says: str, state: str) -> None:
    async with opened(people=True) as kit:
        ann = await kit.caller()
        run = await kit.finished(ann, review=True)
        assert run.state == "reviewing", run.sentence
        assert not run.release
        reviews = kit.world.app.reviews
        assert await reviews.next(ann, "optimization", project=kit.project) is None, "whoever started it judges nothing"
        await kit.runs.reviewed(run.id)
        assert (await kit.runs.carrier.find(run.id)).state == "reviewing", "nobody has said anything yet"
        assert await people(kit, run, says) > 5
        await kit.runs.reviewed(run.id)
        ended = await kit.runs.carrier.carry_on(run.id)
        assert ended.state == state, ended.sentence
        assert bool(ended.release) == (state == "proposed")


class Desk:
    """Review queues that only remember what they were given."""

    def __init__(self) -> None:
        self.items: list[NewItem] = []

    async def queue(self, *_: Any, **__: Any) -> Any:
        raise NotFound("There is none.")

    async def declare(self, *_: Any, **__: Any) -> None:
        return

    async def put(self, _actor: Any, _queue: str, items: Any, **_: Any) -> None:
        self.items += items


async def test_reviewers_see_what_the_model_is_least_sure_of_with_its_leaning_taken_off() -> None:
    """A model that leans to blue: its shy blues are the doubtful ones, not the reds that it hardly ever says."""
    shares = [("blue", 0.9)] * 30 + [("blue", 0.6)] * 5 + [("red", 0.45)] * 15
    some = [
        Example(id=f"e{at:02d}", digest="", split="dev", inputs={"thing": f"item {at}"}, reference=said)
        for at, (said, _) in enumerate(shares)
    ]
    cells = [
        Cell(
            example=one.id,
            variant="new",
            output=said,
            confidence=share if said == "blue" else 1 - share,
            posterior={"blue": share, "red": 1 - share},
        )
        for one, (said, share) in zip(some, shares, strict=True)
    ]
    desk = Desk()
    run: Any = SimpleNamespace(id="r", project="p", prompt=PROMPT, intent="", author="", wish=SimpleNamespace(seed=1))
    await Reviewing(desk).ask(run, {"old": cells, "new": cells}, some, ())  # pyright: ignore[reportArgumentType]
    least = {one.mark.removeprefix("r:") for one in desk.items if "least-confident" in one.why}
    assert len(least) == 10 and {f"e{at}" for at in range(30, 35)} <= least
    assert not least & {f"e{at}" for at in range(35, 50)}, "as raw figures have it, these were the least sure"


async def test_a_model_without_probabilities_is_asked_again() -> None:
    async with opened(200, people=True) as kit:
        ann = await kit.caller()
        run = await kit.finished(ann, review=True, samples=3)
        assert run.state == "reviewing", run.sentence
        again = [one for one in kit.journal() if one["replicate"] > 0]
        dev = run.plan.counts["dev"]
        assert len(again) == 2 * dev, "two further answers for each new one"
        queue = await kit.world.app.reviews.list(ann, queue="optimization", project=kit.project)
        assert queue and all(one.evidence.get("confidence") is not None for one in queue)


async def test_a_queue_that_draws_nothing_is_no_approval() -> None:
    async with opened(people=True) as kit:
        ann = await kit.caller()
        nothing = Sampling(random=0.0, least_confident=0.0, disagreement=0.0, judge_disagreement=0.0, stakes=0.0)
        declared = Declaration(mode="pairwise", sampling=nothing)
        await kit.world.app.reviews.declare(ann, "optimization", declared, project=kit.project)
        run = await kit.finished(ann, review=True)
        assert run.state == "paused" and "draws none" in run.why and not run.release
    async with opened() as kit:
        run = await kit.finished(await kit.caller(), review=True)
        assert run.state == "paused" and "no review queues" in run.why and not run.release


async def test_dear_examples_are_looked_at_until_it_is_proven() -> None:
    async with opened(0) as kit:
        some = [NewExample(inputs=one.inputs, reference=one.reference, stratum="rare" if at % 12 == 0 else "often")
                for at, one in enumerate(examples(400))]  # fmt: skip
        await kit.data.create(SYSTEM, "colours", project=kit.project, examples=some)
        ann = await kit.caller()
        run = await kit.finished(ann, mode="sequential", slices=("rare",))
        assert run.state == "proposed", run.sentence
        records = (await kit.runs.detail(ann, run.id)).records
        looked = {one.measured.example for one in records if one.stage == "holdout"}
        assert 20 < len(looked) < run.plan.pairs, "not at all of them"


async def test_without_gain_sequential_looks_end_in_a_refusal() -> None:
    async with opened(300) as kit:
        kit.painter.base, kit.painter.gain = 0.6, 0.05
        run = await kit.finished(await kit.caller(), mode="sequential")
        assert run.state in ("refused", "nothing-to-gain") and not run.release
