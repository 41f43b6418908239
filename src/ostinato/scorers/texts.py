"""Kinds that compare an answer's text with its reference: exact, normalized, contains, label, numeric."""

import re
import unicodedata
from typing import Literal

import msgspec

from ostinato.scorers.kinds import UNREFERENCED, Context, Kind, Pure, Said, references, wrong
from ostinato.scorers.model import Subject

_ARTICLES = frozenset({"a", "an", "the"})
_MOST_TERMS = 200
_LONGEST_TERM = 500
_MOST_LABELS = 500
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][-+]?\d{1,3})?|[-+]?\.\d+")
_LONGEST = 262_144
"""Characters of an answer that are searched for numbers and labels."""


def normalized(text: str, *, punctuation: bool = False, articles: bool = True) -> str:
    """``text`` as people compare: one case, one width, single spaces; without punctuation or articles if not wanted."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    if not punctuation:
        folded = "".join(" " if unicodedata.category(c).startswith(("P", "S")) else c for c in folded)
    words = folded.split()
    if not articles:
        words = [word for word in words if word not in _ARTICLES]
    return " ".join(words)


def _verdict(right: bool) -> Said:
    return Said(1.0, "right") if right else Said(0.0, "wrong")


# --- exact, normalized, contains ------------------------------------------------------------------------------------


class Exact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    strip: bool = True
    """Whether space around the answer and the reference is left out of account."""


def _exact(config: Exact, _: Context) -> Pure:
    def say(subject: Subject) -> Said:
        wanted = references(subject)
        if not wanted:
            return UNREFERENCED
        if not config.strip:
            return _verdict(subject.output in wanted)
        return _verdict(subject.output.strip() in {one.strip() for one in wanted})

    return say


class Normalized(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    punctuation: bool = False
    """Whether punctuation counts."""
    articles: bool = True
    """Whether ``a``, ``an`` and ``the`` count."""


def _normalized(config: Normalized, _: Context) -> Pure:
    def clean(text: str) -> str:
        return normalized(text, punctuation=config.punctuation, articles=config.articles)

    def say(subject: Subject) -> Said:
        wanted = references(subject)
        return _verdict(clean(subject.output) in {clean(one) for one in wanted}) if wanted else UNREFERENCED

    return say


class Contains(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    terms: tuple[str, ...] = ()
    """What must occur; left out: the reference, or each text of it where it is a list."""
    mode: Literal["any", "all", "none", "share"] = "any"
    """``share``: the score is how many of the terms occur."""
    case_sensitive: bool = False


def _contains(config: Contains, _: Context) -> Pure:
    if len(config.terms) > _MOST_TERMS or any(not one.strip() or len(one) > _LONGEST_TERM for one in config.terms):
        raise wrong("terms", f"At most {_MOST_TERMS} terms, each of 1 to {_LONGEST_TERM} characters.")

    def fold(text: str) -> str:
        return text if config.case_sensitive else text.casefold()

    fixed = tuple(fold(one) for one in config.terms)

    def say(subject: Subject) -> Said:
        terms = fixed or tuple(fold(one) for one in references(subject) if one)
        if not terms:
            return UNREFERENCED
        text = fold(subject.output)
        found = sum(term in text for term in terms)
        told = f"{found} of {len(terms)} terms occur."
        if config.mode == "share":
            return Said(found / len(terms), rationale=told)
        right = {"any": found > 0, "all": found == len(terms), "none": found == 0}[config.mode]
        return Said(float(right), "right" if right else "wrong", told)

    return say


# --- label ----------------------------------------------------------------------------------------------------------


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    labels: tuple[str, ...]
    """The closed list."""
    synonyms: dict[str, tuple[str, ...]] = {}
    """Label -> other words for it."""
    where: Literal["whole", "start", "anywhere"] = "anywhere"
    """``whole``: the answer is the label and nothing else; ``start``: it begins with it; ``anywhere``: it names one,
    and no other."""


class Labels:
    """Reads the label out of an answer."""

    def __init__(self, config: Label) -> None:
        if not 1 <= len(config.labels) <= _MOST_LABELS:
            raise wrong("labels", f"From 1 to {_MOST_LABELS} labels.")
        self._where = config.where
        self._known: dict[str, str] = {}
        for label in config.labels:
            for word in (label, *config.synonyms.get(label, ())):
                key = normalized(word)
                if not key or len(word) > _LONGEST_TERM:
                    raise wrong("labels", f"The label or synonym {word[:60]!r} holds no word, or is too long.")
                if self._known.setdefault(key, label) != label:
                    raise wrong("synonyms", f"{word!r} stands for two labels.")
        unknown = set(config.synonyms) - set(config.labels)
        if unknown:
            raise wrong("synonyms", f"There are synonyms for what is no label: {', '.join(sorted(unknown))[:200]}.")
        longest_first = sorted(self._known, key=len, reverse=True)
        self._any = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")

    def of(self, text: str) -> str | None:
        """The label that a reference means; ``None`` where it means none."""
        return self._known.get(normalized(text))

    def read(self, output: str) -> str | None:
        """The label that an answer names; ``None`` where it names none; ``""`` where it names several."""
        text = normalized(output[:_LONGEST])
        whole = self._known.get(text)
        if whole is not None or self._where == "whole":
            return whole
        if self._where == "start":
            first = self._any.match(text)
            return None if first is None else self._known[first.group()]
        found = {self._known[match.group()] for match in self._any.finditer(text)}
        return None if not found else found.pop() if len(found) == 1 else ""


def _label(config: Label, _: Context) -> Pure:
    labels = Labels(config)

    def say(subject: Subject) -> Said:
        wanted = {labels.of(one) for one in references(subject)}
        if not wanted:
            return UNREFERENCED
        if None in wanted:
            return Said(None, rationale="The reference is none of the labels.")
        read = labels.read(subject.output)
        if not read:
            return Said(0.0, "none" if read is None else "ambiguous", "The answer names no label, or several.")
        return Said(float(read in wanted), read)

    return say


# --- numeric --------------------------------------------------------------------------------------------------------


class Numeric(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    absolute: float = 1e-9
    """Difference that does not matter."""
    relative: float = 0.0
    """The same as a share of the reference; the wider of the two holds."""
    which: Literal["first", "last", "only"] = "last"
    """Of several numbers in the answer."""


def numbers(text: str) -> list[float]:
    """The numbers in a text, in order; commas between thousands are read over."""
    return [float(match.group().replace(",", "")) for match in _NUMBER.finditer(text[:_LONGEST])]


def _numeric(config: Numeric, _: Context) -> Pure:
    if not (0 <= config.absolute < float("inf") and 0 <= config.relative < float("inf")):
        raise wrong("absolute", "Tolerances are 0 or more.")

    def say(subject: Subject) -> Said:
        reference = subject.reference
        wanted: list[float]
        if isinstance(reference, int | float) and not isinstance(reference, bool):
            wanted = [float(reference)]
        else:
            wanted = [number for one in references(subject) for number in numbers(one)[-1:]]
        if not wanted:
            return Said(None, rationale="The reference holds no number.")
        found = numbers(subject.output)
        if not found or (config.which == "only" and len(found) > 1):
            return Said(0.0, "none" if not found else "ambiguous", "The answer holds no number, or several.")
        got = found[0] if config.which == "first" else found[-1]
        right = any(abs(got - one) <= max(config.absolute, config.relative * abs(one)) for one in wanted)
        return Said(float(right), "right" if right else "wrong", f"It says {got:g}.")

    return say


KINDS = (
    Kind(name="exact", title="The answer is the reference.", config=Exact, make=_exact, needs=("reference",)),
    Kind(
        name="normalized",
        title="The answer is the reference, but for case, width, spaces and punctuation.",
        config=Normalized,
        make=_normalized,
        needs=("reference",),
    ),
    Kind(name="contains", title="Certain texts occur in the answer, or do not.", config=Contains, make=_contains),
    Kind(
        name="label",
        title="The answer names the right label of a closed list.",
        config=Label,
        make=_label,
        needs=("reference",),
    ),
    Kind(
        name="numeric",
        title="The answer's number is the reference's, within a tolerance.",
        config=Numeric,
        make=_numeric,
        needs=("reference",),
    ),
)
