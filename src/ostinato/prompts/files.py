"""Prompts as files that a team keeps in git: one per version, one per prompt, and a lock of where labels point.

::

    labels.lock.toml
    prompts/support/answer/prompt.toml     kind, description, tags, intent
    prompts/support/answer/0001.toml       a version: never edited, the next one is 0002.toml
    prompts/support/answer/0002.toml

TOML, read by the standard library and written so that equal prompts are equal bytes. A version that was exported tells
its digest; one that a person adds need not. What is unknown is refused with file, line and key. Here are
neither disks nor servers: see ``folders`` and ``importing``.
"""

import itertools
import re
import tomllib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final, TypeVar, cast

import msgspec

from ostinato.core.errors import Invalid
from ostinato.prompts import contents, toml_text
from ostinato.prompts.model import Content, Draft, Kind, Version
from ostinato.wire.model import Json

LOCK: Final = "labels.lock.toml"
FOLDER: Final = "prompts"
ABOUT: Final = "prompt.toml"
LARGEST_FILE: Final = 1_048_576

NUMBERED = re.compile(r"[0-9]{4,5}\.toml")
_JSON_FIELDS: Final = ("variables", "response_schema", "tools", "params")
_LOCK_HEAD: Final = "# Which version each label points at; see `ostinato prompts export --help`.\n"

T = TypeVar("T", bound=msgspec.Struct)


class Pin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a label points."""

    version: int
    digest: str = ""


class VersionFile(msgspec.Struct, frozen=True, kw_only=True):
    """One version as it is written down."""

    number: int
    draft: Draft
    message: str = ""
    digest: str = ""
    """SHA-256 of the content, hexadecimal; empty where a person has written it."""
    where: str = ""
    """The file that it was read from."""


class PromptFile(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt with its versions, oldest first."""

    name: str
    kind: Kind
    description: str = ""
    tags: tuple[str, ...] = ()
    intent: str = ""
    versions: tuple[VersionFile, ...] = ()


class Collection(msgspec.Struct, frozen=True):
    """Prompts by name, and where their labels point."""

    prompts: tuple[PromptFile, ...]
    labels: dict[str, dict[str, Pin]] = {}
    """Prompt -> label -> version."""


class _About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: Kind
    description: str = ""
    tags: tuple[str, ...] = ()
    intent: str = ""


def version_file(version: Version) -> VersionFile:
    """A version of a server as it is written down; its content must be there."""
    assert version.content is not None, "a version out of a list has no content"
    return VersionFile(
        number=version.number, draft=draft_of(version.content), message=version.message, digest=version.digest
    )


def draft_of(content: Content) -> Draft:
    """A draft that comes to exactly this content."""
    return Draft(
        format=content.format,
        text=None if content.kind == "chat" else content.text,
        messages=content.messages if content.kind == "chat" else None,
        variables=content.variables,
        response_schema=content.response_schema,
        tools=content.tools,
        params=content.params,
        partials=dict(content.partials),
    )


# --- writing ------------------------------------------------------------------------------------------------------


def write(collection: Collection) -> dict[str, bytes]:
    """Path (with ``/``) -> bytes. Equal collections give equal files."""
    found: dict[str, bytes] = {}
    for prompt in collection.prompts:
        contents.check_name(prompt.name)
        folder = f"{FOLDER}/{prompt.name}"
        found[f"{folder}/{ABOUT}"] = _write_about(prompt)
        for version in prompt.versions:
            found[f"{folder}/{version.number:04d}.toml"] = _write_version(version)
    found[LOCK] = _write_lock(collection.labels)
    for path in found:
        if any(str(parent) in found for parent in PurePosixPath(path).parents):
            raise Invalid(f"{path} cannot be written: a prompt's name looks like a file of another prompt.")
    return found


def _write_about(prompt: PromptFile) -> bytes:
    lines = [f"kind = {toml_text.inline(prompt.kind)}"]
    if prompt.description:
        lines.append(f"description = {toml_text.text(prompt.description)}")
    if prompt.tags:
        lines.append(f"tags = {toml_text.inline(prompt.tags)}")
    if prompt.intent:
        lines.append(f"intent = {toml_text.inline(prompt.intent)}")
    return "".join(line + "\n" for line in lines).encode()


