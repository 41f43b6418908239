"""Who calls, and what a key allows. Frozen: a :class:`Caller` lives in a snapshot and is shared by requests."""

import msgspec

from ostinato.core import hashing


class RateLimit(msgspec.Struct, frozen=True, gc=False):
    """A token bucket: ``requests`` per ``seconds``, bursts up to ``requests``."""

    requests: int
    seconds: float = 60.0


class MoneyBudget(msgspec.Struct, frozen=True, gc=False):
    """At most ``nano`` nano-dollars per period."""

    nano: int
    period: str = "month"
    """``day``, ``month`` or ``total``; UTC calendar."""


class Caller(msgspec.Struct, frozen=True):
    """The actor of a data-plane call, as its key says. Everything that can change a decision is in ``digest``."""

    key_id: str
    key_prefix: str
    """First characters of the key, safe to show."""
    org: str
    project: str
    allowed_models: frozenset[str] | None = None
    """Aliases; ``None``: all of the project's."""
    end_user_required: bool = False
    """Such a key is never answered from cache without a named end user."""
    may_act_for_users: bool = True
    """Whether ``ostinato-user``, ``-session`` and ``-tags`` are heard for scope."""
    permissions: frozenset[str] = frozenset()
    rate: RateLimit | None = None
    budget: MoneyBudget | None = None
    expires_at: int | None = None
    """UTC microseconds."""
    store_text: bool = False
    """Whether the project lets the ledger keep prompt and answer text."""
    digest: bytes = b""

    def sealed(self) -> "Caller":
        """This caller with ``digest`` set from every field that can change what is answered."""
        return msgspec.structs.replace(
            self,
            digest=hashing.digest_of(
                [
                    self.org,
                    self.project,
                    sorted(self.allowed_models) if self.allowed_models is not None else None,
                    self.end_user_required,
                    self.may_act_for_users,
                    self.store_text,
                ]
            ),
        )
