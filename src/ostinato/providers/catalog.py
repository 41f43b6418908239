"""Look-alikes of the two wires: rows of data, not code.

Each row tells where a provider lives, how it wants its key, and what it spells differently. To add one, add a row.
"""

from typing import Literal

import msgspec

from ostinato.wire.model import WireName


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """What is the same for all accounts of one sort of provider."""

    name: str
    title: str
    wire: WireName = "openai.chat"
    base_url: str = ""
    """Empty: there is no usual one, the settings must name it."""
    key_header: str = "authorization"
    key_format: str = "Bearer {}"
    needs_key: bool = True
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    chat_path: str = "/chat/completions"
    """``{model}`` is replaced by the model's name."""
    embeddings_path: str = "/embeddings"
    models_path: str = "/models"
    count_path: str = ""
    """Empty: tokens are estimated here."""
    drop: frozenset[str] = frozenset()
    """Top-level fields that this provider refuses and that change nothing for the caller when they are left out."""
    max_tokens: Literal["", "max_tokens", "max_completion_tokens"] = ""
    """The one name that this provider knows for the bound of the answer; empty: both, sent as they came."""
    max_tokens_translated: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """The name for it in a request that came in another wire and so brings no name of its own."""
    forwarded: tuple[str, ...] = ()
    """Prefixes of the caller's headers that are passed on."""
    hint: str = ""
    """What to say when the base URL is missing."""


_OLD_NAME: Literal["max_tokens"] = "max_tokens"
_NEW_NAME: Literal["max_completion_tokens"] = "max_completion_tokens"

_ROWS = (
    Kind(
        name="openai",
        title="OpenAI",
        base_url="https://api.openai.com/v1",
        max_tokens_translated=_NEW_NAME,  # reasoning models refuse the old one
    ),
    Kind(
        name="openai-compatible",
        title="any server that speaks OpenAI's chat completions",
        needs_key=False,
        hint="Set base_url, e.g. http://127.0.0.1:8001/v1.",
    ),
    Kind(
        name="azure",
        title="Azure OpenAI (deployments)",
        key_header="api-key",
        key_format="{}",
        query={"api-version": "2024-10-21"},
        chat_path="/openai/deployments/{model}/chat/completions",
        embeddings_path="/openai/deployments/{model}/embeddings",
        models_path="/openai/models",
        max_tokens_translated=_NEW_NAME,
        hint="Set base_url to https://RESOURCE.openai.azure.com; the model's name is the deployment's.",
    ),
    Kind(
        name="azure-v1",
        title="Azure OpenAI (v1)",
        key_header="api-key",
        key_format="{}",
        max_tokens_translated=_NEW_NAME,
        hint="Set base_url to https://RESOURCE.openai.azure.com/openai/v1.",
    ),
    Kind(name="vllm", title="vLLM", base_url="http://127.0.0.1:8000/v1", needs_key=False),
    Kind(name="ollama", title="Ollama", base_url="http://127.0.0.1:11434/v1", needs_key=False, max_tokens=_OLD_NAME),
    Kind(name="llama-cpp", title="llama.cpp server", base_url="http://127.0.0.1:8080/v1", needs_key=False),
    Kind(
        name="mistral",
        title="Mistral",
        base_url="https://api.mistral.ai/v1",
        # Reports usage in every stream and refuses fields that it does not know.
        drop=frozenset({"stream_options", "user", "store"}),
        max_tokens=_OLD_NAME,
    ),
    Kind(
        name="gemini",
        title="Google Gemini (OpenAI-compatible)",
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
    ),
    Kind(name="groq", title="Groq", base_url="https://api.groq.com/openai/v1"),
    Kind(name="together", title="Together", base_url="https://api.together.xyz/v1", max_tokens=_OLD_NAME),
    Kind(name="deepseek", title="DeepSeek", base_url="https://api.deepseek.com/v1", max_tokens=_OLD_NAME),
    Kind(name="openrouter", title="OpenRouter", base_url="https://openrouter.ai/api/v1", max_tokens=_OLD_NAME),
    Kind(name="fireworks", title="Fireworks", base_url="https://api.fireworks.ai/inference/v1", max_tokens=_OLD_NAME),
    Kind(name="xai", title="xAI", base_url="https://api.x.ai/v1"),
    Kind(name="cerebras", title="Cerebras", base_url="https://api.cerebras.ai/v1"),
    Kind(name="nvidia", title="NVIDIA NIM", base_url="https://integrate.api.nvidia.com/v1", max_tokens=_OLD_NAME),
    Kind(
        name="anthropic",
        title="Anthropic",
        wire="anthropic.messages",
        base_url="https://api.anthropic.com/v1",
        key_header="x-api-key",
        key_format="{}",
        headers={"anthropic-version": "2023-06-01"},
        chat_path="/messages",
        embeddings_path="",
        count_path="/messages/count_tokens",
        forwarded=("anthropic-",),
    ),
    Kind(
        name="anthropic-compatible",
        title="any server that speaks Anthropic's messages",
        wire="anthropic.messages",
        key_header="x-api-key",
        key_format="{}",
        needs_key=False,
        headers={"anthropic-version": "2023-06-01"},
        chat_path="/messages",
        embeddings_path="",
        count_path="/messages/count_tokens",
        forwarded=("anthropic-",),
        hint="Set base_url, e.g. http://127.0.0.1:8001/v1.",
    ),
)

CATALOG: dict[str, Kind] = {row.name: row for row in _ROWS}
