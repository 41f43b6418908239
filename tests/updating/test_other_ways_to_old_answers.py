"""Stale rules, withdrawals, other projects: none brings an old model's answer under the new one's name."""

import pytest
from inside import SYSTEM
from updating_kit import QUICK, begun, only, planned, room, world

from ostinato import cache
from ostinato.core.errors import Invalid

OLD, NEW = "fake/plain", "other/plain"
STALE = {"stale_while_revalidate": 3_600.0, "stale_if_error": 3_600.0, "ttl": 10.0, "ttl_jitter": 0.0}


async def test_stale_rules_give_no_old_answer() -> None:
    async with world() as at:
        await at.declare("policies", "stale", {"alias": "used", **STALE})
        await at.chat("Why?", model="used")
        at.clock.advance(60)
        await only(at, 1.0)
        got = await at.chat("Why?", model="used")
        assert (got.cache, got.headers["ostinato-target"]) == ("miss", NEW)


async def test_a_new_model_that_fails_is_not_covered_by_the_olds_stale_answer() -> None:
    async with world() as at:
        await at.declare("policies", "stale", {"alias": "used", **STALE})
        await at.chat("Why?", model="used")
        at.clock.advance(60)
        await only(at, 1.0, "other/fail400")
        got = await at.patiently(body={"model": "used", "messages": [{"role": "user", "content": "Why?"}]})
        assert got.status >= 400 or got.headers["ostinato-target"] != OLD


async def test_withdrawn_while_dormant_is_not_warm_after_the_way_back() -> None:
    async with world() as at:
        await at.chat("Why?", model="used")
        made = await only(at, 1.0)
        await at.app.cache.invalidate(cache.Selector(org=made.org, project=made.project, alias="used"), dry_run=False)
        await room(at).abandon(SYSTEM, made.id)
        assert (await at.chat("Why?", model="used")).cache == "miss"


async def test_the_control_takes_no_part_in_the_cache() -> None:
    async with world() as at:
        await at.chat("Why?", model="used")
        await only(at, 0.5, control=0.5)
        seen: set[tuple[str, str]] = set()
        for n in range(12):
            for _ in range(2):
                got = await at.chat("Why?", {"ostinato-session": f"s{n}"}, model="used")
            seen.add((got.headers["ostinato-target"], got.cache))
        assert seen == {(OLD, "bypass"), (NEW, "hit-exact")}


async def test_embeddings_have_no_canary() -> None:
    async with world() as at:
        with pytest.raises(Invalid):
            await planned(at, "fake/others", alias="vectors")


async def test_other_projects_are_not_touched() -> None:
    async with world() as at:
        key = await at.new_key(await at.new_project("side"))
        await begun(at, rollout=QUICK)
        made = await room(at).list(SYSTEM, project=await at.first_project())
        assert made[0].state == "canary"
        for n in range(40):
            got = await at.chat(f"q{n}", model="used", key=key)
            assert got.headers["ostinato-target"] == OLD
        assert (await at.chat("q", model=f"used@{made[0].id}", key=key)).status == 404
