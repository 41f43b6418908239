"""Carries runs out: phase by phase, each of which may be begun again and finds what it knew.

A phase ends in one of three ways: it is done, and the next one begins; the run ends (or waits), with a reason; or the
process dies, and the phase is begun again elsewhere. What was paid for stands in the journal of calls, what was decided
in ``optimization_decided``: the second time costs nothing and comes to the same.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato import access, audit
from ostinato.access import Actor, SystemActor
from ostinato.calls.model import Limits
from ostinato.core.errors import LimitReached, OstinatoError, Unavailable, UpstreamFailed
from ostinato.optimization import findings, stages, store
from ostinato.optimization.meter import Meter
from ostinato.optimization.needs import Rooms
from ostinato.optimization.records import Records
from ostinato.optimization.run import PHASES, Phase, Run
from ostinato.optimization.stages import Ending, Shop
from ostinato.optimization.stopping import Reins, Stopped

_log = logging.getLogger("ostinato.optimization")

SYSTEM = SystemActor("optimizer")
_WHY = 2_000
_PASSING = frozenset({"storage_unreachable", "storage_busy", "storage_closed"})
"""A database that is away for a moment: nobody shall have to resume a run for it."""
_MENDED = frozenset({"prompt_archived"})
"""What somebody can undo: the run waits for that."""
_KEPT = 0.5
"""At most so much of a budget of tokens or money is kept back for the sealed examples."""


class Carrier:
    """Everything that a process does for runs under way."""

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms
        self.records = Records(rooms.work, rooms.clock)
        self._reins: dict[str, Reins] = {}
        self._places = asyncio.Semaphore(rooms.settings.running)

    def phases(self) -> dict[str, Callable[[str], Awaitable[str]]]:
        """The phases by name, in order, as ``jobs`` registers them."""

        def of(phase: Phase) -> Callable[[str], Awaitable[str]]:
            return lambda run_id: self.step(phase, run_id)

        return {phase: of(phase) for phase in PHASES}

    async def carry_on(self, run_id: str) -> Run:
        """All phases of a run that are not done yet, here and now."""
        for phase in PHASES:
            await self.step(phase, run_id)
        return await self.find(run_id)

    def pull(self, run_id: str, wanted: str) -> None:
        """Let a run that is under way here begin no further call."""
        reins = self._reins.get(run_id)
        if reins is not None:
            reins.stop(wanted)

    async def find(self, run_id: str) -> Run:
        """A run, for whoever works on it."""
        return await self.rooms.control.read(lambda connection: store.find(connection, run_id))

    async def step(self, phase: Phase, subject: str) -> str:
        """One phase of a run; gives what is recorded of it: a small JSON object.

        ``subject``: the run's id and its turn (see :func:`subject_of`). A job of an earlier turn, which ended with the
        run paused, does nothing more: what was resumed is carried out by the job of the new turn alone.
        """
        run_id, _, turn = subject.partition(":")
        async with self._places:
            run = await self._enter(run_id, phase, int(turn or 0))
            if run is None:
                return _told({"skipped": True})
            done = await self._do(run, phase)
            return _told(done)

    # --- one phase ------------------------------------------------------------------------------------------------

    async def _do(self, run: Run, phase: Phase) -> dict[str, Any]:
        reins = Reins(_limits(run, phase), await self.rooms.measuring.spent(run.id))
        reins.stop(run.wanted)
        self._reins[run.id] = reins
        watch = asyncio.create_task(self._watch(run.id, reins))
        try:
            if reins.wanted:
                raise Stopped(reins.wanted)
            meter = Meter(run, self.rooms.measuring, self.records, reins)
            ending = await stages.STAGES[phase](Shop(self.rooms, self.records, meter, run))
            if ending is None and reins.wanted:
                # Told while its last calls were under way: nothing further begins.
                raise Stopped(reins.wanted)
        except Stopped as stopped:
            cancelled = stopped.wanted == "cancel"
            ending = Ending("cancelled" if cancelled else "paused", "somebody asked for it")
        except (LimitReached, Unavailable, UpstreamFailed) as error:
            if error.code in _PASSING:
                # The job fails, the run stays under way: it is set going again when the database is back.
                raise
            # The budget, the model: it may go on when there is more, and nothing is lost.
            ending = Ending("paused", error.sentence)
        except OstinatoError as error:
            ending = Ending("paused" if error.code in _MENDED else "failed", error.sentence)
        except Exception as error:
            _log.exception("The run %s failed in its phase %s", run.id, phase)
            ending = Ending(
                "failed", f"it failed in its phase {phase} ({type(error).__name__}); the server's log says why"
            )
        finally:
            self._reins.pop(run.id, None)
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
        if ending is None:
            return {"phase": phase}
        run = await self.end(run.id, ending)
        return {"phase": phase, "state": run.state}

    async def _watch(self, run_id: str, reins: Reins) -> None:
        """See whether another process was told to stop this run."""
        while not reins.wanted:
            await self.rooms.clock.sleep(self.rooms.settings.poll_seconds)
            try:
                run = await self.find(run_id)
            except OstinatoError:
                continue
            reins.stop("cancel" if run.state != "running" else run.wanted)

    async def _enter(self, run_id: str, phase: Phase, turn: int) -> Run | None:
        """The run, under way in ``phase``; ``None`` where it is not to be worked on."""
        now = self.rooms.clock.now()

        def work(connection: sa.Connection) -> Run | None:
            run = store.find(connection, run_id, lock=True)
            if turn and run.turns != turn:
                return None
            if run.state == "planned":
                run = store.change(connection, run, state="running", started_at=run.started_at or now, why="")
            if run.state != "running":
                return None
            return run if run.phase == phase else store.change(connection, run, phase=phase)

        return await self.rooms.control.run(work)

    # --- how runs end ---------------------------------------------------------------------------------------------

    async def end(self, run_id: str, ending: Ending) -> Run:
        """The run in another state, with its leaf in the audit log; one that has ended meanwhile stays as it is."""
        digest = ""
        if ending.state in ("paused", "reviewing") and (await self.find(run_id)).wanted == "cancel":
            ending = Ending("cancelled", "somebody asked for it", ending.more)
        if ending.state in findings.FINAL:
            digest = await self._digest(run_id, ending)
        now = self.rooms.clock.now()

        def work(connection: sa.Connection) -> Run:
            run = store.find(connection, run_id, lock=True)
            if run.state not in ("planned", "running", "reviewing"):
                return run
            over = ending.state in findings.FINAL
            wanted = "" if ending.state in ("paused", *findings.FINAL) else run.wanted
            changed = store.change(
                connection,
                run,
                state=ending.state,
                why=ending.why[:_WHY],
                wanted=wanted,
                ended_at=now if over else None,
                digest=digest or run.digest,
                **ending.more,
            )
            self.leaf(connection, SYSTEM, run, changed, ending.state, audit.Occasion(reason=changed.why))
            return changed

        run = await self.rooms.control.run(work)
        if run.state == "deleted":
            await self.records.forget(run_id)
            await self.rooms.measuring.forget(run_id)
        return run

    async def _digest(self, run_id: str, ending: Ending) -> str:
        run = await self.find(run_id)
        run = msgspec.structs.replace(run, state=ending.state, **ending.more)
        return findings.digest(await findings.gather(run, self.records, self.rooms.measuring))

    def leaf(
        self,
        connection: sa.Connection,
        actor: Actor,
        before: Run | None,
        run: Run,
        verb: str,
        occasion: audit.Occasion,
        reason: str = "",
    ) -> None:
        """One leaf of the audit log; after the last row lock."""
        facts: dict[str, str | int] = {
            "state": run.state,
            "prompt": run.prompt,
            "label": run.label,
            "base": run.base_number,
            "dataset": f"{run.dataset}@{run.dataset_number}",
        }
        if run.digest:
            facts["findings"] = run.digest
        if run.release:
            facts["release"] = run.release
        self.rooms.log.append(
            connection,
            audit.Deed(
                actor=access.actor_name(actor),
                principal=access.principal_of(actor),
                action=f"optimizations:{_VERBS.get(verb, verb)}",
                resource=run.resource,
                org=run.org,
                project=run.project,
                before=None if before is None else _state(before),
                after=_state(run),
                reason=reason,
                facts=facts,
            ),
            occasion,
        )


_VERBS = {"paused": "pause", "cancelled": "cancel", "reviewing": "review", "proposed": "propose", "failed": "fail"}


def subject_of(run: Run) -> str:
    """What the job of a run's present turn is about."""
    return f"{run.id}:{run.turns}"


def _state(run: Run) -> dict[str, object]:
    return {"state": run.state, "champion": run.champion, "number": run.number, "release": run.release}


def _limits(run: Run, phase: Phase) -> Limits:
    """What a phase may spend: before the sealed examples are opened, what they need is kept back."""
    limits = run.wish.limits
    if phase not in ("select", "headroom", "search"):
        return limits
    proof = next((one for one in run.plan.stages if one.stage == "holdout"), None)
    if proof is None:
        return limits
    # As many finalists as there can be: the estimate is of as many as there usually are.
    every = proof.calls / proof.about if proof.about else 1.0
    tokens, nano = round(proof.tokens * every), round((proof.nano or 0) * every)
    return Limits(
        calls=None if limits.calls is None else max(0, limits.calls - proof.calls),
        tokens=None if limits.tokens is None else limits.tokens - min(tokens, int(limits.tokens * _KEPT)),
        nano=None if limits.nano is None else limits.nano - min(nano, int(limits.nano * _KEPT)),
    )


def _told(value: dict[str, Any]) -> str:
    return msgspec.json.encode(value).decode()
