"""Kinds for answers that are JSON: whether they keep to a schema, and how much of them is right."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import jsonschema_rs
import msgspec

from ostinato.cache import schemas
from ostinato.scorers.kinds import UNREFERENCED, Context, Kind, Pure, Said, wrong
from ostinato.scorers.model import Subject
from ostinato.scorers.texts import normalized
from ostinato.wire.model import Json

_LONGEST = 1_048_576
_DEEPEST = 64
_MOST_LEAVES = 100_000


class NotJson(ValueError):
    """The answer holds no JSON."""


def read(text: str, *, fenced: bool) -> Any:
    """The JSON value of an answer; ``fenced``: also one between lines of three backticks. Raises :class:`NotJson`."""
    if len(text) > _LONGEST:
        raise NotJson
    body = text.strip()
    if fenced and body.startswith("```") and body.endswith("```") and "\n" in body:
        body = body[body.index("\n") + 1 : -3]
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        raise NotJson from None


_NOT_JSON = Said(0.0, "not-json", "The answer is not JSON.")


class Schema(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: Json
    """JSON Schema; references outside it are not followed."""
    fenced: bool = True
    """Whether JSON between lines of three backticks counts."""


def _schema(config: Schema, _: Context) -> Pure:
    encoded = msgspec.json.encode(config.schema)
    if len(encoded) > schemas.LARGEST_SCHEMA:
        raise wrong("schema", f"A schema has at most {schemas.LARGEST_SCHEMA} bytes.")
    if not schemas.usable(config.schema):
        raise wrong("schema", "This is no JSON Schema that can be used, or one that is too much work to follow.")
    try:
        jsonschema_rs.meta.validate(config.schema)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        raise wrong("schema", f"This is no JSON Schema: {str(error).partition(chr(10))[0][:200]}.") from None
    form: Json = {"type": "json_schema", "json_schema": {"schema": config.schema}}

    def say(subject: Subject) -> Said:
        try:
            value = read(subject.output, fenced=config.fenced)
        except NotJson:
            return _NOT_JSON
        right = schemas.conforms(msgspec.json.encode(value).decode(), form)
        return Said(float(right), "valid" if right else "invalid")

    return say


# --- difference -----------------------------------------------------------------------------------------------------


class Difference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    fenced: bool = True
    """Whether JSON between lines of three backticks counts."""
    relative: float = 1e-9
    """Numbers that differ by less than this share of the reference are equal."""
    strings: Literal["exact", "normalized"] = "exact"
    ignore: tuple[str, ...] = ()
    """Names of members that are left out of account, at any depth."""
    extra: Literal["count", "ignore"] = "count"
    """Whether members that the reference does not have count as wrong."""


class _Comparing:
    """Counts the leaves that are right, of all that are in either value."""

    def __init__(self, config: Difference) -> None:
        self._config = config
        self.right = self.all = 0
        self.wrong: list[str] = []
        """The first paths at which they differ."""

    def compare(self, got: object, wanted: object, path: str = "$", depth: int = 0) -> None:
        if depth > _DEEPEST or self.all > _MOST_LEAVES:
            raise OverflowError
        if isinstance(got, Mapping) and isinstance(wanted, Mapping):
            self._members(cast("Json", got), cast("Json", wanted), path, depth)
        elif isinstance(got, list | tuple) and isinstance(wanted, list | tuple):
            self._items(cast("Sequence[object]", got), cast("Sequence[object]", wanted), path, depth)
        else:
            size = leaves(wanted)
            self._note(size, size if self._equal(cast("object", got), wanted) else 0, path)

    def _members(self, got: Json, wanted: Json, path: str, depth: int) -> None:
        if not got and not wanted:
            self._note(1, 1, path)
        for name, value in wanted.items():
            if name in self._config.ignore:
                continue
            where = f"{path}.{name}"
            if name in got:
                self.compare(got[name], value, where, depth + 1)
            else:
                self._note(leaves(value), 0, where)
        if self._config.extra == "count":
            for name, value in got.items():
                if name not in wanted and name not in self._config.ignore:
                    self._note(leaves(value), 0, f"{path}.{name}")

    def _items(self, got: Sequence[object], wanted: Sequence[object], path: str, depth: int) -> None:
        if not got and not wanted:
            self._note(1, 1, path)
        for at, (one, other) in enumerate(zip(got, wanted, strict=False)):
            self.compare(one, other, f"{path}[{at}]", depth + 1)
        longer = got if len(got) > len(wanted) else wanted
        for at in range(min(len(got), len(wanted)), len(longer)):
            self._note(leaves(longer[at]), 0, f"{path}[{at}]")

    def _note(self, size: int, right: int, path: str) -> None:
        self.all += size
        self.right += right
        if right < size and len(self.wrong) < 5:
            self.wrong.append(path[:100])

    def _equal(self, got: object, wanted: object) -> bool:
        if isinstance(got, bool) or isinstance(wanted, bool):
            return got is wanted
        if isinstance(got, int | float) and isinstance(wanted, int | float):
            return math.isclose(got, wanted, rel_tol=self._config.relative, abs_tol=0.0)
        if isinstance(got, str) and isinstance(wanted, str) and self._config.strings == "normalized":
            return normalized(got) == normalized(wanted)
        return got == wanted


def leaves(value: object, depth: int = 0) -> int:
    """How many single values there are in a JSON value; an empty object or array is one. Bounded in depth."""
    if depth > _DEEPEST:
        raise OverflowError
    if isinstance(value, Mapping) and value:
        return sum(leaves(one, depth + 1) for one in cast("Json", value).values())
    if isinstance(value, list | tuple) and value:
        return sum(leaves(one, depth + 1) for one in cast("Sequence[object]", value))
    return 1


def _difference(config: Difference, _: Context) -> Pure:
    if not 0 <= config.relative < 1:
        raise wrong("relative", "The tolerance is a share from 0 to 1.")

    def say(subject: Subject) -> Said:
        wanted = subject.reference
        if wanted is None:
            return UNREFERENCED
        try:
            got = read(subject.output, fenced=config.fenced)
        except NotJson:
            return _NOT_JSON
        if isinstance(wanted, str):
            try:
                wanted = read(wanted, fenced=False)
            except NotJson:
                return Said(None, rationale="The reference is not JSON.")
        comparing = _Comparing(config)
        try:
            comparing.compare(got, wanted)
        except OverflowError:
            return Said(None, rationale="Answer or reference is too large, or nested too deeply, to be compared.")
        if not comparing.all:
            return Said(None, rationale="Nothing is left to compare.")
        told = f"Differs at {', '.join(comparing.wrong)}." if comparing.wrong else ""
        return Said(comparing.right / comparing.all, "equal" if not comparing.wrong else "differs", told)

    return say


KINDS = (
    Kind(name="json-schema", title="The answer is JSON that keeps to a schema.", config=Schema, make=_schema),
    Kind(
        name="json-difference",
        title="How much of the answer's JSON is as in the reference.",
        config=Difference,
        make=_difference,
        needs=("reference",),
    ),
)
