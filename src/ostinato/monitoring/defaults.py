"""Which detectors stakes bring along, on one page. Anyone can be declared otherwise: see ``Declaration``.

==================  =====  ======  ====  ========
detector            low    medium  high  critical
==================  =====  ======  ====  ========
quality, errors     yes    yes     yes   yes
model, silence      yes    yes     yes   yes
refusals, format    -      yes     yes   yes
latency, cost       -      yes     yes   yes
mix                 -      yes     yes   yes
false-hits          1 %    0.1 %   0.1 % 0.1 %
stale, embeddings   -      -       yes   yes
==================  =====  ======  ====  ========

Requests of no intent are watched as those of medium stakes. Probes and gold sets ask models, which costs money: they
are there where they are declared.
"""

from ostinato.intents.model import Stakes
from ostinato.monitoring.model import Declaration, Declared

_EVERY = ("quality", "errors", "model", "silence")
_MEDIUM = ("refusals", "format", "latency", "cost", "mix")
_HIGH = ("stale", "embeddings")
WRONG_HITS: dict[Stakes, float] = {"low": 0.01, "medium": 0.001, "high": 0.001, "critical": 0.001}
"""Share of wrong hits among checked ones that stakes allow."""


def of(stakes: Stakes) -> dict[str, Declaration]:
    """The detectors that stakes bring along, by name."""
    names = [*_EVERY]
    if stakes != "low":
        names += _MEDIUM
    if stakes in ("high", "critical"):
        names += _HIGH
    found = {name: Declaration(kind=name) for name in names}
    found["false-hits"] = Declaration(kind="false-hits", config={"baseline": WRONG_HITS[stakes]})
    return found


def declared(stakes: Stakes, named: bool) -> dict[str, Declared]:
    """The same as detectors that stand. ``named``: whether there is an intent at all."""
    origin = f"stakes: {stakes}" if named else "no intent"
    return {
        name: Declared(id="", org="", project="", name=name, declared=one, origin=origin)
        for name, one in of(stakes).items()
    }
