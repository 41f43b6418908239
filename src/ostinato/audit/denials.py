"""What the data plane refuses, counted: one leaf for each key and minute."""

from collections.abc import Iterator

from ostinato.audit.model import Deed

_MOST_KEYS = 10_000
_MOST_CODES = 32


class Denials:
    """Counts refusals of the data plane by key and code; :meth:`note` costs two look-ups and takes no lock.

    To be used from the event loop alone. Beyond 10,000 keys a minute the rest is counted together.
    """

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, int]] = {}

    def note(self, key_id: str, code: str) -> None:
        """One refusal. ``key_id``: empty where nobody knows whose it was."""
        counts = self._counts.get(key_id)
        if counts is None:
            counts = self._counts.setdefault(key_id if len(self._counts) < _MOST_KEYS else "", {})
        if code not in counts and len(counts) >= _MOST_CODES:
            code = "other"
        counts[code] = counts.get(code, 0) + 1

    def take(self) -> dict[str, dict[str, int]]:
        """What was counted since the last time, by key and code."""
        counts, self._counts = self._counts, {}
        return counts

    def put_back(self, counts: dict[str, dict[str, int]]) -> None:
        """Counts that could not be written down: they go into the next leaf."""
        for key_id, codes in counts.items():
            for code, count in codes.items():
                kept = self._counts.setdefault(key_id if len(self._counts) < _MOST_KEYS else "", {})
                kept[code] = kept.get(code, 0) + count


def deeds(counts: dict[str, dict[str, int]]) -> Iterator[Deed]:
    """The leaves for these counts."""
    for key_id, codes in counts.items():
        yield Deed(
            actor=f"key:{key_id}" if key_id else "system:unknown",
            action="chat:call",
            resource=f"key:{key_id}" if key_id else "key:unknown",
            outcome="denied",
            facts=dict(codes),
        )
