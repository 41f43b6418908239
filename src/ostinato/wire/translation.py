"""What is left out, mapped or refused between wires: the tables, and the few functions that read them.

Towards a provider of the caller's own wire nothing here applies: the body goes as it came. Towards another wire a field
is translated, or it is a *hint* in the tables below and is left out, or the request is refused with an ``Invalid`` that
names the field. A field that no table knows is refused: nobody can say that leaving it out changes nothing.
"""

import re
from collections.abc import Mapping

from ostinato.wire.fields import untranslatable
from ostinato.wire.jsons import DECODE_ERRORS, decode, is_object
from ostinato.wire.model import FinishReason, Json, WireName

# --- hints: fields that may be left out --------------------------------------------------------------------------

TOP_LEVEL_HINTS: Mapping[str, frozenset[str]] = {
    "openai.chat": frozenset(
        {
            # sampling that other providers do not offer
            "seed",
            "logit_bias",
            "frequency_penalty",
            "presence_penalty",
            "repetition_penalty",
            "min_p",
            "top_a",
            "top_k",
            # how the provider runs, bills or keeps the call
            "service_tier",
            "store",
            "metadata",
            "safety_identifier",
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
            "provider",
            "keep_alive",
            # speed and style
            "prediction",
            "verbosity",
            # other spellings of what is translated, or is a matter of one model's template
            "max_completion_tokens",
            "reasoning",
            "include_reasoning",
            "chat_template_kwargs",
        }
    ),
    "anthropic.messages": frozenset(
        {
            "thinking",  # adaptive, disabled and display; a budget is translated
            "output_config",  # what is neither effort nor format
            "metadata",
            "service_tier",
            "speed",
            "cache_control",
            "context_management",
            "diagnostics",
            "user_profile_id",
        }
    ),
    "openai.responses": frozenset(
        {
            "include",
            "metadata",
            "store",
            "background",
            "service_tier",
            "safety_identifier",
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
            "truncation",
            "max_tool_calls",
            "stream_options",
            "context_management",
            "client_metadata",
            "text",  # verbosity; the format is translated
            "reasoning",  # summary; the effort is translated
            "top_logprobs",
        }
    ),
}

PART_HINTS = frozenset(
    {
        "cache_control",
        "prompt_cache_breakpoint",
        "citations",
        "annotations",
        "logprobs",
        "caller",
        "extra_content",
        "provider_specific_fields",
        "id",
        "index",
        "status",
        "phase",
        "item",
        "type",
    }
)
"""Beside a part of a message."""

MESSAGE_HINTS = frozenset(
    {
        "annotations",
        "reasoning",
        "reasoning_details",
        "provider_specific_fields",
        "weight",
        "id",
        "status",
        "phase",
        "type",
        "refusal",  # becomes text
    }
)
"""Beside a message's content."""

TOOL_HINTS = frozenset({"cache_control", "eager_input_streaming", "input_examples", "defer_loading"})
"""Beside a tool's definition."""

_HARMLESS: Mapping[str, object] = {
    "modalities": ["text"],
    "allowed_callers": ["direct"],
    "response_format": {"type": "text"},
}
"""Values that say what is the case anyway; ``null`` and ``false`` always do."""


def refuse_unknown(extra: Json | None, hints: frozenset[str], at: str, source: str, target: WireName) -> None:
    """Raises ``Invalid`` for the first field of ``extra`` that is no hint; ``at`` is the dotted path before it."""
    if not extra:
        return
    for key, value in extra.items():
        if key in hints or value is None or value is False or _HARMLESS.get(key, ...) == value:
            continue
        raise untranslatable(f"{at}.{key}" if at else key, source, target)


def refuse_top_level(extra: Json | None, target: WireName) -> None:
    """The same for ``ChatRequest.extra``, for every wire but ``target``; what is no wire's (headers) is no field."""
    for source, fields in (extra or {}).items():
        if source != target and source in TOP_LEVEL_HINTS and is_object(fields):
            refuse_unknown(fields, TOP_LEVEL_HINTS[source], "", source, target)


# --- reasoning ---------------------------------------------------------------------------------------------------

DEFAULT_MAX_TOKENS = 4096
"""Anthropic requires ``max_tokens``; this is sent where the caller of another wire named none."""
MIN_THINKING_BUDGET = 1024
BUDGET_OF_EFFORT: Mapping[str, int] = {
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16384,
    "xhigh": 32768,
    "max": 49152,
}
"""``none`` and unknown words: no thinking is asked for."""


def effort_of(reasoning: Json | None) -> str | None:
    """OpenAI's word for how much to reason: the effort as given, else from Anthropic's budget."""
    if not reasoning:
        return None
    effort: object = reasoning.get("effort")
    if isinstance(effort, str):
        return effort
    budget: object = reasoning.get("budget_tokens")
    if not isinstance(budget, int):
        return None
    return "low" if budget < 4096 else "medium" if budget < 12288 else "high"


def budget_of(reasoning: Json | None) -> int | None:
    """Anthropic's thinking budget in tokens: as given, else from OpenAI's word."""
    if not reasoning:
        return None
    budget: object = reasoning.get("budget_tokens")
    if isinstance(budget, int):
        return budget
    effort: object = reasoning.get("effort")
    return BUDGET_OF_EFFORT.get(effort) if isinstance(effort, str) else None


# --- finish reasons ----------------------------------------------------------------------------------------------

FINISH_OF_OPENAI: Mapping[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "content_filter",
    # look-alikes' own words
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "max_tokens": "length",
    "model_length": "length",
    "tool_use": "tool_use",
    "stop_sequence": "stop_sequence",
}
OPENAI_OF_FINISH: Mapping[FinishReason, str] = {
    "stop": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "tool_use": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "pause": "stop",
    "other": "stop",
}
FINISH_OF_ANTHROPIC: Mapping[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop_sequence",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_use",
    "pause_turn": "pause",
    "refusal": "refusal",
}
ANTHROPIC_OF_FINISH: Mapping[FinishReason, str] = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "tool_use": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
    "pause": "pause_turn",
    "other": "end_turn",
}

# --- pieces ------------------------------------------------------------------------------------------------------

_DATA_URL = re.compile(r"data:([a-zA-Z0-9.+-]+/[a-zA-Z0-9.+-]+);base64,", re.ASCII)
_ODD_ID = re.compile(r"[^a-zA-Z0-9_-]")


def split_data_url(url: str) -> tuple[str, str] | None:
    """(media type, base64 data) of a plain ``data:`` URL; ``None`` for anything else."""
    found = _DATA_URL.match(url)
    return (found[1], url[found.end() :]) if found else None


def tool_id(identifier: str) -> str:
    """A tool call's id in the characters that Anthropic accepts; the call and its result change alike."""
    return _ODD_ID.sub("_", identifier) or "_"


def arguments_object(arguments: str) -> Json:
    """A tool call's arguments as an object. What a model garbled travels whole under ``raw_arguments``."""
    if not arguments.strip():
        return {}
    try:
        value: object = decode(arguments)
    except (*DECODE_ERRORS, UnicodeEncodeError):
        return {"raw_arguments": arguments}
    return value if is_object(value) else {"raw_arguments": arguments}
