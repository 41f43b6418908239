"""Requests with their answers, held in memory so that later answers can be compared with them. Bounded."""

import random
from collections import defaultdict

from ostinato.families.comparing import agree
from ostinato.families.model import Sample

_OLDEST = 8 * 86_400 * 1_000_000
"""Microseconds after which a newer answer takes the place of an older one."""

Place = tuple[str, int, str]
"""Project, request, end user."""


class Reservoir:
    """Samples of what was asked: some of every family, so that a large one does not push out the others."""

    def __init__(self, room: int, rng: random.Random) -> None:
        self._room = room
        self._rng = rng
        self._kept: dict[Place, Sample] = {}
        self._families: dict[tuple[str, str], list[Place]] = defaultdict(list)

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, sample: Sample) -> tuple[int, bool] | None:
        """Take a sample in. Where the same was answered before: microseconds between the two, and if they agree."""
        place = (sample.project, sample.print64, sample.user)
        known = self._kept.get(place)
        if known is None:
            self._keep(place, sample)
            return None
        age = sample.at - known.at
        if age < 0 or age > _OLDEST:
            self._kept[place] = sample
        return max(0, age), agree(known.answer, sample.answer)

    def _keep(self, place: Place, sample: Sample) -> None:
        mine = self._families[sample.project, sample.family]
        if len(self._kept) >= self._room:
            largest = max(self._families, key=lambda one: len(self._families[one]))
            others = self._families[largest]
            if len(mine) + 1 >= len(others) and others is not mine:
                # This family has its part: one of its own makes room, as likely as any.
                if not mine:
                    del self._families[sample.project, sample.family]
                    return
                others = mine
            gone = self._rng.randrange(len(others))
            del self._kept[others[gone]]
            others[gone] = others[-1]
            others.pop()
            if not others and others is not mine:
                del self._families[largest]
        mine.append(place)
        self._kept[place] = sample

    def some(self, most: int, project: str = "") -> list[Sample]:
        """Different samples of as many families as can be, each as likely as its fellows; of a project, or of all."""
        families = [
            self._rng.sample(places, min(most, len(places)))
            for (home, _), places in self._families.items()
            if places and project in ("", home)
        ]
        self._rng.shuffle(families)
        found: list[Sample] = []
        while families and len(found) < most:
            found += [self._kept[places.pop()] for places in families[: most - len(found)]]
            families = [places for places in families if places]
        return found

    def forget(self, project: str, user: str) -> int:
        """Drop what an end user asked, or with no user what anybody in the project asked; gives how many there were."""
        gone = [place for place in self._kept if place[0] == project and user in ("", place[2])]
        for place in gone:
            sample = self._kept.pop(place)
            self._families[sample.project, sample.family].remove(place)
        return len(gone)

    def clear(self) -> None:
        """Drop everything."""
        self._kept.clear()
        self._families.clear()