def _write_version(version: VersionFile) -> bytes:
    draft = version.draft
    lines: list[str] = []
    if version.message:
        lines.append(f"message = {toml_text.text(version.message)}")
    if version.digest:
        lines.append(f"digest = {toml_text.inline(version.digest)}")
    if draft.format != "plain":
        lines.append(f"format = {toml_text.inline(draft.format)}")
    if draft.text is not None:
        lines.append(f"text = {toml_text.text(draft.text)}")
    if draft.partials:
        lines.append(f"partials = {toml_text.inline(dict(sorted(draft.partials.items())))}")
    for name in ("variables", "response_schema"):
        value: Json | None = getattr(draft, name)
        if value is not None:
            lines.append(f"{name} = {_json(value)}")
    if draft.tools:
        lines.append(f"tools = {_json(draft.tools)}")
    if toml_text.has_null(draft.params):
        lines.append(f"params = {_json(draft.params)}")
    elif draft.params:
        lines += ["", "[params]"]
        lines += [f"{toml_text.key(name)} = {toml_text.inline(value)}" for name, value in sorted(draft.params.items())]
    for turn in draft.messages or ():
        lines += ["", "[[messages]]", f"role = {toml_text.inline(turn.role)}"]
        lines.append(f"template = {toml_text.text(turn.template)}")
    return "".join(line + "\n" for line in lines).encode()


def _json(value: object) -> str:
    """JSON in a text block: schemas have nulls, and order, that TOML has not."""
    encoded = msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=2).decode()
    return toml_text.text(encoded + "\n")


def _write_lock(labels: Mapping[str, Mapping[str, Pin]]) -> bytes:
    parts = [_LOCK_HEAD]
    for prompt in sorted(labels):
        if not labels[prompt]:
            continue
        parts.append(f"\n[{toml_text.key(prompt)}]\n")
        for label, pin in sorted(labels[prompt].items()):
            where = {"version": pin.version, "digest": pin.digest} if pin.digest else {"version": pin.version}
            parts.append(f"{toml_text.key(label)} = {toml_text.inline(where)}\n")
    return "".join(parts).encode()


# --- reading ------------------------------------------------------------------------------------------------------


def read(files: Mapping[str, bytes]) -> Collection:
    """What :func:`write` wrote, and what people have added.

    Raises ``Invalid`` naming file, line and key: unknown keys and files, broken TOML, numbers that leave a gap, labels
    that point at versions which are not there, versions that were edited after they had been exported.
    """
    about: dict[str, _About] = {}
    versions: dict[str, list[VersionFile]] = {}
    labels: dict[str, dict[str, Pin]] = {}
    for path in sorted(files):
        if path == LOCK:
            labels = _read_lock(files[path])
            continue
        name, file = _place(path)
        if file == ABOUT:
            about[name] = _decode(path, files[path], _About)
        else:
            versions.setdefault(name, []).append(read_version(path, int(file[:-5]), files[path]))
    for name in sorted(versions.keys() - about.keys()):
        raise Invalid(
            f"{FOLDER}/{name}/{ABOUT} is missing: it tells what kind of prompt {name!r} is.",
            hint='Write `kind = "chat"`, or "text" or "partial", into it.',
        )
    prompts = tuple(_prompt(name, about[name], versions.get(name, [])) for name in sorted(about))
    collection = Collection(prompts, labels)
    _check_lock(collection)
    return collection


def _place(path: str) -> tuple[str, str]:
    parts = path.split("/")
    name = "/".join(parts[1:-1])
    if parts[0] != FOLDER or not name or not (parts[-1] == ABOUT or NUMBERED.fullmatch(parts[-1])):
        raise Invalid(
            f"{path} is no file of a prompt.",
            hint=f"They are {FOLDER}/NAME/{ABOUT}, {FOLDER}/NAME/0001.toml and so on, and {LOCK}.",
        )
    try:
        contents.check_name(name)
    except Invalid as error:
        raise Invalid(f"{path}: {error.message}", hint=error.hint) from None
    return name, parts[-1]


