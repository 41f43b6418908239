"""What the canary of each intent shows: the releases' guardrails, over calls and signals of the trial's two arms."""

import asyncio
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from functools import partial

from ostinato import signals, storage
from ostinato.releases import Guarded, Judgement, Reading, Release
from ostinato.releases.guardrails import Quality, Watch, who
from ostinato.releases.model import CANARY
from ostinato.releases.observing import Askers, Query
from ostinato.traces.arms import Asker
from ostinato.updating import traffic
from ostinato.updating.model import Arm, Update

_PAGE = 1_000
_WATCHED = 200
_TIMES = 100_000


class _State:
    def __init__(self, update: Update, arm: Arm) -> None:
        rails = update.rollout.plan.guardrails
        assert rails is not None
        self.started = arm.started_at
        self.watch = Watch(rails)
        self.lock = asyncio.Lock()
        self.calls: int | None = None
        self.signals = ""
        self.times: deque[int] = deque(maxlen=_TIMES)
        """When the canary answered."""


class Observing:
    """The canaries of all updates, as far as this process has looked; a new process reads the same again."""

    def __init__(self, ledger: storage.Database, query: Query, askers: Askers, catch_up: Callable[[], object]) -> None:
        self._ledger = ledger
        self._query = query
        self._askers = askers
        self._catch_up = catch_up
        self._states: dict[tuple[str, str], _State] = {}
        self._judge = Guarded()

    async def readings(self, update: Update, arm: Arm) -> tuple[Reading, ...]:
        """What the guardrails of one intent's canary show, all that was written until now taken in."""
        state = await self._read(update, arm)
        return await asyncio.to_thread(state.watch.readings)

    async def judged(self, update: Update, arm: Arm, now: int) -> Judgement:
        """Whether one intent's canary goes on, waits, or is taken back: as a release's would be."""
        state = await self._read(update, arm)
        readings = await asyncio.to_thread(state.watch.readings)
        seen = len(state.times) - bisect_left(sorted(state.times), arm.step_since)
        return self._judge.judge(_as_release(update, arm), {"canary": seen}, now, readings)

    async def _read(self, update: Update, arm: Arm) -> _State:
        key = (update.id, arm.intent)
        state = self._states.get(key)
        if state is None or state.started != arm.started_at:
            state = self._states[key] = _State(update, arm)
            while len(self._states) > _WATCHED:
                del self._states[next(iter(self._states))]
        async with state.lock:
            await asyncio.to_thread(self._catch_up)
            await self._read_calls(state, update, arm)
            if {"quality", "policy"} & set(update.rollout.watch):
                await self._read_signals(state, update, arm)
        return state

    async def _read_calls(self, state: _State, update: Update, arm: Arm) -> None:
        more = True
        while more:
            page = await self._ledger.read(
                partial(
                    traffic.arms,
                    update=update.id,
                    intent=arm.intent,
                    project=update.project,
                    alias=update.alias,
                    since=arm.started_at,
                    after=state.calls,
                )
            )
            await asyncio.to_thread(state.watch.take, page.calls)
            state.times.extend(one.at for one in page.calls if one.arm == "canary")
            state.calls, more = page.after, page.more

    async def _read_signals(self, state: _State, update: Update, arm: Arm) -> None:
        """A signal of a hit is one of the call whose answer was served again."""
        chosen = signals.Filter(project=update.project, intent=arm.intent, since=arm.started_at)
        while True:
            page = await self._query(chosen, state.signals, _PAGE)
            told = [one for one in page.signals if one.value is not None and one.intent == arm.intent]
            calls = sorted({one.origin or one.request_id for one in told})
            marks = await self._ledger.read(partial(traffic.marks, update=update.id, requests=calls)) if calls else {}
            own = [one for one in told if (one.origin or one.request_id) in marks]
            askers = await self._askers([one.request_id for one in own]) if own else {}
            heard = [_quality(one, marks[one.origin or one.request_id], askers.get(one.request_id)) for one in own]
            await asyncio.to_thread(state.watch.hear, heard)
            state.signals = page.after
            if len(page.signals) < _PAGE:
                break


def _as_release(update: Update, arm: Arm) -> Release:
    """One intent's canary as the judge of releases knows canaries."""
    return Release(
        id=update.id,
        org=update.org,
        project=update.project,
        prompt="",
        label=update.alias,
        number=1,
        plan=update.rollout.plan,
        intent=arm.intent,
        digest=update.digest,
        author=update.author,
        proposed_by=update.created_by,
        proposed_at=update.created_at,
        request_id=update.request_id,
        salt=update.id,
        state=CANARY,
        step=arm.step,
        step_since=arm.step_since,
        started_at=arm.started_at,
    )


def _quality(told: signals.Signal, arm: str, asker: Asker | None) -> Quality:
    known = asker or Asker("", "", "", ())
    return Quality(
        arm=arm,
        name=told.name,
        value=min(1.0, max(0.0, told.value or 0.0)),
        at=told.at,
        who=who(known.session, known.user_digest, known.fingerprint or told.request_id),
        tags=known.tags,
    )
