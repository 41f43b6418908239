"""A small door to valkey-glide: URLs, connections that may be away, errors.

URLs: ``valkey://[user:password@]host[:port][/database]`` (``redis://`` too), ``valkeys://`` (``rediss://``) with TLS,
``valkey+unix:///path/to/socket``. ``?cluster=true`` speaks to a cluster from any of its nodes.
"""

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from ostinato.core.errors import Invalid, Unavailable

try:
    import glide
except ModuleNotFoundError as error:
    raise Invalid(
        "The driver for Valkey is not installed.",
        code="storage_driver",
        hint="Install the extra, in a clone: pip install '.[valkey]'",
    ) from error

FAILURES = (glide.GlideError, OSError)
"""What a call raises when the server is away, slow or refuses."""

REQUEST_MS = 250
CONNECT_MS = 500
_BATCH_MS = 5_000
_INFLIGHT = 2_000

Argument = bytes | str


class Address:
    """What a URL says. Its ``repr`` holds no password."""

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port or 6379
        except ValueError as error:
            raise _wrong_url() from error
        options = parse_qs(parts.query)
        self.cluster = options.pop("cluster", ["false"])[-1].lower() in ("true", "1", "yes")
        self.tls = parts.scheme in ("valkeys", "rediss")
        self.user = unquote(parts.username or "")
        self.password = unquote(parts.password or "")
        self.socket = ""
        self.database = 0
        if parts.scheme in ("valkey+unix", "redis+unix", "unix"):
            self.socket = parts.path
        elif parts.scheme not in ("valkey", "redis", "valkeys", "rediss") or not parts.hostname:
            raise _wrong_url()
        elif parts.path.strip("/"):
            if not parts.path.strip("/").isdigit():
                raise _wrong_url()
            self.database = int(parts.path.strip("/"))
        if options or (self.socket and self.cluster):
            raise _wrong_url()
        self.host = parts.hostname or ""
        self.port = port

    def __repr__(self) -> str:
        return f"Address({self.socket or f'{self.host}:{self.port}'})"

    def node(self) -> glide.NodeAddress:
        """As glide wants it."""
        return (
            glide.NodeAddress(unix_socket_path=self.socket) if self.socket else glide.NodeAddress(self.host, self.port)
        )


class Client:
    """One connection (per node) that reconnects by itself. Made by :func:`connect`."""

    def __init__(self, client: Any, *, cluster: bool) -> None:
        # Glide's answers are a recursive union that no checker can follow; here they are Any, checked where used.
        self._client = client
        self._cluster = cluster

    async def command(self, *arguments: Argument) -> Any:
        """One command; bytes come back as bytes."""
        return await self._client.custom_command(list(arguments))

    async def get(self, key: bytes) -> bytes | None:
        """The value of one key; the shortest way there is."""
        return await self._client.get(key)

    async def batch(self, commands: Sequence[Sequence[Argument]], timeout_ms: int = _BATCH_MS) -> list[Any]:
        """Many commands in one go, not atomic, in no order across the nodes of a cluster; raises the first error."""
        if not commands:
            return []
        batch = glide.ClusterBatch(is_atomic=False) if self._cluster else glide.Batch(is_atomic=False)
        for command in commands:
            batch.custom_command(list(command))
        options = (glide.ClusterBatchOptions if self._cluster else glide.BatchOptions)(timeout=timeout_ms)
        return await self._client.exec(batch, raise_on_error=True, options=options) or []

    async def close(self) -> None:
        """Let go; calls under way fail."""
        await self._client.close()


async def connect(
    url: str, *, name: str, channel: str = "", on_message: Callable[[bytes], None] | None = None
) -> Client:
    """A client for ``url`` that connects on first use, so that an absent server delays nothing.

    With ``channel``, ``on_message`` is called on the event loop with every message published there.
    """
    address = Address(url)
    # Glide would write its own lines to the terminal; what matters is said by our callers.
    glide.Logger.init(glide.LogLevel.OFF)
    credentials = None
    if address.password or address.user:
        credentials = glide.ServerCredentials(password=address.password, username=address.user or None)
    shared: dict[str, Any] = {
        "addresses": [address.node()],
        "use_tls": address.tls,
        "credentials": credentials,
        "request_timeout": REQUEST_MS,
        "client_name": name,
        "inflight_requests_limit": _INFLIGHT,
        "reconnect_strategy": glide.BackoffStrategy(num_of_retries=4, factor=50, exponent_base=2, jitter_percent=20),
        "lazy_connect": True,
    }

    def heard(message: glide.PubSubMsg, _context: object) -> None:
        if on_message is not None:
            text: Any = message.message
            on_message(text.encode() if isinstance(text, str) else bytes(text))

    if address.cluster:
        modes = glide.GlideClusterClientConfiguration.PubSubChannelModes
        wanted = glide.GlideClusterClientConfiguration.PubSubSubscriptions({modes.Exact: {channel}}, heard, None)
        cluster = glide.GlideClusterClientConfiguration(
            **shared,
            pubsub_subscriptions=wanted if channel else None,
            advanced_config=glide.AdvancedGlideClusterClientConfiguration(connection_timeout=CONNECT_MS),
        )
        return Client(await glide.GlideClusterClient.create(cluster), cluster=True)
    modes = glide.GlideClientConfiguration.PubSubChannelModes
    listening = glide.GlideClientConfiguration.PubSubSubscriptions({modes.Exact: {channel}}, heard, None)
    single = glide.GlideClientConfiguration(
        **shared,
        database_id=address.database,
        pubsub_subscriptions=listening if channel else None,
        advanced_config=glide.AdvancedGlideClientConfiguration(connection_timeout=CONNECT_MS),
    )
    return Client(await glide.GlideClient.create(single), cluster=False)


def is_down(error: BaseException) -> bool:
    """Whether the server is away or silent; any other failure is an answer of a server that lives."""
    lost = glide.TimeoutError | glide.ConnectionError | glide.ClosingError | OSError
    return isinstance(error, lost) or "connect failed" in str(error)


def away(error: BaseException) -> Unavailable:
    """What a failure of the server means to our callers: a miss."""
    if isinstance(error, glide.RequestError) and "OOM" in str(error):
        return Unavailable("Valkey has no memory left.", code="storage_full", hint="Raise its maxmemory.")
    return Unavailable(
        f"Valkey does not answer ({type(error).__name__}).",
        code="storage_unreachable",
        hint="It is used again as soon as it answers; requests go on without it.",
    )


def _wrong_url() -> Invalid:
    return Invalid(
        "The URL of the shared cache is not one that Ostinato understands.",
        code="storage_url",
        hint="Use valkey://host:6379, valkeys://host for TLS, or valkey+unix:///path; add ?cluster=true for a cluster.",
    )
