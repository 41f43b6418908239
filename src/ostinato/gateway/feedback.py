"""``POST /v1/feedback``: what an end user thought of an answer, or what became of it, told by the request's id."""

import re

import msgspec

from ostinato import checks
from ostinato.access import Caller, actor_name
from ostinato.access.permissions import require
from ostinato.core import ids
from ostinato.core.clock import Clock
from ostinato.core.errors import Invalid, NotFound, Unavailable
from ostinato.kpis import outcomes
from ostinato.kpis.outcomes import About
from ostinato.signals import LONGEST_CLASS, Signal, Signals, Source
from ostinato.traces import Filter, Ledger, RequestEvent
from ostinato.traces.interactions import OUTCOMES, REWORK
from ostinato.wire.model import Json

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_LONGEST_ID, _LONGEST_LABEL, _LONGEST_COMMENT = 128, 2_000, 10_000
_THUMBS = {"up": 1.0, "down": 0.0}

Value = bool | int | float | str | None


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What became of the answer."""

    type: str
    """``resolved``, ``escalated``, ``csat``, ``time_saved`` ...: ``kpis`` counts those of ``traces.interactions``, and
    any other name is written down as well."""
    value: Value = True
    at: int | str | None = None
    """When it happened: UTC microseconds, or ISO 8601; left out: now."""


class Told(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body."""

    request_id: str = ""
    client_request_id: str = ""
    session: str = ""
    """A whole conversation, as its requests named it in ``ostinato-session``."""
    name: str = "feedback"
    value: Value = None
    label: str = ""
    comment: str = ""
    outcome: Outcome | None = None


class Feedback:
    """Takes feedback for requests of the caller's own project."""

    def __init__(self, signals: Signals, ledger: Ledger, clock: Clock, told: outcomes.Outcomes) -> None:
        """``told``: where outcomes of conversations are looked up."""
        self._signals = signals
        self._ledger = ledger
        self._clock = clock
        self._outcomes = told

    async def take(self, caller: Caller, body: Json) -> Json:
        """Write down what is told; gives the request's id and those of the signals, and what was left out.

        Raises ``Denied`` without ``feedback:write``, ``Invalid`` for a body that says nothing, ``NotFound`` for a
        request that is not of the caller's project, ``Unavailable`` where no more can be taken now.
        """
        require(caller, "feedback:write")
        told = _read(body)
        row = await self._about(caller, told)
        if len(told.label) > LONGEST_CLASS and not caller.store_text:
            raise Invalid(
                f"This project keeps no texts: a label has at most {LONGEST_CLASS} characters there.",
                code="label_is_text",
                param="label",
                hint="Name a class; or have the project keep texts.",
            )
        found: list[Signal] = []
        if told.value is not None or told.label or told.comment:
            found.append(self._signal(caller, row, "feedback", told.name, told.value, told))
        if told.outcome is not None:
            found.append(self._outcome(caller, row, told.outcome))
        if self._signals.record(found) < len(found):
            raise Unavailable("Too much feedback waits to be written.", code="feedback_busy", retry_after=1.0)
        answer: Json = {"request_id": row.request_id, "signals": [one.id for one in found]}
        if told.comment and not caller.store_text:
            answer["dropped"] = {"comment": "This project keeps no texts: the comment was not written down."}
        if told.outcome is not None and told.outcome.type not in (*OUTCOMES, *REWORK):
            # Kept all the same: a figure of somebody's own. But a slip of the pen should not be found in a month.
            known = ", ".join((*OUTCOMES, *REWORK))
            answer["uncounted"] = {"outcome": f"No KPI counts {told.outcome.type!r}; they count {known}."}
        return answer

    async def _about(self, caller: Caller, told: Told) -> About:
        if told.session:
            return outcomes.about_conversation(await self._outcomes.conversation(caller.project, told.session))
        return outcomes.about_row(await self._request(caller, told))

    def _outcome(self, caller: Caller, row: About, told: Outcome) -> Signal:
        at = outcomes.moment(told.at, self._clock.now(), row.asked)
        if told.type not in (*OUTCOMES, *REWORK):
            return msgspec.structs.replace(self._signal(caller, row, "outcome", told.type, told.value, None), at=at)
        value, label = outcomes.valued(told.type, told.value)
        made = self._signal(caller, row, "outcome", told.type, None, None)
        return msgspec.structs.replace(made, at=at, value=value, label=label)

    async def _request(self, caller: Caller, told: Told) -> RequestEvent:
        wanted = told.request_id or told.client_request_id
        own = False
        # A hit may repeat a call of another project; it belongs to whoever's key asked.
        for filters in (Filter(org=caller.org, project=caller.project), Filter(key_id=caller.key_id)):
            for row in await self._ledger.show(wanted, filters):
                if wanted == (row.request_id if told.request_id else row.client_request_id):
                    return row
                own = own or wanted == row.client_request_id
        # A caller's own x-request-id is also what its answer says.
        hint = (
            "This is an x-request-id of your own: give it as client_request_id."
            if own
            else "Give the x-request-id of the answer. Requests of other processes are known within a second."
        )
        raise NotFound(f"There is no request {wanted[:80]!r} in this project.", code="request_not_found", hint=hint)

    def _signal(self, caller: Caller, row: About, source: Source, name: str, value: Value, told: Told | None) -> Signal:
        now = self._clock.now()
        comment = told.comment if told is not None and caller.store_text else ""
        return Signal(
            id=ids.new(now),
            request_id=row.request_id,
            at=now,
            org=caller.org,
            project=caller.project,
            source=source,
            name=_name(name),
            value=_value(value),
            label=checks.redact(told.label) if told is not None else "",
            comment=checks.redact(comment) if comment else None,
            prompt=row.prompt,
            prompt_version=row.prompt_version,
            release=row.release,
            arm=row.arm,
            intent=row.intent,
            entry=row.entry,
            origin=row.origin,
            actor=actor_name(caller),
        )


