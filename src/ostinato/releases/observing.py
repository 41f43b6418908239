"""Where guardrails get what they compare: the ledger's calls and the signals, read from where they were left off."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from ostinato import signals
from ostinato.releases.guardrails import CANARY, CONTROL, Quality, Watch, alike, who
from ostinato.releases.model import RUNNING, Reading, Release
from ostinato.traces.arms import ArmPage, Arms, Asker

_PAGE = 1_000
_WATCHED = 200
"""Canaries whose figures are kept; of further ones the oldest are worked out again when they are asked for."""


Calls = Callable[[Arms, int | None, int], Awaitable[ArmPage]]
"""``calls(arms, after, limit)``: the ledger's."""

Askers = Callable[[Sequence[str]], Awaitable[dict[str, Asker]]]
"""``askers(request_ids)``: the ledger's."""

Query = Callable[[signals.Filter, str, int], Awaitable[signals.Page]]
"""``query(filter, after, limit)``: the signals'."""


class _State:
    def __init__(self, release: Release) -> None:
        assert release.plan.guardrails is not None
        self.release = release
        self.watch = Watch(release.plan.guardrails)
        self.lock = asyncio.Lock()
        self.calls: int | None = None
        self.signals = ""


class Observing:
    """The guardrails of all canaries, as far as this process has looked."""

    def __init__(self, calls: Calls, askers: Askers, query: Query) -> None:
        self._calls = calls
        self._askers = askers
        self._query = query
        self._states: dict[str, _State] = {}

    async def readings(self, release: Release) -> tuple[Reading, ...]:
        """What the guardrails of a canary show, all that was written until now taken in; empty where it has none."""
        if release.plan.guardrails is None or release.started_at is None:
            return ()
        if release.state not in RUNNING:
            self._states.pop(release.id, None)
            return ()
        state = self._states.get(release.id)
        if state is None or not alike(release, state.release):
            state = self._states[release.id] = _State(release)
            while len(self._states) > _WATCHED:
                del self._states[next(iter(self._states))]
        async with state.lock:
            await self._read_calls(state, release)
            if {"quality", "policy"} & set(release.plan.guardrails.watch):
                await self._read_signals(state, release)
            return await asyncio.to_thread(state.watch.readings)

    async def _read_calls(self, state: _State, release: Release) -> None:
        arms = Arms(
            project=release.project,
            prompt=release.prompt,
            release=release.id,
            base_release=release.base_release,
            base_number=release.base_number or 0,
            since=release.started_at or 0,
        )
        while True:
            page = await self._calls(arms, state.calls, _PAGE)
            # Beside the event loop: a thousand calls are some tens of milliseconds of arithmetic.
            await asyncio.to_thread(state.watch.take, page.calls)
            state.calls = page.after
            if not page.more:
                break

    async def _read_signals(self, state: _State, release: Release) -> None:
        """Those of both arms in one order, the one in which they were written: pairs go by it."""
        chosen = signals.Filter(project=release.project, prompt=release.prompt, since=release.started_at)
        while True:
            page = await self._query(chosen, state.signals, _PAGE)
            told = [one for one in page.signals if one.value is not None and _of(one, release)]
            askers = await self._askers([one.request_id for one in told]) if told else {}
            await asyncio.to_thread(state.watch.hear, [_quality(one, askers.get(one.request_id)) for one in told])
            state.signals = page.after
            if len(page.signals) < _PAGE:
                break


def _of(told: signals.Signal, release: Release) -> bool:
    """Whether a signal is about the canary's answers, or its control's."""
    if told.arm == CANARY:
        return told.release == release.id
    base = (release.base_release, release.base_number)
    return told.arm == CONTROL and (told.release, told.prompt_version) == base


def _quality(told: signals.Signal, asker: Asker | None) -> Quality:
    known = asker or Asker("", "", "", ())
    return Quality(
        arm=told.arm,
        name=told.name,
        value=min(1.0, max(0.0, told.value or 0.0)),
        at=told.at,
        who=who(known.session, known.user_digest, known.fingerprint or told.request_id),
        tags=known.tags,
    )
