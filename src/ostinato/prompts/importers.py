"""Prompts of other registries, read into our files: see ``langfuse`` and ``mlflow``.

Their names, labels and templates are put into our words, and every such change is told. What has no counterpart is
refused by name; ``leave_out`` names what may be dropped, with a dot between keys (``config.supported_languages``).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from ostinato.core.errors import Invalid
from ostinato.prompts.contents import PARAMS
from ostinato.prompts.files import Collection, Pin, PromptFile, VersionFile
from ostinato.prompts.model import LONGEST_MESSAGE, Draft, Kind, Turn
from ostinato.wire.model import Json

LARGEST: Final = 64 * 1024 * 1024
"""Bytes of an export."""

_BRACES = re.compile(r"(\\*)\{\{(?:[ \t]*([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)[ \t]*\}\})?")
_ODD = re.compile(r"\{\{\s*([A-Za-z_][\w .-]*?)\s*\}\}")
_TRIPLE = re.compile(r"\{{3,}[ \t]*[A-Za-z_][A-Za-z0-9_.]*[ \t]*\}\}")
_ROLES: Final = ("system", "developer", "user", "assistant")


class Imported(msgspec.Struct, frozen=True):
    """What an export comes to."""

    collection: Collection
    notes: tuple[str, ...]
    """What was changed on the way, as sentences."""


class Found(msgspec.Struct, kw_only=True):
    """One version of another registry, in our words but for its name and number."""

    name: str
    number: int
    kind: Kind
    draft: Draft
    message: str = ""
    labels: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    description: str = ""


class Reading:
    """What is known while an export is read: what may be left out, and what is to be told."""

    def __init__(self, leave_out: Sequence[str]) -> None:
        self.leave_out = frozenset(leave_out)
        self.notes: dict[str, None] = {}

    def note(self, text: str) -> None:
        """Tell once."""
        self.notes.setdefault(text)

    def drops(self, path: str) -> bool:
        """Whether ``path`` may be left out."""
        return path in self.leave_out

    def only(self, where: str, table: Json, known: Sequence[str], prefix: str = "") -> None:
        """Refuse the first key of ``table`` that is neither ``known`` nor to be left out."""
        for key in sorted(table.keys() - frozenset(known)):
            if not self.drops(f"{prefix}{key}"):
                raise unknown(where, f"{prefix}{key}")


def unknown(where: str, path: str) -> Invalid:
    """A field that has no counterpart."""
    return Invalid(
        f"{where}: the field {path[:200]!r} has no counterpart here.",
        code="unknown_field",
        param=path[:200],
        hint=f"To import without it: --leave-out {path[:200]}",
    )


def decode(data: bytes, what: str) -> Any:
    """An export's JSON. Raises ``Invalid``."""
    if len(data) > LARGEST:
        raise Invalid(f"The {what} export has more than {LARGEST // 2**20} MiB.")
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Invalid(f"The {what} export is no JSON: {error or 'nested too deeply'}.") from None


def table(where: str, value: object, what: str = "object") -> Json:
    """``value`` as an object. Raises ``Invalid``."""
    if not isinstance(value, dict):
        raise Invalid(f"{where} is no {what}.")
    return cast("Json", value)


def rows(where: str, value: object) -> list[Any]:
    """``value`` as a list. Raises ``Invalid``."""
    if not isinstance(value, list):
        raise Invalid(f"{where} is no list.")
    return cast("list[Any]", value)


def text(where: str, key: str, value: object) -> str:
    """``value`` as text, ``null`` as none. Raises ``Invalid``."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Invalid(f"{where}: {key} is no text.", param=key)
    return value


def number(where: str, value: object) -> int:
    """A version's number, which some write as text. Raises ``Invalid``."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:9])
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise Invalid(f"{where}: the version is no number from 1.", param="version")
    return value


def template(where: str, source: str) -> str:
    """A template in which only ``{{name}}`` means something, as one of ours: all other braces become plain text."""
    odd = next((found[1] for found in _ODD.finditer(source) if _BRACES.fullmatch(found[0]) is None), None)
    if odd is not None:
        raise Invalid(
            f"{where}: the variable {odd[:80]!r} has a name that cannot be one here.",
            hint="Names are letters, digits and _; rename it before exporting.",
        )

    if _TRIPLE.search(source):
        raise Invalid(
            f"{where}: a brace directly before a variable cannot be written here.",
            hint="Put a space between '{' and '{{name}}' before exporting.",
        )

    def written(found: re.Match[str]) -> str:
        slashes, name = found[1], found[2]
        return slashes * 2 + ("{{" + name + "}}" if name else "\\{{")

    return _BRACES.sub(written, source)


