"""One request on its way through the gateway: what is known of it so far."""

from typing import Literal, TypeAlias

import msgspec

from ostinato.access import Caller, RateState
from ostinato.breakers import Trip
from ostinato.cache.directives import Directives
from ostinato.cache.model import Policy, Scope
from ostinato.checks import Checker
from ostinato.gateway.controls import Controls
from ostinato.intents.model import Review
from ostinato.prompts import Resolved
from ostinato.routing.model import Route, Target
from ostinato.wire.model import ChatRequest, Json, WireName

Operation: TypeAlias = Literal[
    "openai.chat",
    "anthropic.messages",
    "openai.responses",
    "openai.embeddings",
    "anthropic.count_tokens",
    "models",
    "feedback",
    "held",
]

CHAT_WIRES: dict[str, WireName] = {
    "openai.chat": "openai.chat",
    "anthropic.messages": "anthropic.messages",
    "openai.responses": "openai.responses",
}


class Turn(msgspec.Struct):
    """Filled in step by step by the pipeline; the ledger's row is written from it, however the turn ends."""

    operation: Operation
    request_id: str
    at: int
    """UTC microseconds of arrival."""
    started: float
    """The same moment on the monotonic clock."""
    controls: Controls
    raw_key: bytes = b""

    caller: Caller | None = None
    rate: RateState | None = None
    auth_us: int = 0

    stream: bool = False
    model: str = ""
    """What the caller asked for; echoed in the answer."""
    prompt: Resolved | None = None
    """The version that ``model`` names, drawn for this caller."""
    variables: Json | None = None
    """What the prompt was filled with, where the caller sent nothing else."""
    alias: str = ""
    """What is to be called, where that is not ``model``: the prompt says."""
    request: ChatRequest | None = None
    route: Route | None = None
    targets: tuple[Target, ...] = ()
    checker: Checker | None = None

    user: str = ""
    session: str = ""
    context: str = ""
    tags: tuple[str, ...] = ()
    intent: str = ""
    """Key of the intent: as a header names it, until ``resolving`` has found the one that holds."""
    trip: Trip | None = None
    """Set where the intent's breaker is open, and its safe behaviour takes the place of an answer."""
    proving: Trip | None = None
    """Set where this request is a trial that shows whether the intent is well again."""
    hold: Review | None = None
    """Set where the intent says that answers wait until somebody has looked at them."""
    policy: Policy | None = None
    scope: Scope | None = None
    directives: Directives | None = None
    bypass: str = ""
    """Why the cache is not asked, in one word."""
    capped: int = 0
    """Tokens that the intent's budget leaves for the answer, where that is less than was asked for."""
    trial: str = ""
    """``treated`` or ``held``: its side of the hold-out; empty where it takes no part."""
    no_store: str = ""
    """Why the answer will not be stored, where that is known beforehand."""
    said: bytes = b""
    """``fingerprint.said`` of the request."""
    fingerprint: bytes = b""
    update: str = ""
    """``canary:ID`` or ``control:ID`` where a change of models is tried: see ``routing.trials``."""
    family: str = ""
    """What it belongs to: see ``families``."""
    generation: str = ""
    input_digest: str = ""
    key: bytes = b""
    scope_digest: bytes = b""
    user_digest: str = ""
    lookup_us: int = 0
    background: bool = False
    """Whether a new answer is fetched for an entry past its time: nobody asked this, and nobody waits for it."""
    asking: bool = False
    """Whether a model is asked with this caller's means: the call then writes the row, whoever waits for it."""
    recorded: bool = False
    """Whether the turn's row has been written."""
