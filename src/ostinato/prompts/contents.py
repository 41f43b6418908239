"""From a draft to the content that is stored: judged, completed, canonical."""

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import msgspec

from ostinato import templates, wire
from ostinato.core import hashing
from ostinato.core.errors import Invalid
from ostinato.prompts import schemas
from ostinato.prompts.model import (
    LARGEST_CONTENT,
    MOST_MESSAGES,
    MOST_PARTIALS,
    MOST_TOOLS,
    Content,
    Draft,
    Kind,
)
from ostinato.wire.model import ChatRequest, Json

PARAMS: Final = frozenset(
    {
        "model",
        "temperature",
        "top_p",
        "top_k",
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "seed",
        "reasoning_effort",
        "tool_choice",
        "parallel_tool_calls",
        "frequency_penalty",
        "presence_penalty",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "extra_body",
    }
)
"""The parameters that a prompt may set, by their names in OpenAI's Chat Completions. ``extra_body`` is what OpenAI's
SDK means by it: fields that only some providers know, such as llama.cpp's ``grammar``."""

_ALIAS: Final = 200
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._/-]*[a-z0-9])?")

Pieces = Callable[[str, int], Content]
"""The content of a version of a partial, by name and number."""


def encode(content: Content) -> str:
    """The canonical JSON of a content: keys sorted, no spaces, defaults left out."""
    return hashing.canonical_json(msgspec.to_builtins(content)).decode()


def digest(encoded: str) -> str:
    """SHA-256 of a content's canonical JSON, hexadecimal."""
    return hashlib.sha256(encoded.encode()).hexdigest()


_DECODER = msgspec.json.Decoder(Content)


def decode(encoded: str | bytes) -> Content:
    """What :func:`encode` wrote."""
    return _DECODER.decode(encoded)


def texts(content: Content | Draft) -> list[tuple[str, str]]:
    """The templates of a content, in the order in which a model reads them: where, and text."""
    if content.messages:
        return [(f"messages.{index}", turn.template) for index, turn in enumerate(content.messages)]
    return [("text", content.text or "")]


def references(draft: Draft) -> tuple[str, ...]:
    """Names of the partials that a draft takes itself, sorted. Raises ``TemplateInvalid``."""
    return tuple(sorted({name for where, text in texts(draft) for name in _partials(where, text, draft.format)}))


def _partials(where: str, text: str, format: templates.Format) -> tuple[str, ...]:
    with _about(where):
        return templates.partials_of(text, format)


def build(kind: Kind, draft: Draft, pinned: Mapping[str, int], pieces: Pieces) -> Content:
    """The content that a draft comes to, with partials ``pinned`` to version numbers.

    Raises ``Invalid`` naming the field: a template that cannot be read, a name that the schema does not declare, a
    parameter that does not exist, a schema that is none, anything beyond the bounds.
    """
    _shape(kind, draft)
    content = Content(
        kind=kind,
        format=draft.format,
        text=draft.text or "",
        messages=draft.messages or (),
        response_schema=draft.response_schema,
        tools=draft.tools,
        params=draft.params,
        partials=dict(pinned),
    )
    compiled = compile_texts(content, pieces)
    uses = tuple(use for template in compiled for use in template.uses)
    names = {use.path[0] for use in uses}
    if len(names) > templates.MOST_VARIABLES:
        raise Invalid(
            f"More than {templates.MOST_VARIABLES:,} variables in one prompt.", code="too_many_variables", param="text"
        )
    if draft.variables is None:
        content = msgspec.structs.replace(content, variables=templates.infer_schema(uses))
    else:
        schemas.check(draft.variables, "variables", of_object=True)
        content = msgspec.structs.replace(content, variables=draft.variables)
        _declared(uses, draft.variables)
    _call(content)
    if len(encode(content).encode()) > LARGEST_CONTENT:
        raise Invalid(f"A version has at most {LARGEST_CONTENT:,} bytes of JSON.", code="version_too_large")
    return content


def compile_texts(content: Content, pieces: Pieces) -> list[templates.Template]:
    """The templates of a content, compiled with the partials that it pins. Raises ``TemplateInvalid``."""
    partials = compile_partials(content.partials, pieces)
    found: list[templates.Template] = []
    for where, text in texts(content):
        with _about(where):
            found.append(templates.compile_template(text, content.format, partials))
    return found


def compile_partials(pinned: Mapping[str, int], pieces: Pieces) -> dict[str, templates.Template]:
    """Pinned partials by name, each compiled with those that it pins itself."""
    compiled: dict[tuple[str, int], templates.Template] = {}

    def one(name: str, number: int, depth: int) -> templates.Template:
        found = compiled.get((name, number))
        if found is None:
            if depth > templates.DEEPEST_PARTIALS:
                raise Invalid(
                    f"Partials are nested more than {templates.DEEPEST_PARTIALS} deep.", code="partials_too_deep"
                )
            if len(compiled) >= MOST_PARTIALS:
                raise Invalid(f"A prompt takes at most {MOST_PARTIALS} partials.", code="too_many_partials")
            piece = pieces(name, number)
            inner = {key: one(key, value, depth + 1) for key, value in piece.partials.items()}
            found = compiled[name, number] = templates.compile_template(piece.text, piece.format, inner)
        return found

    return {name: one(name, number, 1) for name, number in pinned.items()}


