"""``[notifying]``: how messages are delivered, and how long what could not be is kept."""

from typing import Literal

import msgspec

from ostinato.core.errors import Invalid
from ostinato.core.secret import ApiKey


class Mail(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[notifying.mail]``: the server that takes e-mail. Without ``host`` there are no endpoints of the kind."""

    host: str = ""
    port: int = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    """``tls`` from the first byte (port 465), ``starttls`` (587), or ``none``, for a relay on this machine."""
    user: str = ""
    password: ApiKey | None = None
    """By reference: ``{env = "NAME"}`` or ``{file = "PATH"}``."""
    sender: str = ""
    """Address that messages come from."""
    domains: tuple[str, ...] = ()
    """Domains that mail may be sent to; empty: every one."""
    timeout: float = 15.0
    """Seconds for one step of the conversation."""
    ca_file: str = ""
    """PEM file with certificates to trust; empty: those of the system."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Deliveries of messages. Times as their names say."""

    allow_private: tuple[str, ...] = ()
    """Hosts on loopback or in private networks that may be called all the same, plainly too; any other is refused."""
    timeout_seconds: float = 15.0
    """For one delivery, everything included."""
    retry_seconds: tuple[float, ...] = (
        5.0, 30.0, 120.0, 600.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 28_800.0, 43_200.0, 43_200.0, 43_200.0,
    )  # fmt: skip
    """Pauses between tries, each a fifth longer or shorter by chance; after the last try it is a dead letter."""
    disable_days: float = 5.0
    """An endpoint that has failed for so long without one success is disabled; 0: never."""
    rotation_hours: float = 24.0
    """How long the old secret goes on signing beside the new one."""
    concurrency: int = 4
    """Deliveries to one endpoint at a time."""
    total_concurrency: int = 32
    """Deliveries at a time."""
    queue: int = 10_000
    """Undelivered messages of one endpoint; what comes beyond it is refused, and counted."""
    total_queue: int = 100_000
    """The same for all together."""
    keep_delivered_days: float = 3.0
    """How long delivered messages can be looked at."""
    keep_dead_days: float = 30.0
    """How long dead letters can be sent again."""
    mail: Mail = Mail()

    def check(self) -> None:
        """Raise ``Invalid`` for what cannot be."""
        for name in ("timeout_seconds", "concurrency", "total_concurrency", "queue", "total_queue"):
            if getattr(self, name) <= 0:
                raise Invalid("It must be above 0.", param=f"notifying.{name}")
        if not self.retry_seconds:
            raise Invalid("There must be a pause before a second try.", param="notifying.retry_seconds")
        if self.mail.host and "@" not in self.mail.sender:
            raise Invalid("Mail needs an address that it comes from.", param="notifying.mail.sender")
