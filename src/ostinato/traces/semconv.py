"""Names of OpenTelemetry's GenAI conventions, and our own beside them: all there are, in this one file.

Pinned to ``REVISION``. The GenAI conventions left the main repository with its version 1.42 and are in development
still; whoever moves the pin compares these names, units and bounds with the new text, and nothing else has to change.
What the conventions have no name for is ours, below ``ostinato.``.
"""

REVISION = "open-telemetry/semantic-conventions-genai@7269173edd774fb00a9fabc374955e0888714fa7"
"""Names, units and bounds as that commit has them; every ``gen_ai.`` and ``openai.`` name is in the Python package
``opentelemetry-semantic-conventions`` 0.66b2 too."""

SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"
"""Of what is not GenAI's: ``error.type``, ``http.response.status_code``, ``service.*``."""

# --- resource ---------------------------------------------------------------------------------------------------

SERVICE_NAME = "service.name"
SERVICE_VERSION = "service.version"
SERVICE_INSTANCE = "service.instance.id"

# --- attributes -------------------------------------------------------------------------------------------------

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_STREAM = "gen_ai.request.stream"
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
CONVERSATION = "gen_ai.conversation.id"
PROMPT_NAME = "gen_ai.prompt.name"
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105 - a name
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS = "gen_ai.usage.cache_creation.input_tokens"
REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens"
OPENAI_API = "openai.api.type"
OPENAI_FINGERPRINT = "openai.response.system_fingerprint"
ERROR_TYPE = "error.type"
STATUS = "http.response.status_code"

OPERATIONS = {"openai.embeddings": "embeddings", "anthropic.count_tokens": "count_tokens"}
"""By the ledger's wire; every other one is ``CHAT``. Counting tokens has no well-known name."""
CHAT = "chat"
OPENAI_APIS = {"openai.chat": "chat_completions", "openai.responses": "responses"}
OURSELVES = "ostinato"
"""The provider of what never came to one."""

OVERFLOW = "otel.metric.overflow"
"""Of the SDK's specification: more sets of attributes than are told apart."""

# --- attributes of ours -----------------------------------------------------------------------------------------

CACHE = "ostinato.cache"
HIT_KIND = "ostinato.hit_kind"
ORIGIN = "ostinato.origin"
REASON = "ostinato.reason"
TARGET = "ostinato.target"
ORGANIZATION = "ostinato.org"
PROJECT = "ostinato.project"
INTENT = "ostinato.intent"
PROMPT = "ostinato.prompt"
PROMPT_VERSION = "ostinato.prompt_version"
RELEASE = "ostinato.release"
ARM = "ostinato.arm"
FAMILY = "ostinato.family"
TRIAL = "ostinato.trial"
COST = "ostinato.cost_usd"
SAVED = "ostinato.saved_usd"
OUTCOME = "ostinato.outcome"
DURATION = "ostinato.duration_s"
ATTEMPT = "ostinato.attempt"
"""Name of an event of a span: one try at one target."""

# --- metrics ----------------------------------------------------------------------------------------------------

CLIENT_DURATION = "gen_ai.client.operation.duration"
"""Of calls to providers, the gateway being their client."""
CLIENT_TOKENS = "gen_ai.client.token.usage"
CLIENT_FIRST_CHUNK = "gen_ai.client.operation.time_to_first_chunk"
SERVER_DURATION = "gen_ai.server.request.duration"
"""Of requests to the gateway, hits included, the gateway being their server."""
SERVER_FIRST_TOKEN = "gen_ai.server.time_to_first_token"  # noqa: S105 - a name
TOTAL_COST = "ostinato.cost"
TOTAL_SAVED = "ostinato.saved"
TOKENS_AVOIDED = "ostinato.tokens_avoided"

SECONDS, TOKENS, DOLLARS = "s", "{token}", "{USD}"
"""Units."""

# Views of what other rooms count: the same on the page of metrics, where dots are written as underscores.

CASES_OPEN = "ostinato.cases.open"
CASES_OVERDUE = "ostinato.cases.overdue"
ALERTS = "ostinato.alerts"
BREAKERS = "ostinato.breakers.open"
DRIFT_ALARMS = "ostinato.detectors.alarms"
HOLDOUT_SAVED = "ostinato.holdout.saved_usd"
HOLDOUT_ACCOUNTED = "ostinato.holdout.accounted_usd"
HOLDOUT_SESSIONS = "ostinato.holdout.sessions"
INTENT_REQUESTS = "ostinato.intent.requests"
KPI = "ostinato.kpi"

VIEWS: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    CASES_OPEN: ("gauge", "{case}", "Cases that nobody has closed yet; counted every minute.", ("severity",)),
    CASES_OVERDUE: ("gauge", "{case}", "Of these, cases that nobody came to in time.", ("severity",)),
    ALERTS: ("gauge", "{alert}", "Declared alerts by state; counted every minute.", ("state",)),
    BREAKERS: ("gauge", "{breaker}", "Intents that answer safely, and targets that are not asked.", ("of", "state")),
    DRIFT_ALARMS: ("counter", "{alarm}", "Alarms that detectors have found.", ()),
    HOLDOUT_SAVED: ("gauge", "{USD}", "Saved in seven days by experiment, and the ends of its interval.", ("bound",)),
    HOLDOUT_ACCOUNTED: ("gauge", "{USD}", "What the ledger accounts for of the same requests.", ()),
    HOLDOUT_SESSIONS: ("gauge", "{session}", "Sessions of seven days on either side of the hold-out.", ("side",)),
    INTENT_REQUESTS: ("counter", "{request}", "Requests by intent; not our own calls.", ("intent", "cache")),
    KPI: ("gauge", "1", "Key figures of the last day; what nobody has told is left out.", ("name",)),
}
"""Name -> kind, unit, description, labels."""

DURATION_BOUNDS = (
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
)  # fmt: skip
FIRST_TOKEN_BOUNDS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
TOKEN_BOUNDS = (
    1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0,
    16_777_216.0, 67_108_864.0,
)  # fmt: skip

HISTOGRAMS: dict[str, tuple[str, str, tuple[float, ...]]] = {
    CLIENT_DURATION: (SECONDS, "GenAI operation duration.", DURATION_BOUNDS),
    CLIENT_TOKENS: (TOKENS, "Number of input and output tokens used.", TOKEN_BOUNDS),
    CLIENT_FIRST_CHUNK: (SECONDS, "Time to the first chunk of a streamed answer.", DURATION_BOUNDS),
    SERVER_DURATION: (SECONDS, "Time from a request to its answer's end.", (0.001, 0.002, 0.005, *DURATION_BOUNDS)),
    SERVER_FIRST_TOKEN: (SECONDS, "Time to the first token of an answer.", FIRST_TOKEN_BOUNDS),
}
"""Name -> unit, description, bounds. Of requests to the gateway there are three finer bounds than the conventions have:
most hits would lie in their first bucket."""

COUNTERS: dict[str, tuple[str, str]] = {
    TOTAL_COST: (DOLLARS, "Dollars spent, where the price is known."),
    TOTAL_SAVED: (DOLLARS, "Dollars that the cache saved."),
    TOKENS_AVOIDED: (TOKENS, "Tokens that the cache made unnecessary."),
}
"""Name -> unit, description."""