def read_version(path: str, number: int, data: bytes) -> VersionFile:
    """One version's file. Raises ``Invalid`` naming file, line and key."""
    if number < 1:
        raise Invalid(f"{path}: versions are counted from 1.")
    table = _table(path, data)
    for name in _JSON_FIELDS:
        value = table.get(name)
        if isinstance(value, str):
            table[name] = _embedded(path, data, name, value)
    message, digest = table.pop("message", ""), table.pop("digest", "")
    if not isinstance(message, str) or not isinstance(digest, str):
        name = "message" if not isinstance(message, str) else "digest"
        raise Invalid(f"{path}{_line(data, name)}: {name} is a text.")
    partials: object = table.get("partials", {})
    if isinstance(partials, dict):
        for name, pinned in cast("Json", partials).items():
            if not isinstance(pinned, int) or isinstance(pinned, bool):
                raise Invalid(f"{path}{_line(data, name)}: the partial {name!r} is pinned by its version's number.")
    draft = _convert(path, data, table, Draft)
    return VersionFile(number=number, draft=draft, message=message, digest=digest, where=path)


def _embedded(path: str, data: bytes, name: str, value: str) -> Any:
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Invalid(f"{path}{_line(data, name)}: {name} holds no JSON: {error}.") from None


def _prompt(name: str, about: _About, versions: list[VersionFile]) -> PromptFile:
    versions.sort(key=lambda version: version.number)
    for before, after in itertools.pairwise(versions):
        if before.number == after.number:
            raise Invalid(f"{before.where} and {after.where} are the same version.")
    return PromptFile(
        name=name,
        kind=about.kind,
        description=about.description,
        tags=about.tags,
        intent=about.intent,
        versions=tuple(versions),
    )


def _read_lock(data: bytes) -> dict[str, dict[str, Pin]]:
    table = _table(LOCK, data)
    for prompt, labels in table.items():
        if not isinstance(labels, dict):
            raise Invalid(f"{LOCK}{_line(data, prompt)}: {prompt!r} is no table of labels.")
    return {
        prompt: {label: _convert(LOCK, data, pin, Pin, label) for label, pin in labels.items()}
        for prompt, labels in table.items()
    }


def _check_lock(collection: Collection) -> None:
    versions = {prompt.name: {one.number: one for one in prompt.versions} for prompt in collection.prompts}
    for name, labels in collection.labels.items():
        if labels and name not in versions:
            raise Invalid(f"{LOCK} names {name!r}, but there is no folder {FOLDER}/{name}.")
        for label, pin in labels.items():
            version = versions[name].get(pin.version)
            if version is None:
                raise Invalid(
                    f"{LOCK}: {label!r} of {name!r} points at version {pin.version}, which is not there.",
                    hint=f"There are: {', '.join(map(str, versions[name])) or 'none'}.",
                )
            if pin.digest and version.digest and pin.digest != version.digest:
                raise Invalid(f"{LOCK}: the digest of {label!r} of {name!r} is not that of {version.where}.")


def _decode(path: str, data: bytes, kind: type[T]) -> T:
    return _convert(path, data, _table(path, data), kind)


def _table(path: str, data: bytes) -> Json:
    if len(data) > LARGEST_FILE:
        raise Invalid(f"{path} has {len(data):,} bytes; at most {LARGEST_FILE:,} are read.")
    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError:
        raise Invalid(f"{path} is not UTF-8.") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise Invalid(f"{path} is no TOML: {error or 'nested too deeply'}.") from None


def _convert(path: str, data: bytes, table: object, kind: type[T], about: str = "") -> T:
    """``about``: the key that ``table`` stands at, where it is not the whole file."""
    try:
        return msgspec.convert(table, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        told = str(error) or "nested too deeply"
        unknown = re.search(r"unknown field `([^`]+)`", told)
        named = unknown[1] if unknown else next(iter(reversed(re.findall(r"\$\.([A-Za-z_]+)", told))), about)
        what = f"there is no {unknown[1]!r} here" if unknown else told.replace(" - at `$", " (at `").replace("`.", "`")
        whole = unknown and "`$" not in told
        known = msgspec.structs.fields(kind) if whole else ()
        raise Invalid(
            f"{path}{_line(data, named)}: {what}.",
            code="invalid_file",
            param=named or None,
            hint=f"Allowed: {', '.join(field.encode_name for field in known)}." if known else "",
        ) from None


def _line(data: bytes, name: str) -> str:
    """``, line N``: where a key is first set, as well as one can tell."""
    if not name:
        return ""
    quoted = re.escape(name)
    found = re.search(
        rf"^[ \t]*(?:\[+[ \t]*)?[\"']?{quoted}[\"']?[ \t]*[=\].]", data.decode(errors="replace"), re.MULTILINE
    )
    return f", line {data.decode(errors='replace').count(chr(10), 0, found.start()) + 1}" if found else ""
