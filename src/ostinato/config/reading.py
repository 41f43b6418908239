"""From a TOML file and the environment to plain tables, with errors that name the key, the line and what is allowed."""

import difflib
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ostinato.core.errors import Invalid

T = TypeVar("T")
Table = dict[str, Any]


class ConfigError(Invalid):
    """The configuration cannot be used; the message names file, line, key and the way out."""

    default_code = "invalid_configuration"


class Source(msgspec.Struct, frozen=True):
    """Where the configuration came from: for messages."""

    path: str
    text: str
    variables: dict[str, str] = {}
    """``section.key`` -> the environment variable that has set it."""
    calls: bool = True
    """Whether anybody is called with it; else what its secrets are is not looked up."""

    def line_of(self, *keys: str) -> int | None:
        """The line (from 1) on which ``keys`` are set, or the nearest table around them; ``None`` if there is none."""
        wanted = ".".join(keys)
        section, best, longest, inside = "", None, 0, None
        for number, line in enumerate(self.text.splitlines(), 1):
            header, assigned = _HEADER.match(line), _ASSIGNED.match(line)
            if header:
                here = section = _bare(header[1])
            elif assigned:
                here = _bare(f"{section}.{assigned[1]}" if section else assigned[1])
            else:
                continue
            if longest < len(here) <= len(wanted) and re.match(rf"{re.escape(here)}(?:$|[.\[])", wanted):
                best, longest = number, len(here)
            elif inside is None and here.startswith(f"{wanted}."):
                # A table that is only written as the start of its children's names.
                inside = number
        return inside if best is None else best

    def where(self, *keys: str) -> str:
        """File and line, or the variable, that ``keys`` come from: how a message begins."""
        variable = self.variables.get(".".join(keys[:2]))
        if variable:
            return f"The environment variable {variable}: "
        line = self.line_of(*keys) if keys else None
        return f"{self.path}, line {line}: " if line else f"{self.path}: "

    def error(self, message: str, *keys: str, hint: str = "") -> ConfigError:
        return ConfigError(self.where(*keys) + message, hint=hint, param=".".join(keys) or None)


_HEADER = re.compile(r"\s*\[+\s*([^\]]+?)\s*\]+")
_ASSIGNED = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")


def _bare(dotted: str) -> str:
    """A dotted key without quotes and spaces."""
    return ".".join(part.strip().strip("\"'") for part in dotted.split("."))


def located(error: Invalid, path: Path) -> Invalid:
    """An error that a room has found in what the file in ``path`` declares, with file, line and key."""
    if isinstance(error, ConfigError) or not error.param:
        return error
    _, source = read_toml(path)
    key = "" if error.param in error.message else f"{error.param}: "
    return ConfigError(source.where(error.param) + key + error.message, hint=error.hint, param=error.param)


