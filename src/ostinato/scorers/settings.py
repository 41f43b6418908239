"""What can be set of scorers: section ``[scorers]``. Code and secrets come from here alone, never over the API."""

import msgspec

from ostinato.core.errors import Invalid
from ostinato.core.secret import ApiKey


class Hook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody's server that scores: gets the subject as JSON by POST, answers with a score."""

    url: str
    secret: ApiKey | None = None
    """Signs what is sent: header ``ostinato-signature``, HMAC-SHA256. Left out: nothing is signed."""
    allow_private: bool = False
    """Whether the address may be one of this network."""
    timeout: float = 10.0
    """Seconds for one answer."""


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
    judge_calls: int = 1_000
    """Calls that judges of sampled traffic may make a day, in each process."""
    quarantine: float | None = None
    """A stored answer whose quality falls below this is withdrawn from the cache, where its rule does not say; left
    out: none is."""

    def check(self) -> None:
        """Raise ``Invalid`` for what cannot work."""
        for field, low, high in (("queue", 1, 1_000_000), ("concurrency", 1, 64), ("judge_calls", 0, 10**9)):
            if not low <= getattr(self, field) <= high:
                raise Invalid(f"From {low} to {high:,}.", code="invalid_setting", param=f"scorers.{field}")
        if self.queue_bytes < 1 or not 0 < self.timeout < 86_400:
            raise Invalid("Bounds are above 0.", code="invalid_setting", param="scorers.timeout")
        if self.quarantine is not None and not 0 <= self.quarantine <= 1:
            raise Invalid("From 0 to 1.", code="invalid_setting", param="scorers.quarantine")