def _read(body: Json) -> Told:
    try:
        told = msgspec.convert(body, Told)
    except msgspec.ValidationError as error:
        raise Invalid(f"The feedback cannot be used: {error}.", param=_param(str(error))) from None
    if sum(map(bool, (told.request_id, told.client_request_id, told.session))) != 1:
        raise Invalid("Give request_id, client_request_id or session, and one of them only.", param="request_id")
    wanted = told.request_id or told.client_request_id or told.session
    if len(wanted) > _LONGEST_ID or not wanted.isprintable():
        raise Invalid(f"The id of a request has at most {_LONGEST_ID} printable characters.", param="request_id")
    if told.value is None and not told.label and not told.comment and told.outcome is None:
        raise Invalid("The feedback says nothing.", param="value", hint="Give value, label, comment or outcome.")
    if len(told.label) > _LONGEST_LABEL:
        raise Invalid(f"A label has at most {_LONGEST_LABEL:,} characters.", param="label")
    if len(told.comment) > _LONGEST_COMMENT:
        raise Invalid(f"A comment has at most {_LONGEST_COMMENT:,} characters.", param="comment")
    return told


def _name(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise Invalid(
            f"{name[:80]!r} is no name for feedback.", param="name", hint="Lowercase letters, digits, dots and dashes."
        )
    return name


def _value(value: Value) -> float | None:
    if isinstance(value, str):
        if value not in _THUMBS:
            raise Invalid(f"The value {value[:40]!r} is neither `up` nor `down`.", param="value")
        return _THUMBS[value]
    if value is None:
        return None
    if not 0 <= value <= 1:  # NaN is refused, too
        raise Invalid("A value is true or false, `up` or `down`, or a number from 0 (bad) to 1 (good).", param="value")
    return float(value)


def _param(error: str) -> str | None:
    _, mark, path = error.partition("`$.")
    return path.rstrip("`") if mark else None
