"""Which rule holds: the strictest of all that speak of a thing; and which hold is above it. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from ostinato.core import hashing
from ostinato.intents import Intent, Intents
from ostinato.retention.model import Hold, Kind, Limit, Rule

DAY = 86_400_000_000
"""Microseconds."""

_OF_INTENT: Mapping[Kind, str] = {"rows": "rows", "texts": "texts"}
"""Kinds that an intent's own ``retention`` speaks of."""


class Ruling:
    """Rules, intents and holds as they stood when it was made; asked once per distinct project and intent."""

    def __init__(
        self,
        rules: Sequence[Rule],
        holds: Sequence[Hold],
        intents: Intents,
        projects: Mapping[str, str],
        now: int,
        digest_of: Callable[[str, str, str], str] = lambda _org, _project, name: name,
    ) -> None:
        """``projects``: id -> id of its organization. ``digest_of(org, project, name)``: what holds know a user by."""
        self.now = now
        self.holds = tuple(holds)
        self.projects = dict(projects)
        self._digest_of = digest_of
        self._rules = tuple(rules)
        self._intents = intents
        self._known: dict[tuple[Kind, str, str | None], Limit | None] = {}
        told = [[repr(one) for one in sorted(some, key=repr)] for some in (self._rules, self.holds)]
        self.digest = hashing.digest_of([*told, intents.digest.hex()]).hex()
        """Another one as soon as anything is ruled otherwise."""

    def limit(self, kind: Kind, project: str, intent: str | None = None) -> Limit | None:
        """How long a thing of this kind is kept; ``None``: for ever.

        ``intent``: its key, ``""`` where it is of none, ``None`` where that cannot be known: then the rules of its
        project hold, and those of its organization, but none that is about some intents only.
        """
        asked = (kind, project, intent)
        if asked not in self._known:
            self._known[asked] = min(self._spoken(kind, project, intent), key=lambda one: one.days, default=None)
        return self._known[asked]

    def strictest(self, kind: Kind, project: str) -> Limit | None:
        """The shortest time that anything of the project is kept: for what has lost its intent."""
        keys = ["", *self._intents.keys(project), *(rule.intent for rule in self._rules if rule.intent)]
        found = [self.limit(kind, project, key) for key in dict.fromkeys(keys)]
        return min((one for one in found if one is not None), key=lambda one: one.days, default=None)

    def periods(self, kind: Kind) -> list[float]:
        """Every number of days that a thing of this kind may be kept, the longest first."""
        found = {days for rule in self._rules if (days := rule.keep.given().get(kind)) is not None}
        for intent in self._intents.all:
            found.update(_own(intent, kind))
        return sorted(found, reverse=True)

    def held(
        self, project: str, *, intent: str | None = None, at: int | None = None, subject: str | None = None
    ) -> bool:
        """Whether a hold keeps a thing. ``None``: not known, which speaks for keeping it."""
        if not self.holds:
            return False
        org = self.projects.get(project, "")
        return any(hold.covers(org, project, intent=intent, at=at, subject=subject) for hold in self.holds)

    def held_named(self, project: str, *, intent: str | None = None, at: int | None = None, subject: str = "") -> bool:
        """The same for a thing whose subject people have written down: as a digest, or by the user's own name. Without
        one it is nobody's that a hold could name."""
        if not self.holds:
            return False
        org = self.projects.get(project, "")
        known = {subject, self._digest_of(org, project, subject)} if subject else {subject}
        return any(self.held(project, intent=intent, at=at, subject=one) for one in known)

    def cut(self, days: float) -> int:
        """What was made at this time or before has been kept for so many days."""
        return self.now - int(days * DAY)

    def _spoken(self, kind: Kind, project: str, intent: str | None) -> Iterable[Limit]:
        org = self.projects.get(project)
        if org is None:
            return  # of nobody whom this ruling is about
        found = self._intents.of(project, intent) if intent else None
        for rule in self._rules:
            days = rule.keep.given().get(kind)
            # What was refused before anybody was known is of no project: the rules of whole organizations hold for it.
            if days is None or (rule.org != org and project) or rule.project not in ("", project):
                continue
            if rule.intent and rule.intent != intent:
                continue
            if rule.data_class and (found is None or rule.data_class not in found.declared.data_classes):
                continue
            yield Limit(days, f"rule {rule.name}")
        if found is not None:
            for days in _own(found, kind):
                yield Limit(days, f"intent {found.key}")


def _own(intent: Intent, kind: Kind) -> Iterable[float]:
    """What an intent itself says."""
    name = _OF_INTENT.get(kind)
    days = None if name is None else getattr(intent.declared.retention, name)
    return () if days is None else (float(days),)
