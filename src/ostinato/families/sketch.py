"""What is known of one family: sums that add up over processes, and lose weight with time. Bounded in size."""

import msgspec

from ostinato.families.distinct import Distinct

EDGES = (60.0, 600.0, 3_600.0, 21_600.0, 86_400.0, 604_800.0)
"""Ages in seconds: a minute, ten, an hour, six, a day, a week; beyond is one more class."""
AGES = len(EDGES) + 1
TOP = 64
"""Requests of a family that are counted each by itself."""
_LABELS = 8


def age_class(seconds: float) -> int:
    """Which class an age falls into: 0 for up to ``EDGES[0]`` seconds."""
    for number, edge in enumerate(EDGES):
        if seconds <= edge:
            return number
    return len(EDGES)


def _ages() -> list[float]:
    return [0.0] * AGES


class Sketch(msgspec.Struct, array_like=True, kw_only=True):
    """Sums of a family. Money is nano-dollars, times UTC microseconds. New fields are appended."""

    requests: float = 0.0
    hits: float = 0.0
    calls: float = 0.0
    """Answered by a model."""
    errors: float = 0.0
    cost: float = 0.0
    """Of calls whose price is known."""
    priced: float = 0.0
    """How many these are."""
    saved: float = 0.0
    """What hits would have cost."""
    tokens: float = 0.0
    latency: dict[int, float] = {}
    """Of calls: buckets of ``traces.rollup``."""
    distinct: Distinct = msgspec.field(default_factory=Distinct)
    """Requests told apart, of the window that runs."""
    counted: float = 0.0
    """Requests that ``distinct`` is of."""
    repeats: float = 0.0
    """Requests of windows that are over that had been asked before in their window."""
    past: float = 0.0
    """All requests of these windows."""
    top: dict[int, list[float]] = {}
    """The most frequent requests: how often at most, when last, and how often too much (as in ``heavy``)."""
    gaps: list[float] = msgspec.field(default_factory=_ages)
    """Time between equal requests, by class of age."""
    looked: float = 0.0
    """Questions that were looked at."""
    near: float = 0.0
    """Of these: not asked before, and much like one that was."""
    personal: float = 0.0
    """Of these: with personal data in them."""
    compared: list[float] = msgspec.field(default_factory=_ages)
    """Answers to equal requests that were compared, by class of age."""
    agreed: list[float] = msgspec.field(default_factory=_ages)
    """Of these: that said the same."""
    intents: dict[str, float] = {}
    aliases: dict[str, float] = {}
    missed: float = 0.0
    """Requests that may have been counted elsewhere while no room was for this family, at most."""
    first: int = 0
    last: int = 0
    meant: float = 0.0
    """Questions that the encoder looked at, chosen before anybody knew whether they were new."""
    meant_near: float = 0.0
    """Of these: not asked before, and of the meaning of one that was."""
    encoder: str = ""
    """Which one looked, last."""

    def label(self, intent: str, alias: str, times: float) -> None:
        """Requests of an intent and an alias."""
        for names, name in ((self.intents, intent), (self.aliases, alias)):
            if name in names or len(names) < _LABELS:
                names[name] = names.get(name, 0.0) + times

    def seen(self, times: float, first: int, last: int) -> None:
        """Requests between two moments."""
        self.requests += times
        self.counted += times
        self.first = min(self.first, first) if self.first else first
        self.last = max(self.last, last)

    def repeated(self, print64: int, times: int, last: int) -> None:
        """An equal request came so many times, and last at this moment."""
        known = self.top.get(print64)
        if known is None:
            missed = 0.0
            if len(self.top) >= TOP:
                rarest = min(self.top, key=lambda one: self.top[one][0])
                missed = self.top.pop(rarest)[0]
            self.top[print64] = [missed + times, float(last), missed]
        else:
            known[0] += times
            known[1] = max(known[1], float(last))

    def came_again(self, gap: float, times: int = 1) -> None:
        """Equal requests came so many seconds apart."""
        self.gaps[age_class(gap)] += times

    def merge(self, other: "Sketch") -> None:
        """Add what another process, or another time, has seen."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in _LISTS:
            setattr(self, name, [a + b for a, b in zip(getattr(self, name), getattr(other, name), strict=True)])
        for name in _COUNTS:
            mine = getattr(self, name)
            for key, value in getattr(other, name).items():
                mine[key] = mine.get(key, 0.0) + value
        self.distinct.merge(other.distinct)
        self.encoder = other.encoder or self.encoder
        for print64, (times, last, missed) in other.top.items():
            known = self.top.get(print64)
            if known is None:
                self.top[print64] = [times, last, missed]
            else:
                self.top[print64] = [known[0] + times, max(known[1], last), known[2] + missed]
        self._trim()
        self.first = min(one for one in (self.first, other.first) if one) if self.first or other.first else 0
        self.last = max(self.last, other.last)

    def settle(self) -> None:
        """The window is over: what it came to is kept, who was in it is not."""
        self.repeats += max(0.0, self.counted - self.distinct.count())
        self.past += self.counted
        self.counted = 0.0
        self.distinct = Distinct()

    def fade(self, factor: float) -> None:
        """Let everything count for less; of a window that is over."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) * factor)
        for name in _LISTS:
            setattr(self, name, [value * factor for value in getattr(self, name)])
        for name in _COUNTS:
            setattr(self, name, {key: value * factor for key, value in getattr(self, name).items()})
        self.top = {key: [times * factor, last, missed * factor] for key, (times, last, missed) in self.top.items()}

    def _trim(self) -> None:
        if len(self.top) > TOP:
            most = sorted(self.top.items(), key=lambda one: -one[1][0])
            self.top = dict(most[:TOP])
        for name in ("intents", "aliases"):
            names = getattr(self, name)
            if len(names) > _LABELS:
                setattr(self, name, dict(sorted(names.items(), key=lambda one: -one[1])[:_LABELS]))


_SUMS = (
    "requests",
    "hits",
    "calls",
    "errors",
    "cost",
    "priced",
    "saved",
    "tokens",
    "counted",
    "repeats",
    "past",
    "looked",
    "near",
    "personal",
    "missed",
    "meant",
    "meant_near",
)
_LISTS = ("gaps", "compared", "agreed")
_COUNTS = ("latency", "intents", "aliases")
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Sketch)


def encode(sketch: Sketch) -> bytes:
    return _ENCODER.encode(sketch)


def decode(blob: bytes) -> Sketch:
    return _DECODER.decode(blob)
