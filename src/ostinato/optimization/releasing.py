"""From a champion to a proposed release, in the name of whoever started the run: they cannot approve it.

Each step finds what an earlier try of it has done.
"""

from collections.abc import Mapping

import msgspec

from ostinato import prompts, releases
from ostinato.access import Actor, Caller, Resource, SystemActor
from ostinato.core.errors import Conflict, Denied
from ostinato.optimization.model import Candidate
from ostinato.optimization.needs import Decision, Rooms
from ostinato.optimization.run import Run
from ostinato.prompts import Content, Draft, contents
from ostinato.releases import OPEN, Guardrails, Plan, Proposal, Release, Step

_NEEDED = frozenset({"prompts:write", "releases:propose"})
_SEEING = frozenset({"projects:read", "prompts:read", "releases:read"})
_STEP_SAMPLES = 100


def author(run: Run) -> Actor:
    """Who a run acts for, with no more rights than its two steps take."""
    kind, _, name = run.started_by.partition(":")
    if kind == "system":
        return SystemActor(name)
    return Caller(
        key_id=name,
        key_prefix=f"of the run {run.id}",
        org=run.org,
        project=run.project,
        permissions=_NEEDED | _SEEING,
        principal=run.author,
    )


async def see_rights(rooms: Rooms, run: Run) -> None:
    """Raise ``Denied`` where whoever started the run may not propose any more."""
    if run.started_by.startswith("system:"):
        return
    on = Resource(project=run.project, prompt=run.prompt, label=run.label, intent=run.intent)
    now = rooms.clock.now()

    def missing(connection: object) -> list[str]:
        may = rooms.rights(connection, now)  # pyright: ignore[reportArgumentType] - a connection, which this room does not name
        return sorted(one for one in _NEEDED if not may(run.author, one, on, run.org))

    lacking = await rooms.control.read(missing)
    if lacking:
        raise Denied(
            f"Whoever started this run may not do what it comes to any more: {', '.join(lacking)} is missing.",
            code="author_lost_rights",
            hint="What was found is in the report; somebody who may propose releases can start the run anew.",
        )


async def moved(rooms: Rooms, run: Run) -> str:
    """How the label was moved since the run began, in words; empty: it was not."""
    standing = await rooms.control.read(lambda c: prompts.assignment(c, run.project, run.prompt, run.label))
    number = None if standing is None else standing.number
    if number == run.assigned_number:
        return ""
    before = f"version {run.assigned_number}" if run.assigned_number is not None else "nothing"
    after = f"version {number}" if number is not None else "nothing"
    return (
        f"the label {run.label} was moved from {before} to {after} meanwhile, so a proposal against version "
        f"{run.base_number} is void; start another run"
    )


async def make_version(rooms: Rooms, run: Run, champion: Candidate, decision: Decision) -> int:
    """The number of the version that says what the champion says; made if there is none."""
    saved = await rooms.prompts.add_version(
        author(run),
        run.project,
        run.prompt,
        draft(champion.content),
        message=f"Optimization run {run.id}: {decision.sentence}",
        source="optimizer",
    )
    return saved.version.number


def draft(content: Content) -> Draft:
    """A content as its author would hand it in, with the partials that it still takes."""
    bare = Draft(
        format=content.format,
        text=None if content.kind == "chat" else content.text,
        messages=content.messages if content.kind == "chat" else None,
        variables=content.variables,
        response_schema=content.response_schema,
        tools=content.tools,
        params=content.params,
    )
    taken = contents.references(bare)
    pinned = {name: number for name, number in content.partials.items() if name in taken}
    return msgspec.structs.replace(bare, partials=pinned)


async def propose(rooms: Rooms, run: Run, number: int, decision: Decision) -> Release:
    """The release of version ``number``, proposed; one that is open for it already is taken.

    Raises ``Conflict`` where another release holds the label.
    """
    actor = author(run)
    wish = Proposal(
        prompt=run.prompt,
        number=number,
        label=run.label,
        plan=rollout(rooms, run),
        reason=f"Optimization run {run.id}: {decision.sentence}"[:2000],
    )
    try:
        release = await rooms.releases.propose(actor, wish, run.project)
    except Conflict as error:
        if error.code != "release_open":
            raise
        found = await rooms.releases.list(
            SystemActor("optimizer"), project=run.project, prompt=run.prompt, label=run.label, limit=500
        )
        mine = [one for one in found if one.state in OPEN and one.number == number and one.author == run.author]
        if not mine:
            raise
        release = mine[-1]
    return release


def rollout(rooms: Rooms, run: Run) -> Plan:
    """How the release reaches its traffic: as wished, else 25, 50 and 100 %, by itself where the intent lets it,
    watched for harm against as large a control."""
    if run.wish.rollout is not None:
        return run.wish.rollout
    if run.assigned_number is None:
        return Plan()
    auto = rooms.requirements_of(run.project, run.intent).auto_rollout
    steps = (Step(0.25, _STEP_SAMPLES), Step(0.5, _STEP_SAMPLES))
    return Plan(steps=steps, control=0.5, auto=auto, guardrails=Guardrails())


def facts(run: Run, decision: Decision) -> Mapping[str, str | int | float | bool]:
    """What approvers see of the proof: the gate's figures, and where the report is."""
    flat = {name: value for name, value in decision.body.items() if isinstance(value, str | int | float | bool)}
    return {"run": run.id, "findings": decision.sentence[:400], **dict(list(flat.items())[:40])}


__all__ = ["author", "draft", "facts", "make_version", "moved", "propose", "releases", "rollout", "see_rights"]
