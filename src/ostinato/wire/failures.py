"""Errors in the wires' own shapes: those we send, and those a provider hides in an answer."""

from ostinato.core.errors import Conflict, Denied, Invalid, LimitReached, NotFound, OstinatoError, Unavailable
from ostinato.wire.errors import ErrorInStream, Malformed
from ostinato.wire.jsons import DECODE_ERRORS, decode, encode, is_integer, is_object, string
from ostinato.wire.model import Json

_STATUS_OF_KIND = {
    "invalid_request_error": 400,
    "invalid_prompt": 400,
    "context_length_exceeded": 400,
    "content_filter": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "too_many_requests": 429,
    "api_error": 500,
    "server_error": 500,
    "internal_server_error": 500,
    "internal_error": 500,
    "timeout_error": 504,
    "gateway_timeout_error": 504,
    "service_unavailable": 503,
    "engine_overloaded": 503,
    "overloaded_error": 529,
}


def reported(value: object) -> ErrorInStream:
    """What a provider put under ``error`` (or in an error event), whatever its shape."""
    if not is_object(value):
        return ErrorInStream(string(value) or "The provider reported an error.", raw={"error": value})
    inner: object = value.get("error")
    if is_object(inner):
        value = inner
    message = string(value.get("message")) or string(inner) or "The provider reported an error."
    kinds = [kind for kind in (string(value.get("code")), string(value.get("type"))) if kind and kind != "error"]
    code: object = value.get("code")
    if is_integer(code) and 400 <= code <= 599:
        status: int | None = code
    else:
        status = next((_STATUS_OF_KIND[kind.lower()] for kind in kinds if kind.lower() in _STATUS_OF_KIND), None)
    return ErrorInStream(message, kind=kinds[-1] if kinds else "", status=status, raw=value)


_MAX_ERROR = 65_536
"""Bytes of a JSON body that may still be an error rather than an answer."""


def refuse_body(beginning: bytes) -> None:
    """Raises on the beginning of a whole JSON or HTML body, where a stream was asked for."""
    begin = beginning.lstrip()
    if begin[:1] == b"<":
        raise Malformed("The provider sent HTML or XML instead of a stream.")
    if begin[:1] == b"{":
        if len(begin) > _MAX_ERROR:
            raise Malformed("The provider sent a JSON body instead of a stream.")
        try:
            value: object = decode(begin)
        except DECODE_ERRORS:
            return
        if is_object(value) and (value.get("error") is not None or value.get("type") == "error"):
            raise reported(value)
        raise Malformed("The provider sent a JSON body instead of a stream.")


def openai_type(error: OstinatoError) -> str:
    """OpenAI's ``type`` for one of our errors."""
    if isinstance(error, Invalid | NotFound | Conflict):
        return "invalid_request_error"
    if isinstance(error, Denied):
        return "permission_error" if error.authenticated else "authentication_error"
    if isinstance(error, LimitReached):
        return "rate_limit_error"
    return "server_error"


def openai_error(error: OstinatoError) -> Json:
    """The ``error`` object of OpenAI's two wires."""
    return {"message": error.sentence, "type": openai_type(error), "param": error.param, "code": error.code}


def openai_body(error: OstinatoError) -> bytes:
    return encode({"error": openai_error(error)})


_ANTHROPIC_TYPES: list[tuple[type[OstinatoError], str]] = [
    (Invalid, "invalid_request_error"),
    (NotFound, "not_found_error"),
    (Conflict, "invalid_request_error"),
    (LimitReached, "rate_limit_error"),
    (Unavailable, "overloaded_error"),
]


def anthropic_error(error: OstinatoError) -> Json:
    """Anthropic's whole error object, in a body and in an ``error`` event alike."""
    if isinstance(error, Denied):
        kind = "permission_error" if error.authenticated else "authentication_error"
    elif error.code == "request_too_large":
        kind = "request_too_large"
    else:
        kind = next((name for cls, name in _ANTHROPIC_TYPES if isinstance(error, cls)), "api_error")
    return {"type": "error", "error": {"type": kind, "message": error.sentence}}


def anthropic_body(error: OstinatoError) -> bytes:
    return encode(anthropic_error(error))
