"""A prompt as the server resolved it, and what it renders to."""

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from ostinato import templates
from ostinato.client.refusals import InvalidVariables
from ostinato.core.errors import Invalid
from ostinato.wire.model import Json

DEEPEST: Final = 32

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list, tuple),
    "object": (dict,),
    "null": (type(None),),
}


class Rendered(msgspec.Struct, frozen=True):
    """A prompt with its variables filled in."""

    messages: list[Json]
    """``{"role": ..., "content": ...}``, in order; a text prompt is one message of the user."""
    model: str
    """The alias that the prompt wants called; empty where it names none."""
    params: Json
    """Temperature and the like."""
    tools: list[Json]
    response_format: Json | None

    @property
    def text(self) -> str:
        """The contents of all messages, a blank line between them; of a text prompt, its text."""
        return "\n\n".join(str(message["content"]) for message in self.messages)

    def arguments(self) -> Json:
        """Keyword arguments for ``openai.OpenAI(...).chat.completions.create``."""
        found: Json = {"messages": self.messages, **self.params}
        if self.model:
            found["model"] = self.model
        if self.tools:
            found["tools"] = self.tools
        if self.response_format is not None:
            found["response_format"] = self.response_format
        return found


class Turn(msgspec.Struct, frozen=True):
    """One message of a prompt."""

    role: str
    template: str


class Piece(msgspec.Struct, frozen=True):
    """A version of a partial."""

    template: str
    format: templates.Format = "plain"
    partials: dict[str, int] = {}


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the server tells of a prompt: the body of ``GET /api/v1/prompts/NAME/resolved``."""

    name: str
    version: int
    digest: str
    kind: str
    format: templates.Format = "plain"
    messages: tuple[Turn, ...]
    """A text prompt is one message of the user."""
    partials: dict[str, int] = {}
    """Pinned: name -> version."""
    pieces: dict[str, Piece] = {}
    """``NAME@VERSION`` of every partial, those of partials included."""
    release: str = ""
    arm: str = ""
    label: str = ""
    intent: str = ""
    variables: Json | None = None
    model: str = ""
    params: Json = {}
    tools: tuple[Json, ...] = ()
    response_format: Json | None = None


class Prompt:
    """A version of a prompt. Immutable; safe for threads."""

    def __init__(self, told: Told, *, stale: bool = False) -> None:
        self._told = told
        self._compiled: list[tuple[str, templates.Template]] | None = None
        self.name = told.name
        self.version = told.version
        self.digest = told.digest
        """SHA-256 of the content, in hexadecimal."""
        self.label = told.label
        """The label that it was found by; empty if by number."""
        self.release = told.release
        """Id of the release that moved the label here; empty where none did."""
        self.arm = told.arm
        """``stable``, ``canary`` or ``control``, where a canary runs."""
        self.intent = told.intent
        self.kind = told.kind
        self.variables = told.variables
        """JSON Schema of the variables."""
        self.model = told.model
        """The alias that it wants called; empty where it names none."""
        self.stale = stale
        """Whether the server could not be reached, and this is how the prompt was last seen."""

    def __repr__(self) -> str:
        stale = ", stale" if self.stale else ""
        return f"Prompt({self.name!r}, version={self.version}, label={self.label!r}{stale})"

    def render(self, variables: Mapping[str, Any] | None = None, /, **more: Any) -> Rendered:
        """The prompt with its variables filled in, here, without asking the server.

        Raises ``InvalidVariables`` naming the variable that is missing, unknown or of another type. The server also
        holds values to the rest of the JSON Schema (lengths, patterns ...) when it renders.
        """
        values = {**(variables or {}), **more}
        check(self.variables, values)
        told = self._told
        messages: list[Json] = [
            {"role": role, "content": template.render(values)} for role, template in self._templates()
        ]
        return Rendered(messages, told.model, told.params, list(told.tools), told.response_format)

    def as_stale(self) -> "Prompt":
        """The same, said to be stale."""
        if self.stale:
            return self
        found = Prompt(self._told, stale=True)
        found._compiled = self._compiled
        return found

    def _templates(self) -> list[tuple[str, templates.Template]]:
        # Two threads at once compile the same twice, and no harm is done.
        if self._compiled is None:
            told = self._told
            pieces = _Pieces(told.pieces)
            partials = pieces.of(told.partials)
            self._compiled = [
                (turn.role, templates.compile_template(turn.template, told.format, partials)) for turn in told.messages
            ]
        return self._compiled


class _Pieces:
    """Partials, each compiled once."""

    def __init__(self, pieces: Mapping[str, Piece]) -> None:
        self._pieces = pieces
        self._compiled: dict[str, templates.Template] = {}

    def of(self, wanted: Mapping[str, int], depth: int = 0) -> dict[str, templates.Template]:
        if depth > DEEPEST:
            raise Invalid("Partials are nested too deeply.", code="partials_too_deep")
        return {name: self._one(f"{name}@{number}", depth) for name, number in wanted.items()}

    def _one(self, reference: str, depth: int) -> templates.Template:
        found = self._compiled.get(reference)
        if found is None:
            piece = self._pieces.get(reference)
            if piece is None:
                raise Invalid(f"The server left out the partial {reference}.", code="partial_not_found")
            inner = self.of(piece.partials, depth + 1)
            found = self._compiled[reference] = templates.compile_template(piece.template, piece.format, inner)
        return found


def check(schema: Json | None, values: Mapping[str, Any]) -> None:
    """Raise ``InvalidVariables`` where a variable is missing, unknown, or of another type than the schema's."""
    if schema is None:
        return
    known = _object(schema.get("properties"))
    required = schema.get("required")
    for name in cast("list[object]", required) if isinstance(required, list) else []:
        if name not in values:
            raise InvalidVariables(
                f"The variable {name!r} is missing.", code="missing_variable", param=f"prompt.variables.{name}"
            )
    for name, value in values.items():
        if name not in known:
            if schema.get("additionalProperties") is False:
                raise InvalidVariables(
                    f"The prompt has no variable {name[:200]!r}.",
                    code="unknown_variable",
                    param=f"prompt.variables.{name[:200]}",
                    hint=f"Its variables are: {', '.join(sorted(known)) or 'none'}.",
                )
            continue
        wanted = _object(known[name]).get("type")
        names = [wanted] if isinstance(wanted, str) else cast("list[str]", wanted) if isinstance(wanted, list) else []
        if names and not any(_is(value, one) for one in names):
            raise InvalidVariables(
                f"The variable {name!r} must be of type {' or '.join(map(str, names))}, not {type(value).__name__}.",
                code="invalid_variable",
                param=f"prompt.variables.{name}",
            )


def _is(value: object, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return name not in _TYPES or isinstance(value, _TYPES[name])


def _object(value: object) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}
