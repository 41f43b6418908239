"""The grammar of edits: what may be done to a prompt without a strong model, as recipes that a content is made from."""

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from ostinato.datasets.model import Example
from ostinato.optimization.model import Candidate
from ostinato.optimization.search import anatomy as parts
from ostinato.optimization.search.anatomy import Anatomy, Layout, Shot, Unusable
from ostinato.optimization.search.model import SearchPlan
from ostinato.optimization.search.shots import WAYS, Shelf, Way
from ostinato.prompts import contents

MOST_LABELS: Final = 40
LONGEST_LABEL: Final = 60

Wording: TypeAlias = str
"""A name of :data:`WORDINGS`."""

_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=\S)|\n+")


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt as a list of choices; equal recipes make equal contents."""

    wording: Wording = "own"
    said: str | None = None
    """The instruction itself, where it is not a wording of the base's."""
    question: str = ""
    """The question's template, where it is not the base's."""
    shots: tuple[str, ...] = ()
    """Ids of the examples in it, in order."""
    layout: Layout = "text"
    way: Way = ""
    """How they were picked."""


class Grammar:
    """The edits of one prompt: makes candidates from recipes. Lives as long as a search."""

    def __init__(
        self,
        base: Candidate,
        pool: Sequence[Example],
        plan: SearchPlan,
        *,
        seed: int,
        pieces: contents.Pieces = parts.no_pieces,
        kept_out: frozenset[str] = frozenset(),
    ) -> None:
        """``pool``: where examples are taken from. ``kept_out``: ids that may not stand in a prompt, being scored."""
        self.base = base
        self.plan = plan
        self.anatomy: Anatomy = parts.take_apart(base.content, pieces)
        self.pieces = pieces
        self._examples = {example.id: example for example in pool}
        self._shots: dict[str, Shot] = {}
        for example in pool:
            if example.id not in kept_out:
                shot = parts.shot_of(example, self.anatomy, pieces)
                if shot is not None:
                    self._shots[example.id] = shot
        self.shelf = Shelf(pool, {identity: shot.question for identity, shot in self._shots.items()}, seed)
        self.labels = labels_of(pool)
        self.rewordable = parts.fixed(self.anatomy.instruction, base.content, pieces)
        """Whether the instruction takes no variable, so that another one can stand in its place."""
        self.own: Layout = "turns" if self.anatomy.chat else "text"

    def said(self, recipe: Recipe) -> str:
        """The instruction of a recipe: a template."""
        if recipe.said is not None:
            return recipe.said
        return WORDINGS[recipe.wording](self.anatomy.instruction, self.labels)

    def make(self, recipe: Recipe, parent: Candidate, edit: str = "", origin: str = "edit") -> Candidate:
        """The candidate of a recipe. Raises ``Unusable``."""
        said = self.said(recipe)
        if len(said) + len(recipe.question) > self.plan.largest + self._base_size():
            # Before it is filled in for every example: what somebody else wrote may be of any size.
            raise Unusable("It is larger than a candidate may be.")
        if said != self.anatomy.instruction and not self.rewordable:
            raise Unusable("The instruction takes variables and stays as it is.")
        content = parts.put_together(
            self.anatomy,
            instruction=said,
            shots=self._shown(recipe),
            layout=recipe.layout,
            question=recipe.question,
        )
        if content == self.base.content:
            raise Unusable("It changes nothing.")
        return parts.candidate(
            content,
            self.base.content,
            edit=edit or self.describe(recipe),
            parents=(parent.id,),
            shots=recipe.shots,
            origin=origin,
            largest=self.plan.largest + self._base_size(),
            pieces=self.pieces,
        )

    def describe(self, recipe: Recipe) -> str:
        """A recipe in words."""
        words: list[str] = []
        if recipe.shots:
            layout = "" if recipe.layout == self.own else f", as {recipe.layout}"
            words.append(f"{len(recipe.shots)} examples, {_WAYS.get(recipe.way, recipe.way)}{layout}")
        if recipe.question:
            words.append("fixed text before the question")
        if recipe.wording != "own":
            words.append(_WORDINGS[recipe.wording])
        return "; ".join(words) or "as it was"

    def counts(self) -> tuple[int, int, int]:
        """Small, middle and large numbers of examples: whole rounds of the strata, as many as there is room for."""
        if not len(self.shelf):
            return (0, 0, 0)
        if self.plan.shots:
            given = sorted(self.plan.shots)
            return given[0], given[len(given) // 2], given[-1]
        strata = len(self.shelf.strata)
        small = strata * -(-8 // strata) if strata <= 16 else strata
        sizes = sorted(len(shot.question.encode()) + len(shot.answer.encode()) for shot in self._shots.values())
        room = self.plan.largest // (sizes[len(sizes) * 3 // 4] + 8)
        found = tuple(max(1, min(count, room, len(self.shelf) // 2)) for count in (small, 2 * small, 4 * small))
        return found[0], found[1], found[2]

    def probe(self, *, cheap: bool = False) -> list[Recipe]:
        """The cheap edits of the headroom probe: each of another sort.

        ``cheap``: as large as they will be, with examples that are merely drawn: to compare all takes a second.
        """
        small, middle, large = self.counts()
        found: list[Recipe] = []
        if small:
            found += [
                self.shown("drawn", large, 0),
                self.shown("drawn" if cheap else "typical", large, 0),
                self.shown("drawn", middle, 1),
                self.shown("drawn" if cheap else "diverse", large, 0, wording="none" if self._has_words() else "own"),
                self.shown("drawn", small, 2),
            ]
        front = self.front()
        if front is not None:
            found[2:2] = [front, *([self.shown("drawn", large, 4, front=front)] if small else [])]
        if self.plan.rewrite and self.rewordable:
            found += [Recipe(wording=wording, layout=self.own) for wording in self.wordings()]
        if small:
            found += [self.shown("drawn" if cheap else "borderline", large, 0), self.shown("drawn", large, 3)]
        return found

    def front(self) -> Recipe | None:
        """What is said behind the question said before it: fixed text first, for a reader and for a prefix cache."""
        if not (self.plan.rewrite and self.rewordable):
            return None
        question, late = parts.behind(self.anatomy, self.pieces)
        if not late:
            return None
        said = f"{self.anatomy.instruction.rstrip()}{parts.GAP}{late}".strip()
        return Recipe(said=said, question=question, layout=self.own)

    def wordings(self) -> list[Wording]:
        """The rewordings that change something here."""
        own = self.anatomy.instruction
        return [name for name, word in WORDINGS.items() if name != "own" and word(own, self.labels) != own]

    def shown(
        self,
        way: Way,
        count: int,
        draw: int,
        *,
        wording: Wording = "own",
        layout: Layout | None = None,
        weights: Mapping[str, float] | None = None,
        front: Recipe | None = None,
    ) -> Recipe:
        """A recipe with ``count`` examples; ``front``: the words of that one."""
        shots = self.shelf.pick(way, count, draw, weights)
        if front is not None:
            return msgspec.structs.replace(front, shots=shots, way=way)
        return Recipe(wording=wording, shots=shots, layout=layout or self.own, way=way)

    def children(
        self, best: Recipe, second: Recipe | None, rng: random.Random, weights: Mapping[str, float]
    ) -> list[Recipe]:
        """What to try after the first round: neighbours of the best, other draws, crossings. Most promising first."""
        small, middle, large = self.counts()
        found: list[Recipe] = []
        if not best.shots:
            # Words did more than examples: both together.
            if small:
                found += [
                    self.shown(way, count, 10, wording=best.wording)
                    for way, count in (("drawn", middle), ("typical", middle), ("drawn", large), ("diverse", small))
                ]
            found += [msgspec.structs.replace(best, wording=wording) for wording in self.wordings()]
            return found
        count = len(best.shots)
        way = best.way if best.way in WAYS else "drawn"
        draw = rng.randrange(1 << 30)
        keep = best.wording
        found.append(self.shown(way, count, draw, wording=keep, layout=best.layout))
        if second is not None and second.shots and set(second.shots) != set(best.shots):
            found.append(self._crossed(best, second, large, rng))
        found.append(
            self.shown("drawn", max(count, middle), draw + 1, wording=keep, layout=best.layout, weights=weights)
        )
        found.append(self.shown("drawn", large, draw + 2, wording=keep, layout=best.layout))
        other = "none" if keep == "own" else "own"
        if self._has_words() or keep == "none":
            found.append(msgspec.structs.replace(best, wording=other))
        found.append(msgspec.structs.replace(best, shots=_turned(best.shots, rng)))
        found.append(self.shown("borderline", count, draw, wording=keep, layout=best.layout))
        found.append(self.shown("drawn", count, draw + 3, wording=keep, layout=best.layout))
        if self.anatomy.chat:
            layout: Layout = "text" if best.layout == "turns" else "turns"
            found.append(msgspec.structs.replace(best, layout=layout))
        return [recipe for recipe in found if self.plan.rewrite or recipe.wording == "own"]

    def _crossed(self, best: Recipe, second: Recipe, most: int, rng: random.Random) -> Recipe:
        """The examples of two winners, as many as there is room for, woven anew."""
        both = list(dict.fromkeys([*best.shots, *second.shots]))[: max(most, len(best.shots))]
        rng.shuffle(both)
        return msgspec.structs.replace(best, shots=tuple(both), way="crossed")

    def _shown(self, recipe: Recipe) -> list[Shot]:
        if not recipe.question:
            return [self._shots[identity] for identity in recipe.shots]
        shown = [
            parts.shot_of(self._examples[identity], self.anatomy, self.pieces, recipe.question)
            for identity in recipe.shots
        ]
        if None in shown:
            raise Unusable("An example cannot be put in its question.")
        return [shot for shot in shown if shot is not None]

    def _has_words(self) -> bool:
        return bool(self.anatomy.instruction.strip()) and self.plan.rewrite and self.rewordable

    def _base_size(self) -> int:
        return sum(len(text.encode()) for _, text in contents.texts(self.base.content))


def labels_of(pool: Sequence[Example]) -> tuple[str, ...]:
    """The answers of a task whose answers are few and short, the most frequent first; empty for any other task."""
    answers = [parts.answer_of(example) for example in pool if example.reference is not None]
    counted = Counter(answers)
    few = len(counted) <= min(MOST_LABELS, len(answers) // 3)
    if not few or len(counted) < 2 or any(len(text) > LONGEST_LABEL or "\n" in text for text in counted):
        return ()
    return tuple(sorted(counted, key=lambda text: (-counted[text], text)))


def _turned(shots: Sequence[str], rng: random.Random) -> tuple[str, ...]:
    """The same examples in another order."""
    order = list(shots)
    rng.shuffle(order)
    return tuple(order)


def _none(own: str, labels: Sequence[str]) -> str:
    return ""


def _listed(own: str, labels: Sequence[str]) -> str:
    if not labels or all(label.casefold() in own.casefold() for label in labels):
        return own
    return f"{own.rstrip()}\n\nAnswer with one of: {_line(labels)}.".strip()


def _unlisted(own: str, labels: Sequence[str]) -> str:
    """Without the lines that name a label and nothing else, and without the line that announces them."""
    known = {label.casefold() for label in labels}
    kept: list[str] = []
    for line in own.splitlines():
        if line.strip(" -*\t.,;:\"'`").casefold() in known:
            continue
        kept.append(line)
    if len(kept) == len(own.splitlines()):
        return own
    return "\n".join(kept).rstrip(" \n:")


def _choose(own: str, labels: Sequence[str]) -> str:
    return f"Choose the answer that fits best: {_line(labels)}." if labels else own


def _only(own: str, labels: Sequence[str]) -> str:
    return f"{own.rstrip()}\n\nGive only the answer, without any other words.".strip()


def _short(own: str, labels: Sequence[str]) -> str:
    found = [piece for piece in _SENTENCE.split(own.strip()) if piece.strip()]
    return found[0] if len(found) > 1 else own


def _line(labels: Sequence[str]) -> str:
    # Labels are data: two braces in one of them must not become a tag.
    return re.sub(r"\{(?=[{%#])", "{ ", ", ".join(sorted(labels)))


WORDINGS: Final[Mapping[Wording, Callable[[str, Sequence[str]], str]]] = {
    "own": lambda own, labels: own,
    "choose": _choose,
    "listed": _listed,
    "unlisted": _unlisted,
    "only": _only,
    "short": _short,
    "none": _none,
}
"""Instruction and labels -> instruction. One that changes nothing does not apply."""

_WORDINGS: Final = {
    "choose": "a plain choice among the answers as instruction",
    "listed": "answers listed",
    "unlisted": "answers not listed",
    "only": "asked for the answer only",
    "short": "instruction shortened to its first sentence",
    "none": "no instruction",
}
_WAYS: Final = {
    "drawn": "balanced",
    "typical": "balanced, typical ones",
    "diverse": "balanced, diverse ones",
    "borderline": "balanced, hard to tell apart",
    "crossed": "of the two best prompts",
}
