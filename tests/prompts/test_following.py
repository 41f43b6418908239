"""Who follows a project hears of its changes, of no other's, and of several as one; not more follow than may."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from inside import SYSTEM, World, inside

from ostinato.core.errors import Unavailable
from ostinato.prompts import Draft, Following


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with inside() as found:
        yield found


async def make(world: World, project: str, name: str) -> None:
    await world.app.prompts.create(SYSTEM, project, name, kind="text", draft=Draft(text=name))


async def test_changes_of_the_own_project_are_heard(world: World):
    first, second = await world.first_project(), await world.new_project("second")
    following = world.app.following
    with following.follow(first) as one, following.follow(second) as other:
        before = one.mark
        await make(world, first, "a")
        await make(world, first, "b")
        assert await one.next(1.0) and one.mark == following.mark(first) != before
        assert not await one.next(0.01)
        assert not await other.next(0.01)
        assert len(following) == 2
    assert len(following) == 0


async def test_marks_are_of_the_state_and_not_of_the_process(world: World):
    project = await world.first_project()
    await make(world, project, "a")
    again = Following(world.app.prompts.snapshot)
    assert again.mark(project) == world.app.following.mark(project)
    before = again.mark(project)
    draft = Draft(text="more")
    await world.app.prompts.add_version(SYSTEM, project, "a", draft)
    added = again.mark(project)
    await world.app.prompts.declare_label(SYSTEM, project, "staging")
    await world.app.prompts.move_label(SYSTEM, project, "a", "staging", 2)
    assert len({before, added, again.mark(project)}) == 3
    await world.app.prompts.add_version(SYSTEM, project, "a", draft)  # there already
    assert again.mark(project) != added


async def test_not_more_than_may(world: World):
    following = Following(world.app.prompts.snapshot, most=1)
    with following.follow("p"), pytest.raises(Unavailable) as caught:
        following.refuse_if_full()
    assert caught.value.code == "too_many_followers" and caught.value.retry_after
    following.refuse_if_full()


async def test_when_the_server_drains_everybody_goes(world: World):
    following = Following(world.app.prompts.snapshot)
    with following.follow("p") as one:
        waiting = asyncio.create_task(one.next(5.0))
        await asyncio.sleep(0)
        following.end()
        assert await waiting is False and one.ended
    with pytest.raises(Unavailable):
        following.refuse_if_full()
