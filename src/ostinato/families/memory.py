"""What this process has seen in the window that runs, by family: bounded, whatever comes. For one thread."""

from collections.abc import Mapping

from ostinato.checks import detectors
from ostinato.families.heavy import Heavy
from ostinato.families.key import OTHER
from ostinato.families.known import Known
from ostinato.families.likeness import Clusters, signature
from ostinato.families.seen import Seen
from ostinato.families.settings import Settings
from ostinato.families.sketch import Sketch, age_class
from ostinato.families.store import Name

_LASTS = 100_000
"""Different requests whose last moment is remembered: some 15 MB."""
_PERSONAL = 8_192
"""Characters of a question in which personal data is looked for."""


class _Kept:
    """A family in memory."""

    __slots__ = ("clusters", "sketch", "written")

    def __init__(self) -> None:
        self.sketch = Sketch()
        self.clusters: Clusters | None = None
        self.written = False


class Memory:
    """The heaviest families of each project, and ``other`` for the rest of it: nothing is lost from the sums."""

    def __init__(self, settings: Settings, window: int) -> None:
        self.window = window
        self.folded = 0
        self._settings = settings
        self._projects: dict[tuple[str, str], Heavy[str, _Kept]] = {}
        self._others: dict[tuple[str, str], _Kept] = {}
        self._changed: set[Name] = set()
        self._gone: set[Name] = set()
        self._known = Known()
        self._lasts: dict[int, int] = {}

    def __len__(self) -> int:
        return sum(len(one.slots) for one in self._projects.values())

    @property
    def evicted(self) -> int:
        """Families that made room, in this window."""
        return sum(one.evicted for one in self._projects.values())

    def begin(self, window: int) -> None:
        """Another window."""
        self.window = window
        self._projects.clear()
        self._others.clear()
        self._changed.clear()
        self._gone.clear()
        self._known = Known()

    # -- in --------------------------------------------------------------------------------------------------------

    def saw(self, one: Seen) -> None:
        """Equal requests of one batch."""
        state = self._family(one.org, one.project, one.family, one.times).sketch
        state.seen(one.times, one.first, one.last)
        state.distinct.add((one.print64,))
        state.repeated(one.print64, one.times, one.last)
        self._gaps(state, one)
        state.label(one.intent, one.alias, one.times)
        if one.age is not None:
            state.hits += one.times
            state.saved += one.saved
            return
        if one.failed:
            state.errors += 1
        else:
            state.calls += 1
        state.tokens += one.tokens
        if one.cost is not None and not one.failed:
            state.cost += one.cost
            state.priced += 1
        if one.bucket is not None:
            state.latency[one.bucket] = state.latency.get(one.bucket, 0.0) + 1

    def _gaps(self, state: Sketch, one: Seen) -> None:
        """How long after its like each of these came; across windows, as far as so many are remembered."""
        place = one.print64 ^ _mark(one.project, one.family)
        before = self._lasts.pop(place, None)
        if before is not None:
            state.came_again(max(0, one.first - before) / 1e6)
        elif one.age is not None:
            state.came_again(one.age)  # a hit: what it repeats was asked for before this process began
        if one.times > 1:
            state.came_again(max(0, one.last - one.first) / 1e6 / (one.times - 1), one.times - 1)
        self._lasts[place] = one.last
        if len(self._lasts) > _LASTS:
            del self._lasts[next(iter(self._lasts))]

    def looked(self, org: str, project: str, family: str, print64: int, text: str) -> bool:
        """A question that a model has answered; whether it is new."""
        kept = self._family(org, project, family, 0)
        kept.sketch.looked += 1
        if kept.clusters is None:
            kept.clusters = Clusters()
        fresh = not self._known.add(print64 ^ _mark(project, family))
        if fresh and text and kept.clusters.join(signature(text)):
            kept.sketch.near += 1
        if any(True for _ in detectors.personal(text[:_PERSONAL])):
            kept.sketch.personal += 1
        return fresh

    def meant(self, org: str, project: str, family: str, near: bool, encoder: str) -> None:
        """A question was compared by its meaning, or needed not to be: it had been asked before."""
        state = self._family(org, project, family, 0).sketch
        state.meant += 1
        state.meant_near += near
        state.encoder = encoder

    def compared(self, org: str, project: str, family: str, age_us: int, agreed: bool) -> None:
        """Two answers to one request, so far apart."""
        state = self._family(org, project, family, 0).sketch
        number = age_class(age_us / 1e6)
        state.compared[number] += 1
        state.agreed[number] += agreed

    # -- room ------------------------------------------------------------------------------------------------------

    def _family(self, org: str, project: str, family: str, times: int) -> _Kept:
        """The family; ``other`` where it is not kept and was not asked for (``times`` 0)."""
        place = (org, project)
        heavy = self._projects.get(place)
        if heavy is None:
            heavy = self._projects[place] = Heavy(self._settings.most)
        slot = heavy.get(family)
        if slot is None:
            if family == OTHER or (not times and len(heavy.slots) >= heavy.room):
                return self._other(place)
            if len(self) >= self._settings.most_altogether and len(heavy.slots) < heavy.room:
                return self._other(place)
            kept = _Kept()
            gone = heavy.put(family, kept)
            slot = heavy.slots[family]
            kept.sketch.missed = slot.missed
            if gone is not None:
                self._retire(place, gone[0], gone[1].value)
        slot.count += times
        self._changed.add((org, project, family))
        return slot.value

    def _other(self, place: tuple[str, str]) -> _Kept:
        kept = self._others.get(place)
        if kept is None:
            kept = self._others[place] = _Kept()
        self._changed.add((*place, OTHER))
        return kept

    def _retire(self, place: tuple[str, str], family: str, kept: _Kept) -> None:
        name = (*place, family)
        kept.sketch.missed = 0.0
        # Whose family it was is not known any more: as labels and single requests they would fill up the rest.
        kept.sketch.top.clear()
        self._other(place).sketch.merge(kept.sketch)
        self._changed.discard(name)
        if kept.written:
            self._gone.add(name)

    # -- out -------------------------------------------------------------------------------------------------------

    def to_write(self) -> tuple[dict[Name, tuple[Sketch, bool]], set[Name]]:
        """What has changed since it was written, and who made room since."""
        states: dict[Name, tuple[Sketch, bool]] = {}
        for name in self._changed:
            org, project, family = name
            kept = self._kept(org, project, family)
            if kept is not None:
                states[name] = (kept.sketch, kept.written and name not in self._gone)
        return states, set(self._gone)

    def wrote(self, states: Mapping[Name, tuple[Sketch, bool]]) -> None:
        """These were written."""
        self._gone.clear()
        self._changed.clear()
        for org, project, family in states:
            kept = self._kept(org, project, family)
            if kept is not None:
                kept.written = True

    def _kept(self, org: str, project: str, family: str) -> _Kept | None:
        if family == OTHER:
            return self._others.get((org, project))
        heavy = self._projects.get((org, project))
        slot = heavy.get(family) if heavy is not None else None
        return slot.value if slot is not None else None


def _mark(project: str, family: str) -> int:
    """A number for a family: equal requests of two families are two."""
    return hash((project, family)) & 0xFFFFFFFFFFFFFFFF
