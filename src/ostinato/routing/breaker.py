"""A circuit breaker per target: stop asking who does not answer, and find out gently when it does again.

It opens when the share of failures in a sliding window is too large, or after several failures in a row, so that a
quiet target opens too. Then it lets one probe pass at a time, ever more rarely while they fail, and closes after
several successes. A target that fails again soon after closing must bring more proof and wait longer before it is
closed again: that keeps it from flapping, while its probes go on serving.
"""

from typing import Final, Literal, TypeAlias

from ostinato.routing.settings import Settings

State: TypeAlias = Literal["closed", "open", "half-open"]

_SLOTS: Final = 6
_MOST_PROOFS = 64
_LONGEST_HOLD = 1_800.0


class Breaker:
    """One target's breaker. Times are seconds of a monotonic clock, handed in.

    ``enter`` gives a permit, ``leave`` reports what became of it. A permit from before a
    change of state reports nothing.
    """

    __slots__ = (
        "_calls", "_failures", "_hold", "_hold_until", "_open_for", "_open_until", "_per_second", "_permit", "_probing",
        "_proofs", "_proofs_needed", "_row", "_settings", "_slot", "closed_at", "held", "state", "transitions",
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._per_second = _SLOTS / settings.breaker_window
        self._calls = [0] * _SLOTS
        self._failures = [0] * _SLOTS
        self._slot = 0
        self._row = 0
        self.state: State = "closed"
        self.held = False
        """Whether somebody says that it must not be called, however well it answers."""
        self.transitions = 0
        self.closed_at: float | None = None
        """When it was last closed again; ``None`` if it never opened."""
        self._permit = 1
        self._probing = False
        self._proofs = 0
        self._proofs_needed = settings.breaker_proofs
        self._open_for = settings.breaker_open
        self._open_until = 0.0
        self._hold = 0.0
        self._hold_until = 0.0

    def enter(self, now: float) -> int:
        """A permit (at least 1) to call the target now, or 0. In half-open state one call at a time gets one."""
        if self.held:
            return 0
        if self.state == "closed":
            return self._permit
        if self.state == "open":
            if now < self._open_until:
                return 0
            self.state = "half-open"
            self._permit += 1
            self._proofs = 0
            self._probing = False
        if self._probing:
            return 0
        self._probing = True
        return self._permit

    def leave(self, permit: int, now: float, ok: bool | None) -> None:
        """Report a permitted call: answered, failed, or (``None``) nothing learnt about the target's health."""
        if permit != self._permit:
            return
        if self.state == "closed":
            if ok is None:
                return
            slot = int(now * self._per_second)
            if slot != self._slot:
                self._advance(slot)
            index = slot % _SLOTS
            self._calls[index] += 1
            if ok:
                self._row = 0
                return
            self._row += 1
            self._failures[index] += 1
            if self._too_many():
                self._open(now)
        elif self.state == "half-open":
            self._probing = False
            if ok is False:
                self._open_for = min(self._open_for * 2, self._settings.breaker_longest)
                self._reopen(now)
            elif ok:
                self._proofs += 1
                if self._proofs >= self._proofs_needed and now >= self._hold_until:
                    self._close(now)

    def strike(self, now: float) -> None:
        """Report a failure of a call that was reported as answered before: a stream that broke off later."""
        self.leave(self._permit, now, False)

    def retry_in(self, now: float) -> float:
        """Seconds until a probe may pass; 0 where one may now or none is needed."""
        return max(0.0, self._open_until - now) if self.state == "open" else 0.0

    def counts(self, now: float) -> tuple[int, int]:
        """Calls and failures in the window."""
        slot = int(now * self._per_second)
        if slot != self._slot:
            self._advance(slot)
        return sum(self._calls), sum(self._failures)

    def _too_many(self) -> bool:
        if self._row >= self._settings.breaker_row:
            return True
        calls = sum(self._calls)
        return calls >= self._settings.breaker_volume and sum(self._failures) >= self._settings.breaker_share * calls

    def _advance(self, slot: int) -> None:
        """Forget what has left the window. A clock that seems to run backwards forgets all."""
        steps = slot - self._slot
        if steps >= _SLOTS or steps < 0:
            self._calls = [0] * _SLOTS
            self._failures = [0] * _SLOTS
        else:
            for step in range(self._slot + 1, slot + 1):
                self._calls[step % _SLOTS] = 0
                self._failures[step % _SLOTS] = 0
        self._slot = slot

    def _open(self, now: float) -> None:
        settings = self._settings
        soon = max(settings.breaker_hold, self._hold)
        if self.closed_at is not None and now - self.closed_at < soon:
            self._hold = min(self._hold * 2, _LONGEST_HOLD) if self._hold else settings.breaker_hold
            self._proofs_needed = min(self._proofs_needed * 2, _MOST_PROOFS)
        else:
            self._hold = 0.0
            self._proofs_needed = settings.breaker_proofs
        self._hold_until = now + self._hold
        self._open_for = settings.breaker_open
        self.transitions += 1
        self._reopen(now)

    def _reopen(self, now: float) -> None:
        self.state = "open"
        self._permit += 1
        self._open_until = now + self._open_for

    def _close(self, now: float) -> None:
        self.state = "closed"
        self._permit += 1
        self.transitions += 1
        self.closed_at = now
        self._row = 0
        self._calls = [0] * _SLOTS
        self._failures = [0] * _SLOTS
