"""The phases of a run, each as one function: select, headroom, search, prove, review, release.

A phase looks first at what was decided. What it decides, it writes down once; whoever begins it again finds that.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from ostinato.core.errors import Conflict, Invalid, Unavailable
from ostinato.datasets.model import Example
from ostinato.evals.model import Cell
from ostinato.optimization import planning, proving, releasing, store
from ostinato.optimization.meter import Meter, candidate
from ostinato.optimization.model import Candidate
from ostinato.optimization.needs import Decision, Rooms
from ostinato.optimization.records import Records
from ostinato.optimization.run import Phase, Run, State
from ostinato.optimization.search.model import Round, SearchPlan
from ostinato.optimization.stopping import Stopped
from ostinato.wire.model import Json

_LOOK = 20
"""Sealed examples between two looks of the sequential gate."""
_RELEASED_ELSEWHERE = "release_open"
_STALE = "evaluation_stale"


class Ending(msgspec.Struct, frozen=True):
    """A run does not go on to its next phase."""

    state: State
    why: str = ""
    more: dict[str, Any] = {}
    """Fields of the run that are set along."""


class Shop(msgspec.Struct, frozen=True):
    """What a phase works with."""

    rooms: Rooms
    records: Records
    meter: Meter
    run: Run

    async def examples(self) -> tuple[list[Example], list[Example]]:
        """The open examples: those to learn from, and those to try on."""
        found = await self.rooms.data.load(self.run.dataset_version, ("train", "dev"))
        living = [one for one in found if not one.erased]
        return [one for one in living if one.split == "train"], [one for one in living if one.split == "dev"]

    async def base(self) -> Candidate:
        """The incumbent."""
        content = self.rooms.prompts.snapshot.value.content(self.run.project, self.run.prompt, self.run.base_number)
        return candidate(content)

    async def candidates(self) -> dict[str, Candidate]:
        """Everybody who was tried, by id."""
        return {one.id: one for one in await self.records.all_candidates(self.run.id)}

    async def on_round(self, found: Round) -> None:
        """Write down a complete round."""
        await self.records.candidates(self.run.id, found.entered)
        await self.records.round(self.run.id, found)

    async def go_on(self) -> None:
        """Raise ``Stopped`` where somebody has told the run to stop, in whichever process."""
        standing = await self.rooms.control.read(lambda connection: store.find(connection, self.run.id))
        if standing.state != "running" or standing.wanted:
            raise Stopped(standing.wanted or "cancel")

    @property
    def model(self) -> str:
        """Digest of what the run's model stands for now: targets and their revisions."""
        return self.rooms.catalog.value.route(self.run.project, self.run.alias).digest.hex()

    @property
    def plan(self) -> SearchPlan:
        """What the search may do."""
        settings = self.rooms.settings
        wish, plan = self.run.wish, self.run.plan
        looks = planning.review_calls(wish, plan.counts.get("dev", 0)) if plan.review else 0
        calls = planning.search_calls(wish, settings, plan.pairs, looks)
        return SearchPlan(calls=max(1, calls), finalists=settings.finalists)


# --- the phases ---------------------------------------------------------------------------------------------------


async def select(shop: Shop) -> Ending | None:
    """See that what was planned is still there."""
    train, dev = await shop.examples()
    if not train or not dev:
        raise Invalid(
            "The examples of this run have been erased.",
            code="empty_dataset",
            hint="Make a version of the dataset with others, and start anew.",
        )
    await shop.records.candidates(shop.run.id, [await shop.base()])
    await shop.records.decide(shop.run.id, "select", {"train": len(train), "dev": len(dev)})
    return None


