"""Experiments from the wish to the comparison; what cannot work is told before anything is spent."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parent))

from experiment_kit import BAD, EXACT, GOOD, SYSTEM, Lab, Model, lab, right
from inside import BASE, App, World, configured, until

from ostinato import access, datasets, evals, prompts, scorers, storage
from ostinato.calls import Limits
from ostinato.core.clock import SystemClock
from ostinato.core.errors import Conflict, Denied, Invalid, NotFound, OstinatoError
from ostinato.evals import results, tables
from ostinato.providers.model import ProviderFailure


async def test_from_wish_to_comparison() -> None:
    async with lab() as room:
        await room.dataset()
        made = await room.begin(BAD, GOOD, note="to see")
        told = await room.ended(made.id)
        assert (told.experiment.state, told.done, told.total) == ("done", made.cells, made.cells)
        assert told.spent.calls == made.cells == len(room.model.asked)
        results = await room.door.results(SYSTEM, made.id)
        bad, good = results.figures
        assert (good.n, good.scored, good.unscored, good.failed) == (made.examples, made.examples, 0, {})
        assert good.mean is not None and good.mean.mean == 1.0 and bad.mean is not None
        wrong = sum(int(text.rpartition("t")[2]) % 3 == 0 for text in room.model.asked if text.startswith("Bad"))
        assert bad.mean.mean == pytest.approx(1 - wrong / made.examples)
        assert bad.mean.low < bad.mean.mean < bad.mean.high
        assert (good.input_tokens, good.cached_tokens, good.cached_share) == (10 * good.n, 4 * good.n, 0.4)
        assert good.cost == 18_000 * good.n, "six and four read at $1, two written at $4 a million"
        (comparison,) = results.comparisons
        assert (comparison.base, comparison.variant) == ("bad", "good")
        assert (comparison.wins, comparison.losses, comparison.pairs, comparison.unpaired) == (wrong, 0, good.n, 0)
        assert comparison.test == "mcnemar" and comparison.p is not None and comparison.p < 1e-4
        assert comparison.difference is not None and comparison.difference.low > 0
        assert {one.stratum for one in comparison.slices} == {"odd", "even"}
        assert sum(one.pairs for one in comparison.slices) == comparison.pairs
        assert "holdout" in results.remark
        # Variant after variant, so that equal beginnings of prompts follow one another.
        # Those under way at the turn from one to the next may overtake one another, and nothing else.
        order = [text[:3] for text in room.model.asked]
        assert sum(one != other for one, other in zip(order, sorted(order), strict=True)) <= 16
        rows = await room.world.rows(made.cells)
        assert {row.tags for row in rows} == {f"loop:experiment,run:{made.id}"}


async def test_cells_are_counted_as_they_are_measured() -> None:
    """And not once a batch of them is written."""
    async with lab() as room:
        await room.dataset(40)
        gate = asyncio.Event()
        room.model.before = lambda n: gate.wait() if n > 20 else None
        made = await room.begin(GOOD)

        async def measured() -> int:
            return (await room.door.show(SYSTEM, made.id)).done

        for _ in range(500):
            if await measured() >= 12:
                break
            await asyncio.sleep(0.02)
        assert 12 <= await measured() <= 20
        gate.set()
        told = await room.ended(made.id)
        assert told.done == told.total == made.cells


async def test_two_datasets_have_no_pairs_and_it_says_so() -> None:
    async with lab() as room:
        await room.dataset(40)
        project = await room.world.first_project()
        some = [datasets.NewExample(inputs={"text": f"t{n}"}, reference="yes") for n in range(200, 240)]
        await room.world.app.datasets.create(SYSTEM, "others", project=project, examples=some)
        one, two = await room.begin(GOOD), await room.begin(GOOD, dataset="others")
        for made in (one, two):
            await room.ended(made.id)
        compared = await room.door.compare(SYSTEM, (one.id, ""), (two.id, ""))
        assert compared.pairs == 0 and "'topics'" in compared.why and "'others'" in compared.why
        assert (await room.door.compare(SYSTEM, (one.id, ""), (one.id, ""))).why == ""
        parts = [await room.begin(GOOD, splits=(part,)) for part in ("train", "dev")]
        for made in parts:
            await room.ended(made.id)
        compared = await room.door.compare(SYSTEM, (parts[0].id, ""), (parts[1].id, ""))
        assert "train of version 1" in compared.why and "dev of version 1" in compared.why


def test_a_stratum_of_a_few_pairs_has_no_interval() -> None:
    def cells(value: float) -> dict[str, evals.Cell]:
        return {
            f"e{n}": evals.Cell(example=f"e{n}", variant="v", value=value, stratum="rare" if n < 3 else "usual")
            for n in range(20)
        }

    compared = results.compare("a", "b", cells(0.0), cells(1.0), seed=1)
    by = {one.stratum: one for one in compared.slices}
    assert by["rare"].difference is None and (by["rare"].pairs, by["rare"].wins) == (3, 3)
    assert by["usual"].difference is not None and by["usual"].difference.mean == 1.0


@pytest.mark.parametrize("right", [1.0, 0.7])
def test_intervals_say_what_the_p_values_beside_them_say(right: float) -> None:
    """Four better of forty and the rest alike: a bootstrap said 2.5 to 22.5 points beside p = 0.125."""

    def cells(*better: int) -> dict[str, evals.Cell]:
        return {
            f"e{n:02}": evals.Cell(
                example=f"e{n:02}",
                variant="v",
                value=right if n in better or n % 2 else 0.0,
                stratum="alike" if n >= 20 else "mixed",
            )
            for n in range(40)
        }

    compared = results.compare("a", "b", cells(), cells(0, 2, 4, 6), seed=1)
    assert (compared.wins, compared.losses, compared.p) == (4, 0, 0.125)
    assert compared.difference is not None and compared.difference.low <= 0 < compared.difference.high
    by = {one.stratum: one for one in compared.slices}
    alike, mixed = by["alike"].difference, by["mixed"].difference
    assert alike is not None and alike.low < -0.1 and alike.high > 0.1 and by["alike"].p == 1
    assert mixed is not None and mixed.low <= 0 and mixed.confidence == 0.975
    # Ten of ten are significant, and so is their interval; that of a stratum as its p-value after Holm.
    compared = results.compare("a", "b", cells(), cells(*range(0, 20, 2)), seed=1)
    assert compared.p is not None and compared.p < 0.01
    assert compared.difference is not None and compared.difference.low > 0
    by = {one.stratum: one for one in compared.slices}
    assert by["mixed"].p < 0.01 and by["mixed"].difference is not None and by["mixed"].difference.low > 0


async def test_the_holdout_takes_no_part() -> None:
    async with lab() as room:
        await room.dataset()
        version = await room.world.app.datasets.version(SYSTEM, "topics", project=await room.world.first_project())
        made = await room.begin(GOOD)
        assert made.examples == version.counts["train"] + version.counts["dev"] < 120
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"dataset": "d", "variants": [], "scorers": [], "splits": ["holdout"]}, evals.Wish)
        await room.ended(made.id)
        assert await room.world.app.datasets.looks(SYSTEM, "topics", project=version.project) == ()


async def test_a_registered_prompt_on_several_models() -> None:
    async with lab('[models.second]\ntargets = ["fake/second"]\n') as room:
        await room.dataset(40)
        project = await room.world.first_project()
        draft = msgspec.convert({"text": "Good: {{text}}"}, prompts.Draft)
        await room.world.app.prompts.create(SYSTEM, project, "sort", kind="text", draft=draft)
        made = await room.begin(evals.Contender(prompt="sort@1"), models=("plain", "second"), examples=10, seed=4)
        assert [(one.name, one.prompt, one.number, one.model) for one in made.arms] == [
            ("sort@1 plain", "sort", 1, "plain"),
            ("sort@1 second", "sort", 1, "second"),
        ]
        told = await room.ended(made.id)
        assert (told.experiment.state, made.examples, told.spent.calls) == ("done", 10, 20)
        assert told.spent.unpriced == 10
        (comparison,) = (await room.door.results(SYSTEM, made.id)).comparisons
        assert (comparison.ties, comparison.p, comparison.cost) == (10, 1.0, None)


async def test_a_budget_that_ends_pauses_and_a_larger_one_goes_on() -> None:
    async with lab() as room:
        await room.dataset(60)
        made = await room.begin(BAD, GOOD, limits=Limits(calls=15))
        told = await room.ended(made.id)
        assert told.experiment.state == "paused" and "15 calls are spent" in told.experiment.why
        assert told.done == 15 == len(room.model.asked)
        again = await room.door.resume(SYSTEM, made.id, Limits(calls=1000))
        assert (again.state, again.round) == ("queued", 2)
        told = await room.ended(made.id)
        assert (told.experiment.state, told.done) == ("done", made.cells)
        assert len(room.model.asked) == made.cells, "no call was paid for twice"


async def test_cancel_and_go_on() -> None:
    async with lab() as room:
        await room.dataset(60)
        gate = asyncio.Event()
        room.model.before = lambda n: gate.wait() if n > 5 else None
        made = await room.begin(GOOD)
        await until(lambda: len(room.model.asked) > 5, 20_000)
        ended = await room.door.cancel(SYSTEM, made.id, "Not now.")
        assert (ended.state, ended.why) == ("cancelled", "Not now.")
        gate.set()
        with pytest.raises(Conflict):
            await room.door.cancel(SYSTEM, made.id)
        await room.door.resume(SYSTEM, made.id)
        told = await room.ended(made.id)
        assert (told.experiment.state, told.done) == ("done", made.cells)
        assert len(room.model.asked) == made.cells


async def test_a_restart_in_the_middle(tmp_path: Path) -> None:
    """The server stops while an experiment runs; the next start goes on with it, and pays for nothing again."""
    model, asked = Model(), 0
    gate = asyncio.Event()
    for last in (False, True):
        app = App(configured(BASE, str(tmp_path)), SystemClock())
        await app.start()
        app.providers["fake"].chat = model.chat  # pyright: ignore
        model.say = right(3)
        model.before = lambda n: None if n <= 10 or gate.is_set() else gate.wait()
        if not last:
            await app.access.first_start()
            room = Lab(World(app, ""), model)
            await room.dataset(60)
            made = await room.begin(BAD, GOOD)
            await until(lambda: len(model.asked) > 10, 20_000)
            stopping = asyncio.create_task(app.stop())
            await asyncio.sleep(0.05)
            gate.set()
            await stopping
            asked = len(model.asked)
            assert asked < made.cells
        else:
            told = await Lab(World(app, ""), model).ended(made.id)
            assert (told.experiment.state, told.done) == ("done", made.cells)
            assert len(model.asked) == made.cells == told.spent.calls
            await app.stop()


async def test_failures_of_examples_and_of_everything() -> None:
    async with lab() as room:
        await room.dataset(60)
        refused = ProviderFailure("no", failure="request", upstream_status=400)

        async def refuse() -> None:
            raise refused

        room.model.before = lambda n: refuse() if n == 3 else None
        told = await room.ended((await room.begin(GOOD)).id)
        (figures,) = (await room.door.results(SYSTEM, told.experiment.id)).figures
        assert told.experiment.state == "done" and figures.failed == {"upstream_request": 1}
        assert figures.scored == figures.n - 1

        async def unknown() -> None:
            raise ProviderFailure("The key is refused.", failure="credential", upstream_status=401)

        room.model.before = lambda _n: unknown()
        told = await room.ended((await room.begin(BAD)).id)
        assert told.experiment.state == "failed" and "refused" in told.experiment.why


async def test_scorers_that_fail_leave_cells_unscored() -> None:
    async with lab() as room:
        await room.dataset(20)
        broken = scorers.Spec(kind="json-schema", name="shape", config={"schema": {"type": "object"}})
        made = await room.begin(GOOD, scorers=(EXACT, broken))
        await room.ended(made.id)
        (figures,) = (await room.door.results(SYSTEM, made.id)).figures
        by_name = {one.scorer.partition("@")[0]: one for one in figures.scorers}
        assert by_name["exact"].mean == 1.0
        assert by_name["shape"].scored + by_name["shape"].unscored == made.examples


async def test_why_answers_are_unscored_is_told_to_who_may_read_texts() -> None:
    async with lab() as room:
        await room.dataset(20)
        broken = scorers.Spec(kind="numeric", name="count")
        made = await room.begin(GOOD, scorers=(EXACT, broken))
        await room.ended(made.id)

        async def why(actor: access.Actor) -> dict[str, int]:
            (figures,) = (await room.door.results(actor, made.id)).figures
            return next(one.why for one in figures.scorers if one.scorer.startswith("count@"))

        cells = await room.door.cells(SYSTEM, made.id)
        said = {score.rationale: score.label for cell in cells for score in cell.scores if score.value is None}
        ((rationale, label),) = said.items()
        assert rationale and await why(SYSTEM) == {rationale: made.examples}
        secret = await room.world.new_key(None, permissions=frozenset({"evals:read"}))
        blind = room.world.app.access.authenticate(secret, room.world.clock.now())
        assert await why(blind) == {label or "unscored": made.examples}


async def test_compare_two_experiments_and_read_cells() -> None:
    async with lab() as room:
        await room.dataset(40)
        one, two = await room.begin(BAD), await room.begin(GOOD)
        await room.ended(one.id)
        await room.ended(two.id)
        told = await room.door.compare(SYSTEM, (one.id, ""), (two.id, "good"))
        assert (told.base, told.variant, told.unpaired) == ("bad", "good", 0) and told.wins > 0
        with pytest.raises(NotFound, match="no variant"):
            await room.door.compare(SYSTEM, (one.id, "ugly"), (two.id, ""))
        first, second = await room.door.cells(SYSTEM, two.id, limit=2)
        (third,) = await room.door.cells(SYSTEM, two.id, after=second.example, limit=1)
        assert first.example < second.example < third.example and first.output in ("yes", "no")
        assert await room.door.erase(first.example) == 2
        bare = (await room.door.cells(SYSTEM, two.id, limit=1))[0]
        assert (bare.output, bare.value) == ("", first.value), "figures stay"


WRONG: list[tuple[dict[str, Any], str, type[OstinatoError]]] = [
    ({"variants": ()}, "no_variants", Invalid),
    ({"variants": (msgspec.structs.replace(GOOD, model="nobody"),)}, "model_not_found", NotFound),
    ({"variants": (msgspec.structs.replace(GOOD, model=""),)}, "no_model", Invalid),
    ({"variants": (GOOD, GOOD)}, "invalid_variant", Invalid),
    ({"variants": (evals.Contender(prompt="nothing"),)}, "prompt_not_found", NotFound),
    ({"variants": (evals.Contender(model="plain"),)}, "invalid_variant", Invalid),
    ({"scorers": ()}, "no_scorers", Invalid),
    ({"scorers": (scorers.Spec(kind="nonsense"),)}, "", Invalid),
    ({"scorers": (scorers.Spec(kind="recall-at-k", config={"k": 3}),)}, "scorer_needs", Invalid),
    ({"limits": Limits(calls=0)}, "empty_budget", Invalid),
    ({"limits": Limits(nano=0)}, "empty_budget", Invalid),
    ({"dataset": "elsewhere"}, "dataset_not_found", NotFound),
    ({"examples": 0}, "invalid_examples", Invalid),
    ({"splits": ()}, "no_examples", Invalid),
]


async def test_bad_input_costs_nothing() -> None:
    async with lab('[models.free]\ntargets = ["other/unknown"]\n') as room:
        await room.dataset(30)
        project = await room.world.first_project()
        for fields, code, kind in WRONG:
            named = {"variants": (GOOD,), **fields}
            variants = named.pop("variants")
            with pytest.raises(kind) as told:
                await room.begin(*variants, **named)
            assert not code or told.value.code == code, (fields, told.value.code, told.value.message)
        lacking = evals.Contender(content=prompts.Draft(text="{{text}} about {{topic}}"), model="plain")
        with pytest.raises(Invalid, match="topic") as told:
            await room.begin(lacking)
        assert "examples" in told.value.message and "inline" in told.value.message
        unpriced = msgspec.structs.replace(GOOD, model="free")
        with pytest.raises(Invalid) as told:
            await room.begin(unpriced, limits=Limits(nano=1))
        assert told.value.code == "price_unknown"
        unused = [datasets.NewExample(inputs={"text": "t1"})]
        await room.world.app.datasets.create(SYSTEM, "bare", project=project, examples=unused)
        with pytest.raises(Invalid) as told:
            await room.begin(GOOD, dataset="bare")
        assert told.value.code in ("scorer_needs", "no_examples")
        assert room.model.asked == [] and await room.door.list(SYSTEM, project=project) == []


async def test_whose_experiments_they_are() -> None:
    async with lab() as room:
        await room.dataset(20)
        made = await room.begin(GOOD)
        await room.ended(made.id)
        other = await room.world.new_project("other")
        app, now = room.world.app, room.world.clock.now()

        async def caller(project: str | None, **grant: Any) -> access.Caller:
            permissions = frozenset({"evals:read", "evals:run", "datasets:read", "datasets:text", "chat:call"})
            secret = await room.world.new_key(project, permissions=permissions, **grant)
            return app.access.authenticate(secret, now)

        stranger = await caller(other)
        for asking in (
            room.door.show(stranger, made.id),
            room.door.results(stranger, made.id),
            room.door.cells(stranger, made.id),
            room.door.cancel(stranger, made.id),
        ):
            with pytest.raises(NotFound):
                await asking
        assert await room.door.list(stranger) == []
        mine = await caller(None)
        assert [one.id for one in await room.door.list(mine)] == [made.id]
        narrow = await caller(None, allowed_models=frozenset({"vectors"}))
        with pytest.raises(OstinatoError):
            await room.door.create(narrow, room.wish(GOOD))
        thrifty = await caller(None, budget=access.MoneyBudget(10**9))
        with pytest.raises(Denied) as told:
            await room.door.create(thrifty, room.wish(GOOD))
        assert told.value.code == "limit_needed"
        judge = scorers.Spec(kind="judge", config={"model": "plain", "rubric": "Is it right?"})
        chain = {"retriever": "x", "rewrite": {"alias": "plain"}}
        only = await caller(None, allowed_models=frozenset({"vectors"}))
        for wish in (
            room.wish(GOOD, models=("vectors",), scorers=(judge,)),
            room.wish(msgspec.structs.replace(GOOD, retrieval=chain), models=("vectors",)),
        ):
            with pytest.raises(OstinatoError) as refused:
                await room.door.create(only, wish)
            assert refused.value.code in ("model_not_allowed", "model_not_found"), refused.value
        await room.door.cancel(mine, (again := await room.begin(BAD)).id)
        with pytest.raises(Denied, match="money budget"):
            await room.door.resume(thrifty, again.id, Limits(calls=10))


def test_tables_are_what_the_revisions_made(
    control: storage.Database, database_url: str, schema_drift: Callable[[storage.Database, sa.MetaData], list]
) -> None:
    assert schema_drift(control, tables.metadata) == []
    work = storage.open_database("work", database_url.replace("database.db", "work.db"))
    try:
        storage.migrate(work)
        assert schema_drift(work, tables.work_metadata) == []
    finally:
        work.close()
