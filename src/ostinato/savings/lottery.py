"""Who is drawn for the hold-out: pure, sticky, the same in every process.

One keyed hash of project and session gives two independent numbers: one for *no cache*, one for *the release before*.
What cannot be told by that hash alone (a key that is short of its limit rests for the minute) is written down, so that
hits, which leave no word of the hold-out in their rows, are counted for the same population: see ``spans``.
"""

from collections import deque
from typing import Final

import msgspec
from blake3 import blake3

from ostinato.access.model import Account, Caller
from ostinato.savings.settings import Settings

_SPAN: Final = 1 << 64
_MINUTE: Final = 60_000_000
_WAITING: Final = 50_000
_KEYS: Final = 20_000
_ACCOUNTS: Final = 5_000


class Absence(msgspec.Struct, frozen=True, gc=False):
    """A key (for a while), or a single request, that takes no part."""

    what: str
    """Id of the key, or of the request."""
    since: int
    """UTC microseconds."""
    until: int


class Lottery:
    """Draws sessions. One per process; only the event loop's thread uses it."""

    def __init__(self, settings: Settings, secret: bytes) -> None:
        """``secret``: the installation's, so that nobody can pick sessions that are drawn, or not."""
        self._prefix = blake3(b"holdout\x00" + settings.salt.encode(), key=_key(secret)).digest()
        self._held = int(settings.holdout_share * _SPAN)
        self._baseline = int(settings.baseline_share * _SPAN)
        self._spare = settings.spare
        self._rests: dict[str, int] = {}
        self._waiting: deque[Absence] = deque()
        self.accounts: dict[str, Account] = {}
        """Purses seen of late: somebody else finds out where they stand."""
        self.short: frozenset[str] = frozenset()
        """Ids of those with less than the spare share left."""
        self.dropped = 0
        """Absences that no room was for: the treated side then counts some requests too many."""

    @property
    def holds_out(self) -> bool:
        return self._held > 0

    @property
    def has_baseline(self) -> bool:
        return self._baseline > 0

    def held(self, project: str, seed: bytes) -> bool:
        """Whether this session is answered without the cache. ``seed``: the session, else the fingerprint."""
        return int.from_bytes(self._draw(project, seed)[:8], "big") < self._held

    def baseline(self, project: str, seed: bytes) -> bool:
        """Whether this session is answered by the release before."""
        return int.from_bytes(self._draw(project, seed)[8:], "big") < self._baseline

    def _draw(self, project: str, seed: bytes) -> bytes:
        return blake3(self._prefix + project.encode() + b"\x00" + seed).digest(length=16)

    def rests(self, caller: Caller, limit: int, remaining: int, at: int) -> bool:
        """Whether a key takes no part now, being near a limit: from the moment this is seen to the end of the minute.

        ``limit`` and ``remaining``: of its rate; 0 and 0 where it has none.
        """
        until = self._rests.get(caller.key_id, 0)
        if at < until:
            return True
        short = limit > 0 and remaining < limit * self._spare
        for account in caller.accounts:
            if account.id not in self.accounts and len(self.accounts) < _ACCOUNTS:
                self.accounts[account.id] = account
            short = short or account.id in self.short
        if not short:
            return False
        until = at - at % _MINUTE + _MINUTE
        if len(self._rests) >= _KEYS:
            self._rests = {key: end for key, end in self._rests.items() if end > at}
        if len(self._rests) < _KEYS:
            self._rests[caller.key_id] = until
        self._note(Absence(caller.key_id, at, until))
        return True

    def leave_out(self, request_id: str, at: int) -> None:
        """One request takes no part, though a hit would not show it: it asked for the cache only."""
        self._note(Absence(request_id, at, at + 1))

    def absences(self) -> list[Absence]:
        """Those that were noted since this was last called."""
        found = list(self._waiting)
        self._waiting.clear()
        return found

    def put_back(self, absences: list[Absence]) -> None:
        """Those could not be written; they wait."""
        for one in absences:
            self._note(one)

    def _note(self, absence: Absence) -> None:
        if len(self._waiting) >= _WAITING:
            self.dropped += 1
            return
        self._waiting.append(absence)


def _key(secret: bytes) -> bytes:
    return blake3(secret, derive_key_context="ostinato savings hold-out 2026").digest()
