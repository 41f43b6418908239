"""What notices and their wires to other processes know of each other, and how a notice is counted."""

from collections.abc import Callable
from typing import Protocol

import msgspec
import sqlalchemy as sa

CHANNEL = "ostinato_notice"

_COUNT = sa.text(
    "INSERT INTO notice (topic, version) VALUES (:topic, 1) "
    "ON CONFLICT (topic) DO UPDATE SET version = notice.version + 1 RETURNING version"
)
_NOTIFY = sa.text("SELECT pg_notify(:channel, :payload)")


class Wire(Protocol):
    """One way to other processes."""

    hears_marks: bool
    """Whether what was announced by :func:`mark` reaches the others this way already."""

    async def start(self) -> None:
        """Begin to listen; does not fail because a server is away."""
        ...

    def send(self, topic: str, detail: str) -> None:
        """Tell the others soon; from any thread."""
        ...

    async def close(self) -> None:
        """Stop."""
        ...


class Hub(Protocol):
    """What a wire needs of ``Notices``."""

    process: str
    """Who we are, so that our own notices are not taken for another's."""

    def fire(self, topic: str, detail: str) -> None:
        """Tell the subscribers of this process."""
        ...

    def fire_all(self) -> None:
        """Tell all of them that something may have changed."""
        ...

    def call(self, function: Callable[[str, str], None], topic: str, detail: str) -> None:
        """Call ``function`` on the event loop."""
        ...


def mark(connection: sa.Connection, topic: str, detail: str, process: str) -> None:
    """Count a notice within a transaction; on PostgreSQL, send it when that commits."""
    version = connection.execute(_COUNT, {"topic": topic}).scalar_one()
    if connection.dialect.name == "postgresql":
        payload = msgspec.json.encode([process, topic, version, detail]).decode()
        connection.execute(_NOTIFY, {"channel": CHANNEL, "payload": payload})
