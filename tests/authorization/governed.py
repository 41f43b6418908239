"""Objects of prompts, releases, approvals and the audit log; and what all factories share: see ``objects``."""

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

from control import Plane
from inside import SYSTEM

from ostinato import prompts, releases
from ostinato.access import Caller
from ostinato.access.permissions import ROLES
from ostinato.audit.signing import Signer

Made = dict[str, str]
"""Path parameter -> value, for those further left in the path."""
Factory = Callable[[Plane, str, Made], Awaitable[str]]
"""Makes an object in a tenant (``acme/main``); gives what the path names it by."""
Body = Callable[[Plane, str, Made], Any]
"""What is sent, or a coroutine that gives it."""


def counted(plane: Plane) -> int:
    """A number that was not there before."""
    plane.numbers += 1
    return plane.numbers


def fixed(body: Any) -> Body:
    return lambda _plane, _tenant, _made: body


def draft(plane: Plane) -> dict[str, Any]:
    """A version that says something new."""
    return {"messages": [{"role": "user", "template": f"{{{{question}}}} {counted(plane)}"}]}


async def prompt(plane: Plane, tenant: str, _: Made) -> str:
    """A prompt of two versions."""
    home, name = plane.projects[tenant], f"made-{counted(plane)}"
    for number in range(2):
        wanted = msgspec.convert(draft(plane), prompts.Draft)
        if number == 0:
            await plane.app.prompts.create(SYSTEM, home, name, draft=wanted)
        else:
            await plane.app.prompts.add_version(SYSTEM, home, name, wanted)
    return name


async def version(_plane: Plane, _tenant: str, _: Made) -> str:
    return "1"


async def label(plane: Plane, tenant: str, made: Made) -> str:
    """A label that points at version 1 of the prompt in the path, or at nothing yet."""
    name = await declared_label(plane, tenant, made)
    await plane.app.prompts.move_label(SYSTEM, plane.projects[tenant], made["ref"], name, 1)
    return name


async def declared_label(plane: Plane, tenant: str, _: Made) -> str:
    name = f"made-{counted(plane)}"
    await plane.app.prompts.declare_label(SYSTEM, plane.projects[tenant], name)
    return name


# -- releases ----------------------------------------------------------------------------------------------------

PLAN = releases.Plan(steps=(releases.Step(0.1), releases.Step(0.5)))


async def person(plane: Plane, tenant: str, who: str) -> Caller:
    """Somebody of the tenant: the author or the approver of its releases."""
    if (tenant, who) not in plane.people:
        secret = await plane.key(ROLES["owner"] - {"organizations:read", "organizations:write"}, tenant)
        plane.people[tenant, who] = plane.app.access.authenticate(secret, plane.world.clock.now())
    return plane.people[tenant, who]


def release(steps: str = "", plan: releases.Plan = PLAN) -> Factory:
    """A release that has gone through ``steps``: of ``approve start pause advance``."""

    async def make(plane: Plane, tenant: str, made: Made) -> str:
        name = await prompt(plane, tenant, made)
        to = await label(plane, tenant, {"ref": name})
        author, other = await person(plane, tenant, "author"), await person(plane, tenant, "approver")
        wish = releases.Proposal(prompt=name, number=2, label=to, plan=plan, reason="It is better.")
        found = await plane.app.releases.propose(author, wish)
        for step in steps.split():
            if step == "approve":
                digest = found.digest
                found = await plane.app.releases.attach(
                    other, found.id, releases.NewEvidence("diff-reviewed", digest, passed=True)
                )
                found = await plane.app.releases.approve(other, found.id, digest)
            else:
                found = await getattr(plane.app.releases, step)(author, found.id)
        return found.id

    return make


async def proposed(plane: Plane, tenant: str, made: Made) -> Any:
    """What a new release asks for."""
    label = await declared_label(plane, tenant, made)
    return {
        "prompt": await prompt(plane, tenant, made),
        "number": 2,
        "label": label,
        "project": plane.projects[tenant],
        "reason": "It is better.",
    }


async def judged(plane: Plane, _tenant: str, made: Made) -> Any:
    """A word on the release in the path."""
    dossier = await plane.app.releases.show(SYSTEM, made["ref"])
    return {"digest": dossier.release.digest, "comment": "Looked at."}


async def reviewed(plane: Plane, _tenant: str, made: Made) -> Any:
    dossier = await plane.app.releases.show(SYSTEM, made["ref"])
    return {"digest": dossier.release.digest}


async def approval(plane: Plane, tenant: str, made: Made) -> str:
    found = await plane.app.releases.show(SYSTEM, await release()(plane, tenant, made))
    return found.request.id


# -- the audit log -----------------------------------------------------------------------------------------------


async def leaf(plane: Plane, tenant: str, made: Made) -> str:
    """The leaf of something that was done in the tenant's organization."""
    await declared_label(plane, tenant, made)
    return str(len(await plane.leaves()) - 1)


def offered(plane: Plane, _tenant: str, _made: Made) -> Any:
    """A checkpoint of somebody else's log."""
    signer = Signer(f"elsewhere.example/{counted(plane)}", os.urandom(32))
    return {"note": signer.note(1, bytes(32)), "key": signer.verifier}


FACTORIES: dict[str, Factory] = {
    "/prompts/{ref:str}": prompt,
    "/prompts/{ref:str}/versions/{number:int}": version,
    "/prompts/{ref:str}/labels/{label:str}": label,
    "/labels/{name:str}": declared_label,
    "/releases/{ref:str}": release(),
    "POST /releases/{ref:str}/start": release("approve"),
    "POST /releases/{ref:str}/advance": release("approve start"),
    "POST /releases/{ref:str}/pause": release("approve start"),
    "POST /releases/{ref:str}/resume": release("approve start pause"),
    "POST /releases/{ref:str}/promote": release("approve start", releases.Plan(steps=(releases.Step(0.5),))),
    "POST /releases/{ref:str}/rollback": release("approve start"),
    "/approvals/{ref:str}": approval,
    "/audit/leaves/{index:int}": leaf,
}

BODIES: dict[str, Body] = {
    "POST /prompts": lambda plane, _t, _m: {"name": f"made-{counted(plane)}", "version": draft(plane)},
    "POST /prompts/lint": lambda plane, _t, _m: draft(plane),
    "PATCH /prompts/{ref:str}": fixed({"description": "Changed."}),
    "POST /prompts/{ref:str}/archive": fixed(None),
    "POST /prompts/{ref:str}/restore": fixed(None),
    "POST /prompts/{ref:str}/versions": lambda plane, _t, _m: draft(plane),
    "POST /prompts/{ref:str}/render": fixed({"variables": {"question": "Why?"}, "version": 1}),
    "PUT /prompts/{ref:str}/labels/{label:str}": fixed({"version": 2, "reason": "It is better."}),
    "PUT /labels/{name:str}": fixed({"description": "Changed."}),
    "POST /releases": proposed,
    "POST /releases/{ref:str}/evidence": fixed({"name": "benchmark", "digest": "0" * 64, "passed": True}),
    "POST /releases/{ref:str}/review": reviewed,
    "POST /releases/{ref:str}/approve": judged,
    "POST /releases/{ref:str}/reject": judged,
    **{
        f"POST /releases/{{ref:str}}/{step}": fixed({"reason": "The tests need it."})
        for step in ("withdraw", "start", "advance", "promote", "pause", "resume", "rollback")
    },
    "POST /audit/checkpoints": fixed(None),
    "POST /audit/bundles": fixed({}),
    "POST /audit/witnesses": offered,
}
