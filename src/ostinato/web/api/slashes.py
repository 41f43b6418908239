"""Names with slashes as one part of a path: ``/api/v1/prompts/support%2Fanswer``.

Servers hand on the path with ``%2F`` already turned into ``/``, which splits the name. Below ``/prompts`` and
``/datasets`` it becomes ``~`` instead, which no name holds and which may be written in its place.
"""

from typing import Any, cast
from urllib.parse import unquote

from ostinato.web.server import Asgi

_BELOW = ("/api/v1/prompts/", "/api/v1/datasets/")


def slashed(ref: str) -> str:
    """A name out of a path."""
    return ref.replace("~", "/")


class Slashes:
    """An application behind this sees no name split."""

    def __init__(self, application: Asgi) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raw = cast("bytes", scope.get("raw_path") or b"") if scope["type"] == "http" else b""
        if b"%" in raw and b"%2f" in raw.lower() and scope["path"].startswith(_BELOW):
            parts = raw.decode("latin-1").split("/")
            scope = {**scope, "path": "/".join(unquote(part).replace("/", "~") for part in parts)}
        await self._application(scope, receive, send)
