"""What can be wrong with a provider's bytes."""

from ostinato.wire.model import Event, Json


class Malformed(Exception):
    """The bytes are no answer of this wire: HTML, half a JSON, a wrong shape. The message never repeats the text."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.events: tuple[Event, ...] = ()
        """Raised by ``StreamReader.feed``: what the same bytes completed before the fault."""


class ErrorInStream(Exception):
    """The provider reported an error inside a 200 answer or in mid-stream."""

    def __init__(self, message: str, kind: str = "", status: int | None = None, raw: Json | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        """The provider's own type or code, e.g. ``overloaded_error``."""
        self.status = status
        """The HTTP status this error would have had, where the kind tells."""
        self.raw = raw
        self.events: tuple[Event, ...] = ()
        """Raised by ``StreamReader.feed``: what the same bytes completed before the error."""
