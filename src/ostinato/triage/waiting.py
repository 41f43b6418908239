"""Decisions whose change still waits for others: what became of it, as the request for approval says."""

from typing import Literal, TypeAlias, cast

import msgspec
import sqlalchemy as sa

from ostinato import approvals
from ostinato.core.errors import NotFound
from ostinato.triage.model import Decision
from ostinato.wire.model import Json

Ending: TypeAlias = Literal["", "applied", "rejected", "proposed"]
"""Of a decision: empty while it waits; ``proposed``: nobody has said no, and it may be approved again."""


class Became(msgspec.Struct, frozen=True):
    """What became of a decision that waited."""

    state: Ending
    why: str = ""
    by: str = ""
    """Actor who had the last word; empty: nobody."""


def requests_of(effects: Json) -> list[str]:
    """Requests for approval that effects have opened."""
    return [str(_parts(one)["request"]) for one in effects.values() if "request" in _parts(one)]


def without_waiting(effects: Json) -> Json:
    """The effects that are done: what was asked of others is not."""
    return {name: one for name, one in effects.items() if "request" not in _parts(one)}


def _parts(effect: object) -> Json:
    return cast("Json", effect) if isinstance(effect, dict) else {}


def became(connection: sa.Connection, decision: Decision, now: int) -> Became:
    """How the requests stand that a decision waits for: one that was refused is enough to refuse it."""
    by = ""
    for name in requests_of(decision.effects):
        try:
            request = approvals.find(connection, name)
        except NotFound:
            return Became("proposed", "What was asked of others is not there any more.")
        standing = request.standing(now)
        by = request.decisions[-1].actor if request.decisions else by
        if standing == "open":
            return Became("")
        if standing == "rejected":
            return Became("rejected", request.closed_why, by)
        if standing != "done":
            return Became(
                "proposed", f"What was asked of others is {standing}: {request.closed_why or 'nobody agreed'}"
            )
    return Became("applied", by=by)
