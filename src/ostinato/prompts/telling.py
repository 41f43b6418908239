"""A version as a client needs it to render by itself: templates with the partials that they take, and how to call."""

import hashlib
from typing import Final

import msgspec

from ostinato.prompts import contents, schemas
from ostinato.prompts.model import Content, Kind, Turn
from ostinato.prompts.snapshot import PromptSnapshot, Resolved
from ostinato.templates import Format
from ostinato.wire.model import Json

_USER: Final = "user"


class Piece(msgspec.Struct, frozen=True):
    """A version of a partial."""

    template: str
    format: Format
    partials: dict[str, int]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a reference means now, complete."""

    name: str
    version: int
    digest: str
    """SHA-256 of the content, hexadecimal."""
    kind: Kind
    format: Format
    messages: tuple[Turn, ...]
    """A text is one message of the user."""
    partials: dict[str, int]
    """Name -> version, as pinned."""
    pieces: dict[str, Piece]
    """``NAME@VERSION`` -> partial, those of partials included."""
    release: str
    arm: str
    label: str
    intent: str
    variables: Json
    """JSON Schema, closed: what it does not name is refused."""
    model: str
    """The alias to call; empty where the prompt names none."""
    params: Json
    """By their names in OpenAI's Chat Completions."""
    tools: tuple[Json, ...]
    response_format: Json | None


def etag(resolved: Resolved) -> str:
    """An entity tag of what :func:`tell` gives, without building it."""
    told = (resolved.digest, resolved.label, resolved.release, resolved.arm, resolved.intent)
    return f'"{hashlib.sha256(msgspec.json.encode(told)).hexdigest()[:32]}"'


def tell(snapshot: PromptSnapshot, project: str, resolved: Resolved) -> Told:
    """``resolved`` (of ``snapshot``) written out."""
    content = resolved.compiled.content
    pieces: dict[str, Piece] = {}
    _collect(snapshot, project, content, pieces)
    return Told(
        name=resolved.prompt,
        version=resolved.number,
        digest=resolved.digest,
        kind=resolved.kind,
        format=content.format,
        messages=content.messages or (Turn(_USER, content.text),),
        partials=content.partials,
        pieces=pieces,
        release=resolved.release,
        arm=resolved.arm,
        label=resolved.label,
        intent=resolved.intent,
        variables=schemas.closed(content.variables),
        model=str(content.params.get("model") or ""),
        params={name: value for name, value in content.params.items() if name != "model"},
        tools=content.tools,
        response_format=contents.response_format(content),
    )


def _collect(snapshot: PromptSnapshot, project: str, content: Content, pieces: dict[str, Piece]) -> None:
    for name, number in content.partials.items():
        if f"{name}@{number}" not in pieces:
            inner = snapshot.content(project, name, number)
            pieces[f"{name}@{number}"] = Piece(inner.text, inner.format, inner.partials)
            _collect(snapshot, project, inner, pieces)
