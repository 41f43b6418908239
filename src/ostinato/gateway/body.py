"""From a request's bytes to a JSON object, with errors that say what is wrong."""

import re

import msgspec

from ostinato.core.errors import Invalid
from ostinato.gateway.controls import Controls
from ostinato.wire.model import Json

_LONE_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)

_decode = msgspec.json.Decoder(Json).decode


class UnsupportedEncoding(Invalid):
    """The body is compressed."""

    status = 415
    default_code = "unsupported_encoding"


def read(body: bytes, controls: Controls) -> Json:
    """The JSON object in ``body``. Raises ``Invalid`` on anything else: empty, cut, not UTF-8, nested too deeply."""
    if controls.encoding:
        raise UnsupportedEncoding(
            f"The body is encoded as {controls.encoding.decode('latin-1')[:40]!r}.",
            hint="Send it plain, as application/json.",
        )
    if not body:
        raise Invalid("The request has no body.", hint="Send a JSON object.")
    try:
        return _decode(body)
    except RecursionError:
        raise Invalid("The body is nested too deeply.", code="too_deep") from None
    except UnicodeDecodeError:
        raise Invalid("The body is not UTF-8.", code="not_utf8") from None
    except msgspec.ValidationError as error:
        if "range" in str(error):
            raise Invalid("The body holds a number that is too large.", code="not_json") from None
        raise Invalid("The body is JSON, but not an object.", hint="Send {...}.") from None
    except msgspec.DecodeError as error:
        if _LONE_SURROGATE.search(body):
            raise Invalid("The body escapes half of a character, such as \\ud800.", code="not_json") from None
        code = "not_utf8" if "utf-8" in str(error).lower() else "not_json"
        raise Invalid(f"The body is not valid JSON: {error}.", code=code) from None
