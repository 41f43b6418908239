"""Releases for the matrix: one in the state that each route asks for."""

from typing import Any

from control import Plane
from inside import SYSTEM

from ostinato import prompts
from ostinato.access import Caller
from ostinato.releases import Plan, Proposal, Step

STEPS = Plan(steps=(Step(0.1), Step(0.2)))


async def prompt(plane: Plane, tenant: str) -> str:
    """A prompt of two versions, whose label ``production`` points at the first."""
    plane.numbers += 1
    name, home = f"released-{plane.numbers}", plane.projects[tenant]
    for number in (1, 2):
        draft = prompts.Draft(text=f"{name} {number}")
        if number == 1:
            await plane.app.prompts.create(SYSTEM, home, name, kind="text", draft=draft)
        else:
            await plane.app.prompts.add_version(SYSTEM, home, name, draft)

    def point(connection: Any) -> None:
        prompts.assign(connection, project=home, prompt=name, label="production", number=1, actor=SYSTEM, now=1)

    await plane.app.control.run(point)
    return name


async def somebody(plane: Plane, tenant: str) -> Caller:
    """A key of the tenant that may do everything with releases."""
    may = {f"releases:{verb}" for verb in ("read", "propose", "approve", "operate")}
    secret = await plane.key(frozenset(may), tenant)
    return plane.app.access.authenticate(secret, plane.world.clock.now())


async def proposed(plane: Plane, tenant: str, _: dict[str, str] | None = None) -> str:
    name = await prompt(plane, tenant)
    wish = Proposal(prompt=name, number=2, plan=STEPS, reason="better")
    return (await plane.app.releases.propose(await somebody(plane, tenant), wish)).id


async def approved(plane: Plane, tenant: str, _: dict[str, str] | None = None) -> str:
    release = await proposed(plane, tenant)
    who = await somebody(plane, tenant)
    digest = (await plane.app.releases.show(who, release)).release.digest
    await plane.app.releases.approve(who, release, digest)
    return release


async def canary(plane: Plane, tenant: str, _: dict[str, str] | None = None) -> str:
    release = await approved(plane, tenant)
    await plane.app.releases.start(SYSTEM, release)
    return release


async def last_step(plane: Plane, tenant: str, _: dict[str, str] | None = None) -> str:
    release = await canary(plane, tenant)
    await plane.app.releases.advance(SYSTEM, release)
    return release


async def paused(plane: Plane, tenant: str, _: dict[str, str] | None = None) -> str:
    release = await canary(plane, tenant)
    await plane.app.releases.pause(SYSTEM, release)
    return release


async def approval(plane: Plane, tenant: str, _: dict[str, str] | None = None) -> str:
    """The request for approval of a release."""
    release = await proposed(plane, tenant)
    return (await plane.app.releases.show(SYSTEM, release)).release.request_id


async def digest_of(plane: Plane, made: dict[str, str]) -> str:
    return (await plane.app.releases.show(SYSTEM, made["ref"])).release.digest


async def opinion(plane: Plane, _tenant: str, made: dict[str, str]) -> Any:
    return {"digest": await digest_of(plane, made), "comment": "looked at"}


async def review(plane: Plane, _tenant: str, made: dict[str, str]) -> Any:
    return {"digest": await digest_of(plane, made)}


async def wish(plane: Plane, tenant: str, _made: dict[str, str]) -> Any:
    return {
        "prompt": await prompt(plane, tenant),
        "number": 2,
        "reason": "better",
        "project": plane.projects[tenant],
    }


def evidence(_plane: Plane, _tenant: str, _made: dict[str, str]) -> Any:
    return {"name": "evaluation", "digest": "a" * 64, "passed": True, "facts": {"n": 200}}


def why(_plane: Plane, _tenant: str, _made: dict[str, str]) -> Any:
    return {"reason": "the tests need it"}


FACTORIES = {"/releases/{ref:str}": proposed, "/approvals/{ref:str}": approval}

OF_ROUTE = {
    "POST /releases/{ref:str}/start": approved,
    "POST /releases/{ref:str}/advance": canary,
    "POST /releases/{ref:str}/promote": last_step,
    "POST /releases/{ref:str}/pause": canary,
    "POST /releases/{ref:str}/resume": paused,
    "POST /releases/{ref:str}/rollback": canary,
}
"""Routes that take a release in another state than just proposed."""

BODIES = {
    "POST /releases": wish,
    "POST /releases/{ref:str}/evidence": evidence,
    "POST /releases/{ref:str}/review": review,
    "POST /releases/{ref:str}/approve": opinion,
    "POST /releases/{ref:str}/reject": opinion,
    **{
        f"POST /releases/{{ref:str}}/{verb}": why
        for verb in ("withdraw", "start", "advance", "promote", "pause", "resume", "rollback")
    },
}