def turns(where: str, value: object, reading: Reading) -> tuple[Turn, ...]:
    """Messages of a chat prompt. Raises ``Invalid``."""
    found: list[Turn] = []
    messages = rows(f"{where}: the chat prompt", value)
    for index, one in enumerate(messages):
        here = f"{where}, message {index + 1}"
        message = table(here, one)
        if message.get("type") == "placeholder":
            if index < len(messages) - 1 and not reading.drops("placeholder"):
                raise Invalid(
                    f"{here}: the placeholder {str(message.get('name'))[:80]!r} stands before other messages.",
                    code="unknown_field",
                    param="placeholder",
                    hint="Messages of a request follow the prompt's own. To import without it: --leave-out placeholder",
                )
            reading.note(f"{where}: the placeholder is left out: messages of a request follow the prompt's own.")
            continue
        reading.only(here, message, ("role", "content", "type"), "prompt.")
        role, content = message.get("role"), message.get("content")
        if role not in _ROLES:
            raise Invalid(f"{here}: there is no role {str(role)[:40]!r} here.", param="prompt.role")
        if not isinstance(content, str):
            raise Invalid(f"{here}: the content is no text.", param="prompt.content")
        found.append(Turn(role, template(here, content)))
    return tuple(found)


def params(where: str, given: Mapping[str, Any], reading: Reading, prefix: str) -> Json:
    """Parameters that we know too; others are refused by name."""
    found: Json = {}
    for key, value in given.items():
        if reading.drops(prefix + key) or value is None:
            continue
        if key not in PARAMS:
            raise unknown(where, prefix + key)
        if key == "model":
            reading.note(f"{where} calls the model {str(value)[:80]!r}: an alias of this name must be declared.")
        found[key] = value
    return found


def response_schema(where: str, value: object) -> Json:
    """The JSON Schema in a ``response_format`` of OpenAI's shape. Raises ``Invalid``."""
    told = table(f"{where}: response_format", value)
    inner = told.get("json_schema")
    schema: object = cast("Json", inner).get("schema") if isinstance(inner, dict) else None
    if told.get("type") != "json_schema" or not isinstance(schema, dict):
        raise unknown(where, "config.response_format")
    return cast("Json", schema)


def collect(found: Sequence[Found], reading: Reading) -> Imported:
    """Versions by prompt, names and labels in our words. Raises ``Invalid`` where two become one."""
    names: dict[str, str] = {}
    by_name: dict[str, dict[int, Found]] = {}
    for one in found:
        name = slug(one.name, reading, "prompt")
        if names.setdefault(name, one.name) != one.name:
            raise Invalid(f"{names[name]!r} and {one.name!r} would both be named {name!r}.", param="name")
        versions = by_name.setdefault(name, {})
        if one.number in versions:
            raise Invalid(f"Version {one.number} of {one.name!r} is there twice.", param="version")
        versions[one.number] = one
    files: list[PromptFile] = []
    labels: dict[str, dict[str, Pin]] = {}
    for name, versions in sorted(by_name.items()):
        ordered = [versions[number] for number in sorted(versions)]
        newest = ordered[-1]
        odd = next((one for one in ordered if one.kind != newest.kind), None)
        if odd is not None:
            raise Invalid(
                f"{odd.name!r} is a {odd.kind} prompt in version {odd.number} and {newest.kind} in the newest."
            )
        if [one.number for one in ordered] != list(range(1, len(ordered) + 1)):
            reading.note(f"{newest.name!r} has gaps in its versions: they are numbered anew.")
        files.append(
            PromptFile(
                name=name,
                kind=newest.kind,
                description=newest.description,
                tags=newest.tags,
                versions=tuple(_version(one) for one in ordered),
            )
        )
        labels[name] = {slug(label, reading, "label"): Pin(one.number) for one in ordered for label in one.labels}
    return Imported(Collection(tuple(files), labels), tuple(reading.notes))


def _version(one: Found) -> VersionFile:
    return VersionFile(
        number=one.number,
        draft=one.draft,
        message=one.message[:LONGEST_MESSAGE],
        where=f"version {one.number} of {one.name!r}",
    )


def slug(name: str, reading: Reading, what: str) -> str:
    """A name in our letters."""
    found = re.sub(r"[^a-z0-9._/-]+", "-", name.strip().lower())
    found = "/".join(part for part in (piece.strip("-._") for piece in found.split("/")) if part)
    if not found:
        raise Invalid(f"{name[:80]!r} cannot be turned into a name of a {what}.", param="name")
    if found != name:
        reading.note(f"The {what} {name[:80]!r} becomes {found!r}.")
    return found
