"""What can be set of scorers: section ``[scorers]``. Code and secrets come from here alone, never over the API."""

import msgspec


class Hook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody's server that scores: gets the subject as JSON by POST, answers with a score."""

    url: str
    secret: str = ""
    """Signs what is sent: header ``ostinato-signature``, HMAC-SHA256. Empty: nothing is signed."""
    allow_private: bool = False
    """Whether the address may be one of this network."""
    timeout: float = 10.0
    """Seconds for one answer."""

    def __repr__(self) -> str:
        return f"Hook(url={self.url!r}, secret={'***' if self.secret else ''!r})"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    functions: dict[str, str] = {}
    """Python functions of your own: name -> ``package.module:function``; scorers of the kind ``python`` name them."""
    hooks: dict[str, Hook] = {}
    """HTTP hooks by name; scorers of the kind ``http`` name them."""
    queue: int = 1000
    """Sampled answers that may wait to be scored; what comes beyond is counted and not scored."""
    queue_bytes: int = 33_554_432
    """And the bytes of their texts."""
    concurrency: int = 4
    """Answers of the traffic that are scored at a time."""
    timeout: float = 60.0
    """Seconds that one scorer may take for one answer."""
    quarantine: float | None = None
    """A stored answer whose quality falls below this is withdrawn from the cache; left out: none is."""