def read_toml(path: Path) -> tuple[Table, Source]:
    """The file as tables. Raises :class:`ConfigError` where it is missing, not UTF-8 or not TOML."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"There is no configuration file {path}.", hint="`ostinato init` writes one.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    try:
        return tomllib.loads(text), Source(str(path), text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from None


def overridden(
    tables: Table, environment: Mapping[str, str], sections: Mapping[str, type], source: Source
) -> tuple[Table, Source]:
    """``tables`` with ``OSTINATO_<SECTION>_<KEY>`` of the environment laid over the sections that have fixed keys.

    Values are text; :func:`convert` turns them into the field's type. Unknown keys of a known section are refused.
    """
    merged: Table = dict(tables)
    variables: dict[str, str] = {}
    for variable, value in environment.items():
        if not variable.startswith("OSTINATO_"):
            continue
        for section, kind in sections.items():
            prefix = f"OSTINATO_{section.upper()}_"
            if not variable.startswith(prefix):
                continue
            key = variable[len(prefix) :].lower()
            known = [field.encode_name for field in msgspec.structs.fields(kind)]
            if key not in known:
                raise ConfigError(
                    f"The environment variable {variable} sets {section}.{key}, which does not exist.",
                    hint=likely(key, known) + f"Keys of [{section}]: {', '.join(known)}.",
                )
            merged[section] = {**merged.get(section, {}), key: value}
            variables[f"{section}.{key}"] = variable
    return merged, msgspec.structs.replace(source, variables=variables)


def convert(table: Table, kind: type[T], source: Source, *keys: str, also: tuple[str, ...] = ()) -> T:
    """``table`` as a settings struct; wrong keys and values are refused by name.

    ``also``: keys that may be written there too and have been taken out already; for the message.
    """
    try:
        value = msgspec.convert(table, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _explained(str(error), kind, source, keys, also) from None
    _refuse_absurd(value, source, keys)
    return value


def _refuse_absurd(value: object, source: Source, keys: tuple[str, ...]) -> None:
    """No setting is below zero, endless or not a number."""
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            _refuse_absurd(getattr(value, name), source, (*keys, name))
    elif isinstance(value, int | float) and not (math.isfinite(value) and value >= 0):
        raise source.error(f"{'.'.join(keys)} is {value}.", *keys, hint="Allowed: numbers from 0 on.")


_UNKNOWN = re.compile(r"Object contains unknown field `([^`]+)`")
_PATH = re.compile(r" - at `\$\.?([^`]*)`$")


def _explained(text: str, kind: type, source: Source, keys: tuple[str, ...], also: tuple[str, ...]) -> ConfigError:
    at = _PATH.search(text)
    inside = tuple(part for part in re.split(r"[.\[\]]+", at[1]) if part) if at else ()
    message = _PATH.sub("", text)
    unknown = _UNKNOWN.search(message)
    if unknown:
        allowed = [*(also if not inside else ()), *_names(kind, inside)]
        hint = likely(unknown[1], allowed) + (f"Keys there: {', '.join(allowed)}." if allowed else "")
        return source.error(
            f"{'.'.join((*keys, *inside, unknown[1]))} does not exist.", *keys, *inside, unknown[1], hint=hint
        )
    name = ".".join((*keys, *inside))
    return source.error(f"{name} {_plainly(message)}.", *keys, *inside, hint=_allowed(kind, inside))


def likely(name: str, known: Iterable[str]) -> str:
    """``Did you mean ...? `` for what looks like a slip of the pen; empty where nothing is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean {close[0]}? " if close else ""


_EXPECTED = re.compile(r"Expected `([^`]+)`(?: (<=|>=|<|>) ([^ ,]+))?(?:, got `([^`]+)`)?$")
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "left out",
}
_BOUNDS = {"<=": "of at most", ">=": "of at least", "<": "below", ">": "above"}


def _plainly(message: str) -> str:
    """What msgspec says of a wrong value, in plain words."""
    told = _EXPECTED.match(message)
    if told is None:
        return f"is wrong: {message[0].lower()}{message[1:]}"
    wanted = " or ".join(_KINDS.get(kind, kind) for kind in told[1].split(" | "))
    bound = f" {_BOUNDS[told[2]]} {told[3]}" if told[2] else ""
    return f"must be {wanted}{bound}" + (f", not {_KINDS.get(told[4], told[4])}" if told[4] else "")


def _field(kind: type, inside: tuple[str, ...]) -> msgspec.inspect.Type | None:
    found: msgspec.inspect.Type = msgspec.inspect.type_info(kind)
    for part in inside:
        if isinstance(found, msgspec.inspect.UnionType):
            found = next((t for t in found.types if isinstance(t, msgspec.inspect.StructType)), found)
        if isinstance(found, msgspec.inspect.StructType):
            match = next((f for f in found.fields if f.encode_name == part), None)
            if match is None:
                return None
            found = match.type
        elif isinstance(found, msgspec.inspect.ListType | msgspec.inspect.VarTupleType):
            found = found.item_type
        elif isinstance(found, msgspec.inspect.DictType):
            found = found.value_type
        else:
            return None
    return found


def _names(kind: type, inside: tuple[str, ...]) -> list[str]:
    found = _field(kind, inside)
    if isinstance(found, msgspec.inspect.UnionType):
        found = next((t for t in found.types if isinstance(t, msgspec.inspect.StructType)), None)
    return [f.encode_name for f in found.fields] if isinstance(found, msgspec.inspect.StructType) else []


def _allowed(kind: type, inside: tuple[str, ...]) -> str:
    found = _field(kind, inside)
    if isinstance(found, msgspec.inspect.LiteralType):
        return f"Allowed: {', '.join(map(str, found.values))}."
    return ""