async def headroom(shop: Shop) -> Ending | None:
    """See whether there is anything to gain."""
    decided = await shop.records.decision(shop.run.id, "headroom")
    if decided is None:
        shop.meter.purpose = "probe"
        train, dev = await shop.examples()
        found = await shop.rooms.searching(shop.run.project).probe(
            await shop.base(),
            train,
            dev,
            shop.meter.evaluate,
            shop.plan,
            seed=shop.run.wish.seed,
            on_round=shop.on_round,
        )
        if found.stopped:
            # Nothing is known yet, so nothing is decided: with more it goes on from here.
            return Ending("paused", found.stopped)
        if found.base is None:
            # Without a figure for the incumbent nothing can be found better than it: all that follows would be for
            # nothing. What was noted goes, so that a mended scorer is heard; answers stay in the journal.
            await shop.records.forget(shop.run.id)
            return Ending("paused", f"{shop.meter.told}. Mend the scorer or the model and resume the run, or cancel it")
        decided = await shop.records.decide(shop.run.id, "headroom", _json(found))
    if decided.get("nothing"):
        return Ending("nothing-to-gain", str(decided.get("reason", "")))
    return None


async def search(shop: Shop) -> Ending | None:
    """Look for better prompts; the probe's calls are in the journal and cost nothing again."""
    decided = await shop.records.decision(shop.run.id, "search")
    if decided is None:
        shop.meter.purpose = "search"
        train, dev = await shop.examples()
        wish = shop.run.wish
        found = await shop.rooms.searching(shop.run.project).search(
            await shop.base(),
            train,
            dev,
            shop.meter.evaluate,
            shop.plan,
            seed=wish.seed,
            on_round=shop.on_round,
            name=wish.optimizer,
            reflect=shop.rooms.measuring.reflect(shop.run, shop.meter.reins) if wish.reflection else None,
            polish=wish.polish,
        )
        await shop.records.candidates(shop.run.id, [*found.candidates, *found.finalists])
        if found.stopped and not found.finalists:
            return Ending("paused", found.told or f"the search was ended: {found.stopped}")
        decided = await shop.records.decide(
            shop.run.id,
            "search",
            {
                "finalists": [one.id for one in found.finalists],
                "standings": _json(found.standings),
                "refused": _json(found.refused),
                "calls": found.calls,
                "stopped": found.stopped,
            },
        )
    if not decided["finalists"]:
        return Ending("refused", "the search found nothing that did better than the incumbent on the open examples")
    return None


async def prove(shop: Shop) -> Ending | None:
    """Open the sealed examples, once, and let the gate decide."""
    decided = await shop.records.decision(shop.run.id, "gate")
    if decided is None:
        shop.meter.purpose = "gate"
        model = shop.model
        decision = await _judged(shop)
        if shop.model != model:
            # The incumbent by one model and a candidate by another: that compares models, not prompts.
            raise Unavailable(
                f"What the model {shop.run.alias!r} stands for was changed while sealed examples were measured.",
                code="model_changed",
                hint="Resume the run: everybody is measured again by the new one.",
            )
        decided = await shop.records.decide(
            shop.run.id,
            "gate",
            {**decision.body, "promoted": decision.promoted, "sentence": decision.sentence, "model": model},
        )
    if not decided["promoted"]:
        return Ending("refused", str(decided["sentence"]))
    return None


async def review(shop: Shop) -> Ending | None:
    """Let people look at answers where the policy asks for it."""
    run, reviewing = shop.run, shop.rooms.reviewing
    if not run.plan.review:
        return None
    if reviewing is None:
        return Ending("paused", "people have to look at answers, and there are no review queues here")
    train, dev = await shop.examples()
    decided = await shop.records.decision(run.id, "review")
    if decided is None:
        passed, figures = await reviewing.verdict(run)
        if passed is None:
            shop.meter.purpose = "search"
            gate = await _gate(shop)
            everybody = await shop.candidates()
            cells: dict[str, list[Cell]] = {}
            base, new = await shop.base(), everybody[gate.promoted]
            for one in (base, new):
                # How sure it is of the old answers decides nothing: nothing is asked again for that.
                cells[one.id] = list(await shop.meter.cells(one, dev, "search", confidence=one is new))
            asked = await reviewing.ask(run, cells, dev, train)
            if not asked:
                # Nobody has looked: that is no word in its favour.
                return Ending(
                    "paused",
                    "people have to look at answers, and the review queue draws none of them; change its sampling",
                )
            return Ending("reviewing", f"{asked} answers wait for reviewers")
        decided = await shop.records.decide(run.id, "review", {"passed": passed, **figures})
    if not decided["passed"]:
        return Ending("refused", "the reviewers did not find the new answers good enough")
    return None


