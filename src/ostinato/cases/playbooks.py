"""What helps against which kind of alarm, on one page; and what each action takes.

A playbook proposes; it does nothing. What is carried out without anybody's word stands in ``[cases] automatic``.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from ostinato.cases.model import SEVERITIES, ActionName, Advice, Alarm, Fact, Kind, Severity
from ostinato.core.errors import Invalid

_ROLL_BACK = Advice("roll-back", "If it began with a release, the one before did not have it.")
_SAMPLE = Advice("raise-sampling", "More answers are scored: is it so, and on which part of the traffic?")
_BREAK = Advice("open-breaker", "Callers get the declared safe behaviour until it is well again.")
_FLUSH = Advice("flush-scope", "What was kept meanwhile may be wrong too, and would be served on.")
_SEMANTIC = Advice("close-semantic", "Only equal requests are answered from the cache, until it is opened again.")
_IMPROVE = Advice("start-optimization", "The prompt is reworked against what the traffic is now.")
_TELL = Advice("notify", "Whoever answers for it hears of it again.")

PLAYBOOKS: Mapping[Kind, tuple[Advice, ...]] = MappingProxyType(
    {
        "quality": (_SAMPLE, _ROLL_BACK, _BREAK, _FLUSH, _IMPROVE),
        "errors": (_BREAK, _ROLL_BACK, _TELL),
        "refusals": (_ROLL_BACK, _SAMPLE, _IMPROVE),
        "format": (_ROLL_BACK, _IMPROVE, _BREAK),
        "latency": (_BREAK, _TELL),
        "cost": (_ROLL_BACK, _BREAK, _TELL),
        "mix": (_SAMPLE, _IMPROVE),
        "cache": (_FLUSH, _SEMANTIC, _SAMPLE),
        "model": (_FLUSH, _SAMPLE, _BREAK, _IMPROVE),
        "judge": (_SAMPLE, _TELL),
        "missing-data": (_TELL, _SAMPLE),
        "policy": (_BREAK, _ROLL_BACK, _TELL),
        "budget": (_BREAK, _TELL),
        "release": (_FLUSH, _IMPROVE, _TELL),
        "review": (_TELL,),
        "inventory": (_TELL,),
        "audit": (_TELL,),
        "breakglass": (_TELL,),
        "threshold": (_TELL, _SAMPLE, _BREAK, _ROLL_BACK),
        "other": (_TELL,),
    }
)

FLOORS: Mapping[Kind, Severity] = MappingProxyType({"audit": "critical", "breakglass": "high", "policy": "medium"})
"""What is never less severe, whatever the stakes."""

PARAMS: Mapping[ActionName, frozenset[str]] = MappingProxyType(
    {
        "flush-scope": frozenset({"alias", "target", "tag", "generation", "context"}),
        "close-semantic": frozenset(),
        "raise-sampling": frozenset({"share", "hours"}),
        "open-breaker": frozenset({"target", "intent", "held"}),
        "roll-back": frozenset({"release"}),
        "start-optimization": frozenset({"prompt"}),
        "notify": frozenset({"to"}),
    }
)
"""What each action may be told; what is left out comes from the case."""

NEEDS: Mapping[ActionName, str] = MappingProxyType(
    {
        "flush-scope": "cache:write",
        "close-semantic": "policies:write",
        "raise-sampling": "scorers:write",
        "open-breaker": "breakers:operate",
        "roll-back": "releases:operate",
        "start-optimization": "optimizations:run",
    }
)
"""What whoever approves an action must be allowed to do themselves, beside ``cases:act``."""

_LONGEST = 200


def advice(kind: Kind) -> tuple[Advice, ...]:
    """What a case of this kind proposes, the likeliest first."""
    return PLAYBOOKS[kind]


def severity(alarm: Alarm, stakes: Severity) -> Severity:
    """How severe an alarm is: as the intent's stakes, unless it says otherwise; never below its kind's floor."""
    return worse(alarm.severity or stakes, FLOORS.get(alarm.kind, "low"))


def worse(one: Severity, other: Severity) -> Severity:
    """The more severe of two."""
    return one if SEVERITIES.index(one) >= SEVERITIES.index(other) else other


def worst(some: Iterable[Severity]) -> Severity:
    """The most severe of several; ``low`` of none."""
    found: Severity = "low"
    for one in some:
        found = worse(found, one)
    return found


def raised(one: Severity) -> Severity:
    """One step more severe."""
    return SEVERITIES[min(SEVERITIES.index(one) + 1, len(SEVERITIES) - 1)]


def check_params(action: ActionName, params: Mapping[str, Fact]) -> None:
    """Raise ``Invalid`` for what the action cannot be told."""
    for name, value in params.items():
        if name not in PARAMS[action]:
            allowed = ", ".join(sorted(PARAMS[action])) or "nothing"
            raise Invalid(
                f"The action {action!r} knows no {name[:80]!r}.",
                code="invalid_params",
                param=f"params.{name[:80]}",
                hint=f"It can be told: {allowed}.",
            )
        if isinstance(value, str) and not (len(value) <= _LONGEST and value.isprintable()):
            raise Invalid(
                f"{name!r} has up to {_LONGEST} printable characters.", code="invalid_params", param=f"params.{name}"
            )


def title(alarm: Alarm) -> str:
    """An alarm in one sentence."""
    if alarm.title:
        return alarm.title
    about = next(
        (f"{what} {value}" for what, value in _about(alarm) if value), "the installation" if not alarm.project else ""
    )
    figures = ""
    if alarm.statistic is not None and alarm.threshold is not None:
        figures = f" ({alarm.statistic:.4g}, threshold {alarm.threshold:.4g})"
    return f"{alarm.kind}: {alarm.detector}{f' on {about}' if about else ''}{figures}"


def _about(alarm: Alarm) -> tuple[tuple[str, str], ...]:
    return (
        ("the intent", alarm.intent),
        ("the prompt", alarm.prompt),
        ("the release", alarm.release),
        ("the target", alarm.target),
    )
