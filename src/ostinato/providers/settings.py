"""Settings of one provider: table ``[providers.NAME]`` of the configuration."""

import msgspec

from ostinato.providers.credentials import ApiKey


class LocalSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Table ``[providers.NAME.local]``: a model on this machine, in a child process."""

    model: str = "smollm2"
    """``smollm2``, ``gemma3-270m``, or the path of a GGUF file."""
    parallel: int = 2
    """Requests that are computed at the same time; each has ``context`` tokens of its own."""
    context: int = 4096
    """Tokens of prompt and answer together, per request."""
    max_tokens: int = 512
    """Bound of an answer where the request names none."""
    threads: int = 0
    """Of the computation in one process; 0: one less than there are cores, so that the gateway and its callers keep
    one, or, of several processes, all cores shared among them. A thread too many costs dearly: llama.cpp's threads
    wait for one another at every layer (two on two busy cores: 5-12 times slower than one)."""
    processes: int = 1
    """Processes that compute side by side, calls in turn, each with ``threads`` threads and ``parallel`` requests. Two
    of one thread do half as much again as one on two cores that are free, and lose nothing on busy ones: they never
    wait for one another. Each holds the model's state (some hundred MB) and computes a prompt's beginning itself."""
    start_timeout: float = 60.0
    """Seconds until the model must be loaded."""
    restart_delay: float = 0.5
    """Seconds before a crashed child is started again; doubled each time, at most 30."""
    directory: str = ""
    """Where an assembled weights file is kept; empty: the user's cache directory."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider. Times in seconds, sizes in bytes."""

    kind: str = "openai"
    """A row of ``providers.catalog``: ``openai``, ``anthropic``, ``azure``, ``ollama`` ...; or ``local``, ``fake``."""
    base_url: str = ""
    """Up to and without ``/chat/completions`` or ``/messages``; empty: the kind's own."""
    api_keys: tuple[ApiKey, ...] = ()
    """Resolved by ``config`` from references; used in order, the next when one must rest."""
    headers: dict[str, str] = {}
    """Sent with every call, e.g. ``openai-organization``."""
    query: dict[str, str] = {}
    """Added to every URL, e.g. ``api-version``."""
    allow_private: bool | None = None
    """Whether the address may be a loopback or private one. Unset: only if ``base_url`` itself spells such an address
    or ``localhost``; a name that merely leads there needs ``true``."""
    rest: float = 30.0
    """How long a refused key is left alone before it is tried again."""
    max_response_bytes: int = 32 * 1024 * 1024
    max_frame_bytes: int = 8 * 1024 * 1024
    """Bytes of a stream without a complete event."""
    local: LocalSettings = LocalSettings()
    spec: str = ""
    """For ``fake``: its knobs, e.g. ``latency=50ms``."""

    def __repr__(self) -> str:
        # Extra headers may carry secrets.
        return f"Settings(kind={self.kind!r}, base_url={self.base_url!r}, keys={len(self.api_keys)})"
