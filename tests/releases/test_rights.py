"""What approvers may, as the real room of access has it in the transaction of the start."""

from typing import Any

import pytest
from release_kit import ORG, PROJECT, SYSTEM, Opener, Process, point

from ostinato.access import Access, Caller, Grant, PrincipalChanges, Wanted
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Conflict, Denied
from ostinato.releases import Proposal
from ostinato.releases.rights import standing_rights

MAY = {
    "author": frozenset({"releases:read", "releases:propose", "releases:approve", "keys:write"}),
    "approver": frozenset({"releases:read", "releases:approve"}),
}


class People:
    """Principals with keys, made by the real ``Access``."""

    def __init__(self, process: Process, clock: ManualClock) -> None:
        self.access = Access(process.database, process.notices, clock, log=process.log)
        self.clock = clock

    async def key(self, name: str, role: str, maker: Any = None, **options: Any) -> Caller:
        grant = Grant(permissions=MAY[role])
        _, secret = await self.access.create_key(maker or SYSTEM, name, grant, PROJECT, **options)
        return self.access.authenticate(secret, self.clock.now())


@pytest.fixture
async def people(open_process: Opener, clock: ManualClock) -> Any:
    process = await open_process(rights=standing_rights)
    point(process, 1)
    people = People(process, clock)
    await people.access.start()
    yield process, people
    await people.access.stop()


async def proposed(process: Process, author: Caller) -> Any:
    return await process.releases.propose(author, Proposal(prompt="greeting", number=2, reason="better"), PROJECT)


async def test_a_second_key_of_the_same_maker_is_the_author(people: Any) -> None:
    process, room = people
    author = await room.key("first", "author")
    second = await room.key("second", "approver", maker=author)
    third = await room.key("third", "approver", maker=author)
    release = await proposed(process, author)
    for key in (author, second, third):
        with pytest.raises(Denied) as caught:
            await process.releases.approve(key, release.id, release.digest)
        assert caught.value.code == "self_approval"


@pytest.mark.parametrize("how", ["revoke the key", "disable the person", "unbind the role", "let the key expire"])
async def test_who_lost_the_right_does_not_count_at_the_start(people: Any, clock: ManualClock, how: str) -> None:
    process, room = people
    author = await room.key("author", "author")
    person = await room.access.create_principal(SYSTEM, "rui", "Rui", organization=ORG)
    binding = await room.access.bind(SYSTEM, Wanted(principal=person.id, role="approver"))
    _, secret = await room.access.create_key(
        SYSTEM,
        "laptop",
        Grant(permissions=MAY["approver"], expires_at=clock.now() + 3_600_000_000),
        PROJECT,
        principal=person.id,
    )
    approver = room.access.authenticate(secret, clock.now())
    release = await proposed(process, author)
    release = await process.releases.approve(approver, release.id, release.digest)
    assert release.state == "approved"
    if how == "revoke the key":
        await room.access.revoke_key(SYSTEM, approver.key_id)
    elif how == "disable the person":
        await room.access.update_principal(SYSTEM, person.id, PrincipalChanges(disabled=True))
    elif how == "unbind the role":
        await room.access.unbind(SYSTEM, binding.id)
    else:
        clock.advance(3601)
    with pytest.raises(Conflict) as caught:
        await process.releases.start(SYSTEM, release.id)
    assert caught.value.code == "approvals_missing" and "does not count" in caught.value.message
    assert process.resolve().number == 1
    another = await room.key("another", "approver")
    await process.releases.approve(another, release.id, release.digest)
    assert (await process.releases.start(SYSTEM, release.id)).state == "active"
