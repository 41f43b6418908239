"""Token counts: three wires' shapes and the disjoint buckets.

OpenAI's ``prompt_tokens`` includes what came from the provider's prefix cache and ``completion_tokens`` includes
reasoning; Anthropic's ``input_tokens`` excludes both cache counts and ``output_tokens`` includes thinking.
"""

from ostinato.wire.jsons import count, part
from ostinato.wire.model import Json, Usage


def read_openai(raw: Json) -> Usage:
    """From Chat Completions' ``usage``, look-alikes' variations included."""
    get = raw.get
    prompt = count(get("prompt_tokens"))
    completion = count(get("completion_tokens"))
    total = count(get("total_tokens"))
    details = part(raw, "prompt_tokens_details")
    # DeepSeek names its prefix cache's hits on the top level.
    read = min(count(details.get("cached_tokens")) or count(get("prompt_cache_hit_tokens")), prompt)
    write = min(count(details.get("cache_write_tokens")), prompt - read)
    reasoning = count(part(raw, "completion_tokens_details").get("reasoning_tokens"))
    hidden = total - prompt - completion
    if hidden > 0 and reasoning in (0, hidden):
        # Gemini and xAI leave reasoning out of completion_tokens; only the total gives it away.
        return Usage(prompt - read - write, read, write, completion, hidden, raw)
    reasoning = min(reasoning, completion)
    return Usage(prompt - read - write, read, write, completion - reasoning, reasoning, raw)


def write_openai(usage: Usage) -> Json:
    """Chat Completions' ``usage`` from the buckets."""
    prompt = usage.input + usage.cache_read + usage.cache_write
    completion = usage.output + usage.reasoning
    details: Json = {"cached_tokens": usage.cache_read}
    if usage.cache_write:
        details["cache_write_tokens"] = usage.cache_write
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": details,
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def read_anthropic(raw: Json) -> Usage:
    """From Messages' ``usage``; the split of cache writes by lifetime stays in ``raw["cache_creation"]``."""
    creation = part(raw, "cache_creation")
    write = count(raw.get("cache_creation_input_tokens")) or (
        count(creation.get("ephemeral_5m_input_tokens")) + count(creation.get("ephemeral_1h_input_tokens"))
    )
    output = count(raw.get("output_tokens"))
    reasoning = min(count(part(raw, "output_tokens_details").get("thinking_tokens")), output)
    return Usage(
        count(raw.get("input_tokens")),
        count(raw.get("cache_read_input_tokens")),
        write,
        output - reasoning,
        reasoning,
        raw,
    )


def write_anthropic(usage: Usage) -> Json:
    """Messages' ``usage`` from the buckets."""
    value: Json = {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output + usage.reasoning,
    }
    if usage.reasoning:
        value["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return value


def read_responses(raw: Json) -> Usage:
    """From Responses' ``usage``."""
    prompt = count(raw.get("input_tokens"))
    completion = count(raw.get("output_tokens"))
    details = part(raw, "input_tokens_details")
    read = min(count(details.get("cached_tokens")), prompt)
    write = min(count(details.get("cache_write_tokens")), prompt - read)
    reasoning = min(count(part(raw, "output_tokens_details").get("reasoning_tokens")), completion)
    return Usage(prompt - read - write, read, write, completion - reasoning, reasoning, raw)


def write_responses(usage: Usage) -> Json:
    """Responses' ``usage`` from the buckets."""
    prompt = usage.input + usage.cache_read + usage.cache_write
    completion = usage.output + usage.reasoning
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": usage.cache_read, "cache_write_tokens": usage.cache_write},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": prompt + completion,
    }
