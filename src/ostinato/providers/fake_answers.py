"""What the fake says: deterministic answers, their usage and errors, before any wire."""

import math
import struct

import msgspec

from ostinato.core import hashing
from ostinato.providers.fake_script import ERROR_KINDS, Script
from ostinato.wire.errors import ErrorInStream
from ostinato.wire.model import BlockKind, BlockStart, BlockStop, Delta, Event, Finish, FinishReason, Json, Start, Usage

_TEXT = (
    "the a card payment transfer account balance exchange rate limit top up was is not yet shown please check your app "
    "statement support will help you within two days because bank may hold it while new one arrives by post today"
)
_WORDS = tuple(_TEXT.split())


class Counts(msgspec.Struct, frozen=True, gc=False):
    """Tokens of an answer in disjoint buckets."""

    input: int
    cache_read: int
    cache_write: int
    output: int
    reasoning: int


class Answered(msgspec.Struct, frozen=True, gc=False):
    """What the model "said", before any wire: fragments as they are streamed."""

    digest: str
    reasoning: tuple[str, ...]
    text: tuple[str, ...]
    refusal: tuple[str, ...]
    tools: tuple[tuple[str, str, tuple[str, ...]], ...]
    """Id, name, fragments of the arguments."""
    counts: Counts

    @property
    def chunks(self) -> int:
        return len(self.reasoning) + len(self.text) + len(self.refusal) + sum(len(tool[2]) for tool in self.tools)


def answer(script: Script, asked: object, input_bytes: int, tool_names: tuple[str, ...]) -> Answered:
    """What is "said" to ``asked`` (anything that JSON can hold): equal requests get equal answers, others do not."""
    digest = hashing.digest_of(asked)
    words = [_WORDS[byte % len(_WORDS)] for byte in _stream_of(digest, script.words)]
    said = tuple([f"{digest.hex()[:8]}:", *(f" {word}" for word in words[1:])][: max(script.words, 1)])
    if script.pad:
        said = (said[0] + "x" * script.pad, *said[1:])
    thought = tuple(f" {word}" for word in words[:4]) if script.reasoning else ()
    names = tool_names or ("look_up",)
    tools = tuple(
        (
            f"call_{digest.hex()[:12]}{index}",
            names[index % len(names)],
            ('{"query": "', words[index % len(words)], f'", "n": {index}' + "}"),
        )
        for index in range(script.tools)
    )
    text = () if script.refusal or script.tools or script.silent else said
    refusal = said if script.refusal else ()
    produced = len(text) + len(refusal) + 3 * len(tools)
    return Answered(digest.hex(), thought, text, refusal, tools, _counts(script, input_bytes, produced, len(thought)))


def _stream_of(digest: bytes, length: int) -> bytes:
    out = digest
    while len(out) < length:
        digest = hashing.digest(digest)
        out += digest
    return out[: max(length, 4)]


def _counts(script: Script, input_bytes: int, produced: int, thought: int) -> Counts:
    total = max(1, input_bytes // 4)
    read_tokens = total // 2 if script.usage in ("cached", "all") else 0
    written = total // 4 if script.usage in ("written", "all") else 0
    reasoning = max(thought, 5) if script.usage in ("reasoning", "all") or thought else 0
    return Counts(total - read_tokens - written, read_tokens, written, produced, reasoning)


def batches(all_events: tuple[Event, ...]) -> list[list[Event]]:
    """The events as a stream brings them: one delta each, with whatever comes before it."""
    out: list[list[Event]] = []
    batch: list[Event] = []
    for event in all_events:
        batch.append(event)
        if isinstance(event, Delta):
            out.append(batch)
            batch = []
    if batch:
        out.append(batch)
    return out


def events(script: Script, said: Answered, model: str) -> tuple[Event, ...]:
    """The canonical answer."""
    out: list[Event] = [Start(model, {"top": {"system_fingerprint": "fp_fake"}})]
    index = 0

    def block(kind: BlockKind, fragments: tuple[str, ...], identifier: str = "", name: str = "") -> None:
        nonlocal index
        out.append(BlockStart(index, kind, identifier, name))
        out.extend(Delta(index, fragment) for fragment in fragments)
        out.append(BlockStop(index))
        index += 1

    if said.reasoning:
        block("thinking", said.reasoning)
    if said.text:
        block("text", said.text)
    if said.refusal:
        block("refusal", said.refusal)
    for identifier, name, fragments in said.tools:
        block("tool_use", fragments, identifier, name)
    reason, raw = finish(script)
    out.append(Finish(reason, raw))
    if script.usage != "none":
        out.append(usage(said))
    return tuple(out)


def finish(script: Script) -> tuple[FinishReason, str]:
    """Why the model stopped: in canonical and in OpenAI's words."""
    if script.length:
        return "length", "length"
    if script.filtered:
        return "content_filter", "content_filter"
    if script.tools:
        return "tool_use", "tool_calls"
    return ("refusal" if script.refusal else "stop"), "stop"


def usage(said: Answered) -> Usage:
    """Disjoint buckets, and OpenAI's words for them (there cached tokens are part of the prompt's)."""
    counts = said.counts
    return Usage(
        counts.input,
        counts.cache_read,
        counts.cache_write,
        counts.output,
        counts.reasoning,
        openai_usage(said),
    )


def openai_usage(said: Answered) -> Json:
    """Inclusive buckets, as OpenAI reports them."""
    counts = said.counts
    prompt = counts.input + counts.cache_read + counts.cache_write
    completion = counts.output + counts.reasoning
    body: Json = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    if counts.cache_read:
        body["prompt_tokens_details"] = {"cached_tokens": counts.cache_read}
    if counts.reasoning:
        body["completion_tokens_details"] = {"reasoning_tokens": counts.reasoning}
    return body


def vector(item: str | tuple[int, ...], model: str, size: int) -> bytes:
    """A unit vector that depends on the input and the model only; little-endian float32."""
    raw = b""
    seed = hashing.digest_of([model, item])
    while len(raw) < size:
        seed = hashing.digest(seed)
        raw += seed
    numbers = [byte / 127.5 - 1.0 for byte in raw[:size]]
    norm = math.sqrt(sum(number * number for number in numbers)) or 1.0
    return struct.pack(f"<{size}f", *[number / norm for number in numbers])


def error_body(script: Script) -> bytes:
    """OpenAI's error shape for the script's status."""
    kind = script.kind or ERROR_KINDS.get(script.status, ("server_error", ""))[0]
    error = {"message": f"The fake was told to fail with {script.status}.", "type": kind, "param": None, "code": kind}
    return msgspec.json.encode({"error": error})


def error_in_stream(script: Script) -> ErrorInStream:
    """The error inside a 200 that the script asks for."""
    kind = script.kind or "overloaded_error"
    message = "The fake was told to fail."
    return ErrorInStream(message, kind, raw={"message": message, "type": kind, "code": kind})
