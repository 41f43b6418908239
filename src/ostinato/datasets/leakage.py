"""What of the scored parts can be known from what is trained on, or stands in a candidate. Pure.

Findings name examples of train and dev by id, those of the holdout never: which one is like which would tell what is
sealed.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeAlias, cast

from ostinato.core import hashing
from ostinato.datasets import likeness, splitting
from ostinato.datasets.model import Example, Finding, NewExample

Embed: TypeAlias = Callable[[Sequence[str]], Awaitable[Sequence[Sequence[float]]]]
"""Texts to vectors of length one."""

_SHOWN = 20
_SHARE = 0.05
"""Of a scored part: more near duplicates than this make its figures worthless."""
_LONG = 20
"""Characters (normalized) from which a text that stands in a candidate is no coincidence."""
MEANING = 0.97
"""Cosine from which two texts say the same."""


def text_of(example: NewExample) -> str:
    """All that an example asks, as one text."""
    return "\n".join(_strings(example.inputs))


def check(examples: Sequence[Example], *, shots: Sequence[str] = (), text: str = "") -> tuple[Finding, ...]:
    """The report of a version's examples, of all three splits; and of a candidate's shots (ids) and text."""
    found: list[Finding] = []
    equal = _across(examples, _equal(examples))
    if equal:
        message = f"{len(equal):,} examples ask the same as one of another split: their groups set them apart."
        found.append(_finding("equal-across-splits", "error", equal, message))
    near = _across(examples, likeness.pairs([text_of(one) for one in examples]))
    near = [one for one in near if one not in set(equal)]
    if near:
        found.append(_nearly(examples, near, "near-duplicates", "say nearly the same as one of another split"))
    found += _candidate(examples, shots, splitting.normalized_text(text))
    return tuple(found)


async def check_meaning(examples: Sequence[Example], embed: Embed, near: float = MEANING) -> tuple[Finding, ...]:
    """Examples that say the same as one of another split in other words."""
    import numpy as np  # noqa: PLC0415 - slow to import, and only jobs need it

    vectors = np.asarray(await embed([text_of(one) for one in examples]), dtype=np.float32)
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(examples), 1_000):
        like = vectors[start : start + 1_000] @ vectors.T >= near
        rows, others = np.nonzero(like)
        pairs += [(start + int(a), int(b)) for a, b in zip(rows, others, strict=True) if start + int(a) < int(b)]
    found = _across(examples, pairs)
    if not found:
        return ()
    return (_nearly(examples, found, "same-meaning", "mean the same as one of another split"),)


def _equal(examples: Sequence[Example]) -> Iterable[tuple[int, int]]:
    first: dict[str, list[int]] = {}
    for place, one in enumerate(examples):
        same = first.setdefault(splitting.inputs_key(one), [])
        # One of each split is enough: whatever comes later is compared with those.
        for other in same:
            yield other, place
        if all(examples[other].split != one.split for other in same):
            same.append(place)


def _across(examples: Sequence[Example], pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Of pairs on two sides, the places of those that are scored: of the holdout, else of dev."""
    rank = {"train": 0, "dev": 1, "holdout": 2}
    found: dict[int, None] = {}
    for a, b in pairs:
        one, other = examples[a], examples[b]
        if one.split != other.split:
            found[a if rank[one.split] > rank[other.split] else b] = None
    return [*found]


def _nearly(examples: Sequence[Example], places: Sequence[int], kind: str, what: str) -> Finding:
    sizes = Counter(one.split for one in examples)
    hit = Counter(examples[place].split for place in places)
    worst = max(count / sizes[split] for split, count in hit.items())
    told = ", ".join(f"{count:,} of {sizes[split]:,} in {split}" for split, count in sorted(hit.items()))
    way = "Give those that belong together one group (`--group COLUMN`), or leave out one of each pair."
    message = f"{len(places):,} examples {what} ({told}). {way}"
    living = [examples[place].id for place in places if examples[place].split != "holdout"]
    return Finding(
        kind=kind,
        severity="error" if worst >= _SHARE else "warning",
        count=len(places),
        message=message,
        examples=tuple(living[:_SHOWN]),
    )


def _finding(kind: str, severity: Any, places: Sequence[int], message: str) -> Finding:
    return Finding(kind=kind, severity=severity, count=len(places), message=message)


def _candidate(examples: Sequence[Example], shots: Sequence[str], text: str) -> list[Finding]:
    """What a candidate has of the parts that it is scored on."""
    found: list[Finding] = []
    scored = [one for one in examples if one.split != "train"]
    wanted = set(shots)
    keys = {splitting.inputs_key(one) for one in examples if one.id in wanted}
    shown = [one for one in scored if one.id in wanted or splitting.inputs_key(one) in keys]
    if shown:
        message = f"{len(shown):,} of the examples in the candidate are among those it is scored on."
        found.append(_told("shot-is-scored", shown, message))
    if not text:
        return found
    asked = [one for one in scored if one not in shown and _stands(text_of(one), text)]
    if asked:
        message = f"The candidate's text holds what {len(asked):,} scored examples ask."
        found.append(_told("input-in-candidate", asked, message))
    answers = Counter(_answer(one) for one in examples)
    # An answer that several examples share is a class, and may be named.
    told = [one for one in scored if answers[_answer(one)] == 1 and _stands(_answer(one), text)]
    if told:
        message = f"The candidate's text holds the answer of {len(told):,} scored examples."
        found.append(_told("answer-in-candidate", told, message))
    return found


def _told(kind: str, examples: Sequence[Example], message: str) -> Finding:
    ids = tuple(one.id for one in examples if one.split != "holdout")[:_SHOWN]
    return Finding(kind=kind, severity="error", count=len(examples), message=message, examples=ids)


def _stands(what: str, text: str) -> bool:
    plain = splitting.normalized_text(what)
    return len(plain) >= _LONG and plain in text


def _answer(example: Example) -> str:
    reference = example.reference
    if reference is None:
        return ""
    return reference if isinstance(reference, str) else hashing.canonical_json(reference).decode()


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        items = sorted(cast("dict[str, Any]", value).items())
        return [text for _, item in items for text in _strings(item)]
    if isinstance(value, list | tuple):
        return [text for item in cast("list[Any]", value) for text in _strings(item)]
    return [] if value is None else [str(value)]
