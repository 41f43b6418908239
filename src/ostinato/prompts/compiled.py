"""A version, ready to render: templates compiled, parameters read, variables judged."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ostinato.prompts import contents, schemas
from ostinato.prompts.model import Content, InvalidVariable, Role
from ostinato.templates import Template
from ostinato.wire.model import ChatRequest, Json, Message, Text, Tool

_PARAMS: Final = (
    "tool_choice",
    "parallel_tool_calls",
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "stop",
    "reasoning",
    "extra",
)
"""Fields of a request that a prompt's parameters may set."""
_NOTHING: Final[Mapping[str, Any]] = {}


class Rendered(msgspec.Struct, frozen=True, gc=False):
    """A prompt with its variables filled in."""

    messages: tuple[Message, ...]
    """A text prompt is one message of the user."""
    params: Json
    """Fields of :class:`wire.model.ChatRequest` that the prompt sets; shared by all renderings, never change it."""
    tools: tuple[Tool, ...]
    response_format: Json | None
    model: str
    """The alias to call; empty where the prompt names none."""

    def into(self, request: ChatRequest) -> ChatRequest:
        """``request`` with this prompt before its own messages. What the request sets itself wins over the prompt.

        ``model`` stays what was asked for; ``prompt`` and ``original`` are dropped: all is in what is told here.
        """
        fields: Json = {"messages": self.messages + request.messages, "prompt": None, "original": None}
        if self.tools and not request.tools:
            fields["tools"] = self.tools
        if self.response_format is not None and request.response_format is None:
            fields["response_format"] = self.response_format
        for name, value in self.params.items():
            own: Any = getattr(request, name)
            if name == "extra" and own:
                fields[name] = _merged(value, own)
            elif own is None or own == ():
                fields[name] = value
        return msgspec.structs.replace(request, **fields)


def _merged(prompt: Json, own: Json) -> Json:
    found = dict(prompt)
    for wire, values in own.items():
        inner = found.get(wire)
        found[wire] = {**inner, **values} if isinstance(inner, dict) and isinstance(values, dict) else values
    return found


class Compiled:
    """One version. Immutable after it is made; shared by all requests."""

    __slots__ = ("_judge", "_rest", "_schema", "_turns", "content")

    def __init__(self, content: Content, pieces: contents.Pieces) -> None:
        self.content = content
        self._schema = schemas.closed(content.variables)
        self._judge = schemas.validator(self._schema)
        self._turns = _turns(content, contents.compile_texts(content, pieces))
        request = contents.request_of(content)
        params = {name: value for name in _PARAMS if (value := getattr(request, name)) not in (None, ())}
        model: Any = content.params.get("model")
        self._rest = (params, request.tools, request.response_format, model or "")

    def render(self, variables: Mapping[str, Any] | None = None) -> Rendered:
        """The messages with ``variables`` filled in.

        Raises ``MissingVariable``, ``UnknownVariable``, ``InvalidVariable`` (422, ``param`` names it), and
        ``templates.Unrenderable`` where too much comes of it.
        """
        values = _NOTHING if variables is None else variables
        self.check(values)
        messages = [
            turn if type(turn) is Message else Message(turn[0], (Text(turn[1].render(values)),)) for turn in self._turns
        ]
        return Rendered(tuple(messages), *self._rest)

    def check(self, values: Mapping[str, Any]) -> None:
        """Raise ``InvalidVariable`` unless ``values`` fit the schema of the variables."""
        try:
            fits = self._judge.is_valid(values)
        except (ValueError, RecursionError, OverflowError, TypeError):
            raise InvalidVariable("The variables are not JSON values.", param="prompt.variables") from None
        if not fits:
            raise schemas.complain(self._judge, self._schema, values)


def _turns(content: Content, compiled: list[Template]) -> tuple[Any, ...]:
    roles: list[Role] = [turn.role for turn in content.messages] or ["user"]
    return tuple(
        Message(role, (Text(template.render({})),)) if template.fixed else (role, template)
        for role, template in zip(roles, compiled, strict=True)
    )
