"""Who is drawn for the hold-out: pure, sticky, the same in every process.

One keyed hash of project and session gives two independent numbers: one for *no cache*, one for *the release before*.
What cannot be told by that hash alone (a key that is short of its limit rests for the minute) is remembered for as long
as rows wait to be written, so that hits, which leave no word of the hold-out in their rows, are counted for the same
population: the ledger's writer asks (``traces.drawing.Draws``).
"""

from collections.abc import Callable
from typing import Final

from blake3 import blake3

from ostinato.access.model import Account, Caller
from ostinato.savings.settings import Settings

_SPAN: Final = 1 << 64
_MINUTE: Final = 60_000_000
_REQUESTS: Final = 50_000
_REMEMBERED: Final = 8
"""Minutes of a key's rest."""
_LATE: Final = 10 * _MINUTE
"""Rows are written by then."""
_SHARES: Final = 16
"""Changes of the share of which rows that wait may be."""
_EVER: Final = 1 << 62
_KEYS: Final = 20_000
_ACCOUNTS: Final = 5_000


class Lottery:
    """Draws sessions. One per process. The event loop's thread draws; the ledger's writer reads what took no part."""

    def __init__(self, settings: Settings, secret: bytes) -> None:
        """``secret``: the installation's, so that nobody can pick sessions that are drawn, or not."""
        self._prefix = blake3(b"holdout\x00" + settings.salt.encode(), key=_key(secret)).digest()
        self._held = 0
        self.share = 0.0
        """Of the sessions: as declared last, by whichever process."""
        self._shares: tuple[tuple[int, str], ...] = ()
        """Since when which share was obeyed, as a text, the newest last; empty text: nothing was held out."""
        self.obey(settings.holdout_share)
        self._baseline = int(settings.baseline_share * _SPAN)
        self._spare = settings.spare
        self._rests: dict[str, tuple[tuple[int, int], ...]] = {}
        self._out: dict[str, None] = {}
        self._instead: dict[str, None] = {}
        self.refuses: Callable[[str, str], bool] = lambda _project, _intent: False
        """``refuses(project, intent)``: whether that intent takes no part."""
        self.accounts: dict[str, Account] = {}
        """Purses seen of late: somebody else finds out where they stand."""
        self.short: frozenset[str] = frozenset()
        """Ids of those with less than the spare share left."""
        self.dropped = 0
        """Requests and keys that no room was for: the treated side then counts some requests too many."""

    def obey(self, share: float, at: int = 0) -> None:
        """Hold out this share from this moment on; 0: as if it had always been so. Whoever calls it moves the epoch:
        others are drawn now."""
        self.share, self._held = share, int(share * _SPAN)
        before = self._shares[1 - _SHARES :] if at else ()
        self._shares = (*before, (at if before else 0, f"{share:g}" if self._held else ""))

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
        known = self._rests.get(caller.key_id)
        if known and at < known[-1][1]:
            return True
        short = limit > 0 and remaining < limit * self._spare
        for account in caller.accounts:
            if account.id not in self.accounts and len(self.accounts) < _ACCOUNTS:
                self.accounts[account.id] = account
            short = short or account.id in self.short
        if not short:
            return False
        until = at - at % _MINUTE + _MINUTE
        if known is None and len(self._rests) >= _KEYS:
            self.dropped += 1
        else:
            self._rests[caller.key_id] = (*(known or ())[1 - _REMEMBERED :], (at, until))
        return True

    def leave_out(self, request_id: str) -> None:
        """One request takes no part, though a hit would not show it: it asked for the cache only."""
        self._note(self._out, request_id)

    def stand_in(self, request_id: str) -> None:
        """A hit under this id answers a request whose call failed: that call's row counts the request."""
        self._note(self._instead, request_id)

    def forget(self, now: int) -> None:
        """Forget what no row can be about any more."""
        old = now - _LATE
        self._rests = {key: spans for key, spans in self._rests.items() if spans[-1][1] > old}
        bound = f"{max(0, old) // 1000:012x}"  # ids begin with their millisecond
        for name in ("_out", "_instead"):
            setattr(self, name, {one: None for one in getattr(self, name) if one > bound})

    # -- for the ledger's writer ---------------------------------------------------------------------------------

    @property
    def holds_any(self) -> bool:
        """Whether anything is held out, or was under a share that rows may still be of."""
        return any(stratum for _, stratum in self._shares)

    def stratum(self, at: int) -> tuple[str, int, int]:
        """The share that was held out at a moment, as a text, and from when until when it was."""
        until = _EVER
        for since, stratum in reversed(self._shares):
            if since <= at:
                return stratum, since, until
            until = since
        return self._shares[0][1], 0, until

    def takes_part(self, project: str, intent: str) -> bool:
        """Whether an intent does."""
        return not self.refuses(project, intent)

    @property
    def absent(self) -> bool:
        """Whether any key or request took no part of late."""
        return bool(self._rests or self._out or self._instead)

    def was_absent(self, request_id: str, key_id: str, at: int) -> bool:
        """Whether this request took no part, though its hit does not show it."""
        return request_id in self._out or any(since <= at < until for since, until in self._rests.get(key_id, ()))

    def stands_in(self, request_id: str) -> bool:
        """Whether this hit answers a request whose call failed."""
        return request_id in self._instead

    def _note(self, names: dict[str, None], request_id: str) -> None:
        if len(names) >= _REQUESTS:
            self.dropped += 1
        else:
            names[request_id] = None


def _key(secret: bytes) -> bytes:
    return blake3(secret, derive_key_context="ostinato savings hold-out 2026").digest()
