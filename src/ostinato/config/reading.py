"""From a TOML file and the environment to plain tables, with errors that name the key, the line and what is allowed."""

import re
import tomllib
from collections.abc import Mapping
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

    def line_of(self, *keys: str) -> int | None:
        """The line (from 1) on which the last of ``keys`` is set, as nearly as can be told from the text."""
        section, key = list(keys[:-1]), keys[-1]
        header = re.compile(r"\s*\[+\s*([^\]]+?)\s*\]+")
        current: list[str] = []
        best: int | None = None
        for number, line in enumerate(self.text.splitlines(), 1):
            matched = header.match(line)
            if matched:
                current = [part.strip().strip("\"'") for part in matched[1].split(".")]
                if current == list(keys):
                    return number
            elif re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line):
                if current == section:
                    return number
                best = best or number
            elif best is None and re.search(rf"\b{re.escape(key)}\b\s*=", line):
                best = number
        return best

    def error(self, message: str, *keys: str, hint: str = "") -> ConfigError:
        line = self.line_of(*keys) if keys else None
        where = f"{self.path}, line {line}: " if line else f"{self.path}: "
        return ConfigError(where + message, hint=hint, param=".".join(keys) or None)


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


def overridden(tables: Table, environment: Mapping[str, str], sections: Mapping[str, type]) -> Table:
    """``tables`` with ``OSTINATO_<SECTION>_<KEY>`` of the environment laid over the sections that have fixed keys.

    Values are text; :func:`convert` turns them into the field's type. Unknown keys of a known section are refused.
    """
    merged: Table = dict(tables)
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
                    hint=f"Keys of [{section}]: {', '.join(known)}.",
                )
            merged[section] = {**merged.get(section, {}), key: value}
    return merged


def convert(table: Table, kind: type[T], source: Source, *keys: str) -> T:
    """``table`` as a settings struct; wrong keys and values are refused by name."""
    try:
        return msgspec.convert(table, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _explained(str(error), table, kind, source, keys) from None


_UNKNOWN = re.compile(r"Object contains unknown field `([^`]+)`")
_PATH = re.compile(r" - at `\$\.?([^`]*)`$")


def _explained(text: str, table: Table, kind: type, source: Source, keys: tuple[str, ...]) -> ConfigError:
    at = _PATH.search(text)
    inside = tuple(part for part in re.split(r"[.\[\]]+", at[1]) if part) if at else ()
    message = _PATH.sub("", text)
    unknown = _UNKNOWN.search(message)
    if unknown:
        allowed = _names(kind, inside)
        hint = f"Keys there: {', '.join(allowed)}." if allowed else ""
        return source.error(
            f"{'.'.join((*keys, *inside, unknown[1]))} does not exist.", *keys, *inside, unknown[1], hint=hint
        )
    name = ".".join((*keys, *inside))
    return source.error(f"{name}: {message[0].lower()}{message[1:]}.", *keys, *inside, hint=_allowed(kind, inside))


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