def request_of(content: Content) -> ChatRequest:
    """Tools, parameters and the answer's format of a content, as a request without messages. Raises ``Invalid``."""
    own = dict(content.params)
    more = _extra_body(own.pop("extra_body", None))
    body: Json = {"messages": [{"role": "user", "content": "-"}], **more, **own}
    body["model"] = body.get("model") or "-"
    if content.tools:
        body["tools"] = list(content.tools)
    if content.response_schema is not None:
        body["response_format"] = response_format(content)
    request = wire.codec("openai.chat").read_request(body)
    for name in more:
        # Whatever the canonical request knows has a place of its own, where it is judged and takes effect.
        if name not in (request.extra or {}).get("openai.chat", {}):
            raise Invalid(f"{name[:80]!r} cannot be set there.", param=f"extra_body.{name[:80]}")
    return request


def _extra_body(given: object) -> Json:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise Invalid("It holds fields by name.", param="extra_body")
    return cast("Json", given)


def response_format(content: Content) -> Json | None:
    """The answer's schema as OpenAI's ``response_format``; ``None`` where there is none."""
    schema = content.response_schema
    if schema is None:
        return None
    title: object = schema.get("title")
    name = re.sub(r"[^A-Za-z0-9_-]", "_", title)[:64] if isinstance(title, str) and title else "answer"
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}


def check_name(name: str, what: str = "prompt", param: str = "name", most: int = 200) -> str:
    """A name that prompts and labels may have."""
    if (
        not 0 < len(name) <= most
        or _NAME.fullmatch(name) is None
        or any(part in ("", ".", "..") for part in name.split("/"))
    ):
        raise Invalid(
            f"{name[:80]!r} is no name for a {what}.",
            code="invalid_name",
            param=param,
            hint=f"1 to {most} lowercase letters, digits, '.', '_', '-' and '/', such as "
            + ("'staging'." if what == "label" else "'support/answer'."),
        )
    return name


def _shape(kind: Kind, draft: Draft) -> None:
    """Refuse what does not belong to a prompt of this kind."""
    if kind == "chat":
        if draft.text is not None:
            raise Invalid("A chat prompt has messages, not a text.", param="text")
        if not draft.messages:
            raise Invalid("A chat prompt needs at least one message.", param="messages")
        if len(draft.messages) > MOST_MESSAGES:
            raise Invalid(f"A chat prompt has at most {MOST_MESSAGES} messages.", param="messages")
    else:
        if draft.messages is not None:
            raise Invalid(f"A prompt of kind {kind} has a text, not messages.", param="messages")
        if not draft.text:
            raise Invalid("The text of this prompt is missing.", param="text")
    if kind == "partial":
        for name in ("response_schema", "tools", "params"):
            if getattr(draft, name):
                raise Invalid(f"A partial is a piece of text and has no {name}.", param=name)
        if draft.format != "plain":
            raise Invalid(
                "A partial is logic-less: Jinja2 templates take none.",
                param="format",
                hint="Write it with format plain.",
            )
    unknown = sorted(set(draft.params) - PARAMS)
    if unknown:
        raise Invalid(
            f"There is no parameter {unknown[0][:80]!r}.",
            code="unknown_parameter",
            param=f"params.{unknown[0][:80]}",
            hint=f"The parameters are: {', '.join(sorted(PARAMS))}.",
        )
    if len(draft.tools) > MOST_TOOLS:
        raise Invalid(f"A prompt has at most {MOST_TOOLS} tools.", param="tools")


def _declared(uses: tuple[templates.Use, ...], schema: Mapping[str, Any]) -> None:
    missing = templates.undeclared(uses, schema)
    if missing:
        name = ".".join(missing[0].path)
        properties: object = schema.get("properties", {})
        known = ", ".join(sorted(cast("Json", properties))) if isinstance(properties, dict) else ""
        raise Invalid(
            f"The template takes {name!r}, which the schema of the variables does not declare.",
            code="undeclared_variable",
            param=f"variables.{name}",
            hint=f"Declared are: {known or 'none'}. Add it, or leave the schema out to have it made from the template.",
        )


def _call(content: Content) -> None:
    """See that tools, parameters and the answer's schema are what a provider could be sent."""
    if content.response_schema is not None:
        schemas.check(content.response_schema, "response_schema")
    model: object = content.params.get("model")
    if model is not None and (
        not isinstance(model, str) or not 0 < len(model) <= _ALIAS or not model.isprintable() or ":" in model[:8]
    ):
        raise Invalid(
            "The model of a prompt is the alias to call.",
            param="params.model",
            hint="`ostinato models list` shows the aliases.",
        )
    try:
        request_of(content)
    except Invalid as error:
        where = error.param or ""
        if where and not where.startswith(("tools", "response_format")):
            where = f"params.{where}"
        raise Invalid(error.message, code=error.code, hint=error.hint, param=where or None) from None


class _about:
    """Let an error say which template it is about."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Invalid) and error.param is None:
            error.param = self.where