async def release(shop: Shop) -> Ending | None:
    """Write the champion as a version, and propose its release."""
    rooms, run = shop.rooms, shop.run
    gate = await _gate(shop)
    champion = (await shop.candidates())[gate.promoted]
    await releasing.see_rights(rooms, run)
    moved = await releasing.moved(rooms, run)
    if moved:
        return Ending("refused", moved, {"champion": champion.id})
    if gate.body.get("model", shop.model) != shop.model:
        why = f"what the model {run.alias} stands for was changed since the proof, which says nothing of the new one"
        return Ending("refused", f"{why}; start another run", {"champion": champion.id})
    await shop.go_on()
    number = await releasing.make_version(rooms, run, champion, gate)
    more: dict[str, Any] = {"champion": champion.id, "number": number}
    if not run.wish.release:
        return Ending("proposed", f"{gate.sentence} It is version {number}; no release was asked for", more)
    try:
        found = await releasing.propose(rooms, run, number, gate)
    except Conflict as error:
        if error.code != _RELEASED_ELSEWHERE:
            raise
        return Ending("paused", f"{error.message} Resume the run when it is done", more)
    try:
        await rooms.evaluated(found, run, gate)
    except Conflict as error:
        if error.code != _STALE:
            raise
        # The label was moved in this very moment: what is proposed is not what was proven.
        await rooms.releases.withdraw(releasing.author(run), found.id, error.message)
        why = await releasing.moved(rooms, run) or error.sentence
        return Ending("refused", why, more)
    return Ending("proposed", gate.sentence, {**more, "release": found.id})


STAGES: Mapping[Phase, Callable[[Shop], Awaitable[Ending | None]]] = {
    "select": select,
    "headroom": headroom,
    "search": search,
    "prove": prove,
    "review": review,
    "release": release,
}


async def _judged(shop: Shop) -> Decision:
    """Measure the incumbent and the finalists on the sealed examples: on all at once, or as many as it takes."""
    run = shop.run
    examples = [one for one in await shop.rooms.data.open_holdout(run, run.plan.alpha) if not one.erased]
    entrants = await _entrants(shop)
    base, *finalists = (one.id for one in entrants)
    models = proving.judges_of(run.wish)
    judges = await shop.rooms.calibrations(run, models) if models else None
    size = len(examples) if run.wish.mode == "fixed" else _LOOK
    cells: dict[str, list[Cell]] = {one.id: [] for one in entrants}
    seen = 0
    while True:
        new = examples[seen : seen + size]
        for one in entrants:
            cells[one.id] += await shop.meter.cells(one, new, "holdout")
        seen += len(new)
        judge = functools.partial(
            shop.rooms.judging,
            run,
            examples[:seen],
            cells,
            base,
            finalists,
            remaining=len(examples) - seen,
            judges=judges,
        )
        decision = await asyncio.to_thread(judge)
        if decision.outcome != "wait" or seen >= len(examples):
            return decision


async def _entrants(shop: Shop) -> list[Candidate]:
    """The incumbent and the finalists."""
    decided = await shop.records.decision(shop.run.id, "search")
    assert decided is not None, "a search was decided before it is proved"
    everybody = await shop.candidates()
    return [await shop.base(), *(everybody[name] for name in decided["finalists"])]


async def _gate(shop: Shop) -> Decision:
    decided = await shop.records.decision(shop.run.id, "gate")
    assert decided is not None, "nothing is released that no gate has passed"
    return Decision(
        outcome=str(decided.get("outcome", "")),
        promoted=decided["promoted"],
        sentence=decided["sentence"],
        body=decided,
    )


def _json(value: object) -> Json | Any:
    return msgspec.to_builtins(value)
