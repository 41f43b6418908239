"""One base error and seven kinds, named by who must act.

Every error carries a stable ``code`` (for programs), a sentence (for people) and, where there is one, a ``hint``: the
way out. Only ``web`` turns them into HTTP; ``status`` is what it uses. Messages never hold secrets or prompt text.
"""

from typing import ClassVar


class OstinatoError(Exception):
    """Base of everything that Ostinato raises on purpose."""

    status: ClassVar[int] = 500
    default_code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str = "",
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.hint = hint
        self.param = param
        """The field of the request at fault, in dotted form."""
        self.retry_after = retry_after
        """Seconds after which a retry may succeed; ``None`` where unknown or useless."""

    @property
    def sentence(self) -> str:
        """Message and hint as one text for a person."""
        return f"{self.message} {self.hint}".strip()


class Invalid(OstinatoError):
    """The caller sent something wrong and must change it."""

    status = 400
    default_code = "invalid_request"


class NotFound(OstinatoError):
    """What was named does not exist, or not for this caller."""

    status = 404
    default_code = "not_found"


class Denied(OstinatoError):
    """The caller is unknown (401, ``authenticated=False``) or not allowed (403)."""

    status = 403
    default_code = "permission_denied"

    def __init__(self, message: str, *, authenticated: bool = True, code: str | None = None, hint: str = "") -> None:
        super().__init__(message, code=code or ("permission_denied" if authenticated else "invalid_api_key"), hint=hint)
        self.authenticated = authenticated


class Conflict(OstinatoError):
    """The state has moved on since the caller looked."""

    status = 409
    default_code = "conflict"


class LimitReached(OstinatoError):
    """A rate, budget or size limit; ``retry_after`` says when it may pass again."""

    status = 429
    default_code = "rate_limit_exceeded"


class UpstreamFailed(OstinatoError):
    """A provider refused or failed; see ``ostinato.providers.model`` for its particulars."""

    status = 502
    default_code = "upstream_failed"


class Unavailable(OstinatoError):
    """A part of Ostinato itself cannot answer now (storage, draining, overload)."""

    status = 503
    default_code = "unavailable"
