"""OpenAI's embeddings: requests, replies and vectors as little-endian float32."""

import base64
import binascii
import struct
import sys
from array import array
from typing import Any, TypeGuard

from ostinato.wire import fields
from ostinato.wire.errors import Malformed
from ostinato.wire.failures import reported
from ostinato.wire.fields import invalid
from ostinato.wire.jsons import encode, is_array, is_integer, is_object, parse_object
from ostinato.wire.model import EmbeddingRequest, Json, Usage
from ostinato.wire.usage import read_openai

MAX_INPUTS = 2048
"""Inputs of one request, as at OpenAI."""
MAX_DIMENSIONS = 1 << 16

_KNOWN = frozenset({"model", "input", "dimensions", "encoding_format", "user"})


def read_request(body: Json) -> EmbeddingRequest:
    """Raises ``Invalid`` naming the field that is wrong."""
    model = fields.model(body)
    dimensions = body.get("dimensions")
    form = body.get("encoding_format")
    user = body.get("user")
    if form not in (None, "float", "base64"):
        raise invalid("encoding_format", "must be float or base64")
    extra = {key: value for key, value in body.items() if key not in _KNOWN}
    return EmbeddingRequest(
        model=model,
        inputs=_inputs(body.get("input")),
        dimensions=None if dimensions is None else fields.integer(dimensions, "dimensions", 1, MAX_DIMENSIONS),
        encoding_format="base64" if form == "base64" else "float",
        user=None if user is None else fields.string(user, "user"),
        extra=extra or None,
    )


def _is_tokens(value: object) -> TypeGuard[list[int]]:
    return is_array(value) and bool(value) and all(is_integer(item) and 0 <= item < 1 << 31 for item in value)


def _inputs(value: object) -> tuple[str | tuple[int, ...], ...]:
    if isinstance(value, str):
        return (_text(value, "input"),)
    if not is_array(value):
        raise invalid("input", "is missing" if value is None else "must be a string or an array")
    if not value:
        raise invalid("input", "must hold at least one text")
    if _is_tokens(value):
        return (tuple(value),)
    if len(value) > MAX_INPUTS:
        raise invalid("input", f"must hold at most {MAX_INPUTS} texts")
    return tuple([_input(item, index) for index, item in enumerate(value)])


def _input(item: Any, index: int) -> str | tuple[int, ...]:
    if isinstance(item, str):
        return _text(item, f"input.{index}")
    if _is_tokens(item):
        return tuple(item)
    raise invalid(f"input.{index}", "must be a string or a non-empty array of token numbers")


def _text(text: str, at: str) -> str:
    if not text:
        raise invalid(at, "must not be empty")
    return text


def write_request(request: EmbeddingRequest, model: str) -> Json:
    """The body for a provider; base64 is asked for, since it is exact and a quarter of the size."""
    body: Json = {
        "model": model,
        "input": [item if isinstance(item, str) else list(item) for item in request.inputs],
        "encoding_format": "base64",
    }
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    if request.user is not None:
        body["user"] = request.user
    if request.extra:
        body.update(request.extra)
    return body


def read_reply(body: bytes) -> tuple[tuple[bytes, ...], Usage]:
    """A provider's vectors in the order of the inputs, and what they cost; floats and base64 are both understood."""
    value = parse_object(body)
    if value.get("error") is not None:
        raise reported(value["error"])
    data: object = value.get("data")
    if not is_array(data) or not data:
        raise Malformed("The provider's reply holds no embeddings.")
    vectors: list[bytes | None] = [None] * len(data)
    for position, item in enumerate(data):
        if not is_object(item):
            raise Malformed("The provider's reply holds an embedding that is no object.")
        index: object = item.get("index", position)
        if not is_integer(index) or not 0 <= index < len(data) or vectors[index] is not None:
            raise Malformed("The provider's reply numbers its embeddings wrongly.")
        vectors[index] = _vector(item.get("embedding"))
    usage: object = value.get("usage")
    complete = tuple([vector for vector in vectors if vector is not None])
    return complete, read_openai(usage) if is_object(usage) else Usage()


def _vector(value: object) -> bytes:
    if isinstance(value, str):
        try:
            vector = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Malformed("The provider's reply holds an embedding that is no base64.") from error
    elif is_array(value):
        try:
            vector = struct.pack(f"<{len(value)}f", *value)
        except (struct.error, OverflowError) as error:
            raise Malformed("The provider's reply holds an embedding that is no list of numbers.") from error
    else:
        raise Malformed("The provider's reply holds no vector where one should be.")
    if not vector or len(vector) % 4:
        raise Malformed("The provider's reply holds an embedding of a wrong size.")
    return vector


def _floats(vector: bytes) -> list[float]:
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def write_reply(request: EmbeddingRequest, vectors: tuple[bytes, ...], usage: Usage, model_echo: str) -> bytes:
    """The reply for the caller, one vector per input, in the encoding that was asked for."""
    as_text = request.encoding_format == "base64"
    tokens = usage.input + usage.cache_read + usage.cache_write
    return encode(
        {
            "object": "list",
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": base64.b64encode(vector).decode() if as_text else _floats(vector),
                }
                for index, vector in enumerate(vectors)
            ],
            "model": model_echo,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )
