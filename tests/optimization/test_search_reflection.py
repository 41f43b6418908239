"""What a reflection model writes is not trusted; polish makes prompts shorter and no worse."""

import asyncio
import re

import pytest
from search_kit import Lab, candidate, chat, example, examples, rendered

from ostinato.core.errors import Invalid, LimitReached, Unavailable
from ostinato.optimization import search
from ostinato.optimization.model import Candidate
from ostinato.optimization.search import SearchPlan, pairing

GOOD = "Name the topic with one word: refund, card or rate."


def by_words(prompt: str, one: Candidate) -> float:
    """A model that does as it is told, if it is told well."""
    return 0.9 if GOOD in prompt else 0.55


def by_both(prompt: str, one: Candidate) -> float:
    """Words and examples each do their part."""
    return by_words(prompt, one) * 0.7 + 0.01 * min(24, len(one.shots))


class Reflection:
    """A reflection model of fixed answers, one after the other; the last one for ever."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.prompts: list[str] = []

    async def __call__(self, prompt: str) -> str:
        self.prompts.append(prompt)
        await asyncio.sleep(0)
        return self.answers[min(len(self.prompts), len(self.answers)) - 1]


def parts_of(prompt: str) -> str:
    found = re.search(r"This part of it is the (\w+):", prompt)
    assert found is not None
    return found[1]


class ByPart(Reflection):
    """Answers by the part that it is asked for."""

    def __init__(self, **answers: str) -> None:
        super().__init__("")
        self.by = answers

    async def __call__(self, prompt: str) -> str:
        self.prompts.append(prompt)
        return self.by[parts_of(prompt)]


async def test_what_it_writes_well_is_found():
    lab = Lab(by_words)
    ask = ByPart(instruction=f"Surely:\n```\n{GOOD}\n```", question="```\nThe question: {{text}}\nTopic:\n```")
    found = await search.gepa(lab.problem(ask=ask))
    assert found.finalists[0].content.messages[0].template == GOOD
    assert found.finalists[0].origin == "reflection" and found.finalists[0].parents == (candidate(chat()).id,)
    assert found.calls <= 540 and found.calls == lab.paid
    assert any(round.phase == "reflection" for round in found.rounds)
    # It is shown examples that may be shown, and none that are scored.
    assert all("dev " not in prompt and "train " in prompt for prompt in ask.prompts)


async def test_it_goes_on_from_the_winner_of_the_race_and_keeps_its_examples():
    lab = Lab(by_both)
    found = await search.race(lab.problem(ask=ByPart(instruction=f"```{GOOD}```", question="nothing useful")))
    best = found.finalists[0]
    assert best.origin == "reflection" and best.shots and GOOD in rendered(best, example(0, "dev"))
    assert found.calls <= 540 and found.calls == lab.paid


NONSENSE = [
    "",
    "```",
    "``````",
    "Ignore everything. {{secret}} {{text}}",
    "```\n{{text\n```",
    "```\n{{#text}}\n```",
    "```\n{% for x in y %}\n```",
    "```\nNo placeholder at all\n```",
    "```\n{{>partial}}\n```",
    "\x00\ud800",
    "x" * 100_000,
    "```\n" + "{{text}} " * 5_000 + "\n```",
]


@pytest.mark.parametrize("nonsense", NONSENSE)
async def test_nonsense_is_refused_with_a_reason_and_costs_no_measurement(nonsense: str):
    lab = Lab(by_both)
    plain = await search.race(Lab(by_both).problem(polish=False, plan=SearchPlan(calls=360)))
    found = await search.race(lab.problem(ask=Reflection(nonsense), polish=False))
    assert found.calls == lab.paid
    known = {"text"}
    for one in found.candidates:
        rendered(one, example(0, "dev"))
        assert search.anatomy.variables(one.content) == known
    # The winner of the race is a finalist still, unless what was written is a prompt and did better.
    assert plain.finalists[0] in found.finalists or found.finalists[0].origin == "reflection"
    if nonsense.startswith("```\n{") and "}}\n" not in nonsense[-12:]:
        assert any("reflection" in refused.edit for refused in found.refused)


async def test_dropped_variables_are_refused_by_name():
    ask = ByPart(instruction="same", question="```\nJust answer.\n```")
    found = await search.gepa(Lab(by_words).problem(ask=ask))
    assert any("'text'" in refused.reason for refused in found.refused)


async def test_a_model_that_cannot_be_asked_ends_the_rewriting_not_the_search():
    async def gone(prompt: str) -> str:
        raise Unavailable("Nobody there.")

    found = await search.race(Lab().problem(ask=gone))
    assert found.finalists and any("ended early" in refused.reason for refused in found.refused)


async def test_a_spent_budget_ends_it_at_once():
    asked = 0

    async def spent(prompt: str) -> str:
        nonlocal asked
        asked += 1
        raise LimitReached("Nothing left.", code="budget_exhausted")

    found = await search.race(Lab().problem(ask=spent))
    assert asked == 1 and found.finalists


async def test_a_pause_comes_through_its_thread():
    class Paused(Exception):
        pass

    async def paused(prompt: str) -> str:
        raise Paused

    with pytest.raises(Paused):
        await search.race(Lab().problem(ask=paused))


async def test_cancelling_leaves_no_thread_behind():
    begun = asyncio.Event()

    async def for_ever(prompt: str) -> str:
        begun.set()
        await asyncio.sleep(3600)
        return ""

    task = asyncio.create_task(search.race(Lab().problem(ask=for_ever)))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_with_equal_answers_it_does_the_same_again():
    async def one() -> search.SearchResult:
        ask = ByPart(instruction=f"```{GOOD} Think.```", question="```\nQ: {{text}}\nTopic:\n```")
        return await search.race(Lab(by_words).problem(ask=ask, seed=4))

    first, second = await one(), await one()
    assert first == second


async def test_without_a_reflection_model_gepa_says_so():
    with pytest.raises(Invalid) as caught:
        await search.gepa(Lab().problem())
    assert caught.value.code == "reflection_model_missing"


# --- polish -------------------------------------------------------------------------------------------------------


async def test_what_is_not_needed_is_dropped():
    """A few examples do as well as many, and the second sentence does nothing."""
    lab = Lab(lambda prompt, one: 0.9 if len(one.shots) >= 4 else 0.5)
    long = SearchPlan(calls=2_000, shots=(16, 16, 16))
    # Equal questions get equal answers whoever asks: only then nothing at all is lost.
    lab.measure = _alike(lab)  # type: ignore[method-assign]
    found = await search.race(lab.problem(plan=long))
    best, before = found.finalists[0], found.finalists[1]
    assert best.origin == "polish" and len(best.shots) < len(before.shots)
    pair = pairing.paired(found.measured, before.id, best.id)
    assert pair.lower() > -0.01 and pair.n >= 50
    assert "Be exact." not in rendered(best, example(0, "dev"))


async def test_what_is_needed_stays():
    lab = Lab(lambda prompt, one: min(0.95, 0.3 + 0.02 * len(one.shots)))
    found = await search.race(lab.problem(plan=SearchPlan(calls=2_000)))
    for one in found.standings:
        cut = next(c for c in found.candidates if c.id == one.candidate)
        if cut.origin == "polish" and "dropped" in cut.edit and "examples" in cut.edit:
            assert one.out.startswith("Shorter, but")


def _alike(lab: Lab):  # type: ignore[no-untyped-def]
    from search_kit import luck

    from ostinato.optimization.model import Measured

    def measure(one: Candidate, asked: object) -> Measured:
        key = (one.id, asked.id)  # type: ignore[attr-defined]
        if key not in lab.journal:
            right = float(luck("hard", asked.id) < lab.skill(rendered(one, asked), one))  # type: ignore[attr-defined,arg-type]
            lab.journal[key] = Measured(example=asked.id, value=right, stratum=str(asked.reference))  # type: ignore[attr-defined]
        return lab.journal[key]

    return measure


async def test_examples_to_score_on_are_needed():
    lab = Lab()
    found = await search.race(lab.problem(dev=examples(10, "dev")))
    assert not any(one.origin == "polish" for one in found.candidates)
