"""Errors of everything but ``/v1``: RFC 9457 problem documents."""

import msgspec

from ostinato.core.errors import OstinatoError

CONTENT_TYPE = "application/problem+json"


def problem(error: OstinatoError, status: int) -> bytes:
    """The document: ``type`` and ``title`` from the stable code, ``detail`` the sentence, ``hint`` the way out."""
    document: dict[str, object] = {
        "type": f"urn:ostinato:{error.code}",
        "title": error.code.replace("_", " "),
        "status": status,
        "detail": error.message,
        "code": error.code,
    }
    if error.hint:
        document["hint"] = error.hint
    if error.param:
        document["param"] = error.param
    return msgspec.json.encode(document)
