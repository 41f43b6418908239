"""Answers of different models never lie under one key, in whichever tier; after a way back the old ones are warm."""

from inside import SYSTEM
from updating_kit import only, planned, room, world

OLD, NEW = "fake/plain", "other/plain"


async def test_an_old_answer_is_never_served_as_the_new_models() -> None:
    async with world() as at:
        for _ in range(3):
            old = await at.chat("Why?", model="used")
        assert (old.cache, old.headers["ostinato-target"]) == ("hit-exact", OLD)
        await only(at, 1.0)
        for raw in (True, False, True):
            got = await at.chat("Why?", model="used", raw=raw)
            assert got.headers["ostinato-target"] == NEW
        assert got.cache == "hit-exact"  # by now it is the new model's own


async def test_after_the_way_back_old_answers_are_warm_and_new_ones_gone() -> None:
    async with world() as at:
        await at.chat("Why?", model="used")
        made = await only(at, 1.0)
        await at.chat("Why?", model="used")
        calls = at.fake.calls
        await room(at).abandon(SYSTEM, made.id, "enough")
        for raw in (True, False):
            back = await at.chat("Why?", model="used", raw=raw)
            assert (back.cache, back.headers["ostinato-target"]) == ("hit-exact", OLD)
        assert at.fake.calls == calls


async def test_a_plan_moves_nothing_and_can_be_asked_by_name() -> None:
    async with world() as at:
        made = await planned(at)
        assert (await at.chat("Why?", model="used")).headers["ostinato-target"] == OLD
        named = await at.chat("Why?", model=f"used@{made.id}")
        assert (named.headers["ostinato-target"], named.cache) == (NEW, "miss")
