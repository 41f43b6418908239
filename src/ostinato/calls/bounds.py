"""What a call can cost at most, told before it is made: true upper bounds, not estimates.

No tokenizer in use gives a text more tokens than it has bytes once it is normalized; what a model's template puts
around it (roles, a system message of its own, instructions for tools) is bounded by constants.
"""

import unicodedata
from collections.abc import Callable, Iterable

import msgspec

from ostinato import wire
from ostinato.traces import PriceBook
from ostinato.wire.model import ChatRequest, Json, ToolResult, Usage

_AROUND = 256
"""Tokens of a template around the whole conversation: its own system message, dates, the cue to answer."""
_PER_MESSAGE = 32
_TOOLS = 1_024
"""What providers say of tools, beside the tools themselves."""
_IMAGE = 65_536
"""No provider counts more for one image."""
_INDENTED = 3
"""A schema's bytes once a template has written it over many lines."""
_CHUNK = 1_000


class Bound(msgspec.Struct, frozen=True):
    """The most that one call can take."""

    input: int
    """Tokens."""
    output: int
    """Tokens, reasoning included."""

    @property
    def tokens(self) -> int:
        return self.input + self.output


def estimate(request: ChatRequest, max_tokens: int) -> int:
    """Tokens that ``request`` takes at most with answers of at most ``max_tokens``. Never less than what is counted
    in the end by a provider that heeds ``max_tokens``."""
    return bound(request, max_tokens).tokens


def bound(request: ChatRequest, max_tokens: int) -> Bound:
    """The same, input and output apart."""
    size = _AROUND
    for message in request.messages:
        size += _PER_MESSAGE + _text(message.name)
        for block in message.content:
            size += _PER_MESSAGE
            for item in (block, *block.content) if isinstance(block, ToolResult) else (block,):
                size += _item(item)
    if request.tools:
        size += _TOOLS + _INDENTED * len(msgspec.json.encode(request.tools))
    if request.response_format is not None:
        size += _TOOLS + _INDENTED * len(msgspec.json.encode(request.response_format))
    return Bound(input=size, output=max_tokens * _answers(request.extra))


def dearest(prices: PriceBook, provider: str, model: str, most: Bound, at: int) -> int | None:
    """Nano-dollars that a call within ``most`` costs at most at the time ``at``; ``None``: no price is known."""
    costs: list[int] = []
    for said in _inputs(most.input):
        for made in _outputs(most.output):
            cost = prices.price(provider, model, _both(said, made), at)
            if cost is None:
                return None
            costs.append(cost)
    # Long prompts may have prices of their own, and short ones the dearer: the bound may be long where the call is not.
    short = [_dearest_of(_inputs, most.input), _dearest_of(_outputs, most.output)]
    return max(*costs, sum(part(prices, provider, model, at) for part in short)) + 1


def _dearest_of(kinds: Callable[[int], Iterable[Usage]], tokens: int) -> Callable[[PriceBook, str, str, int], int]:
    """What so many tokens cost at most at the rates of a short prompt."""

    def of(prices: PriceBook, provider: str, model: str, at: int) -> int:
        chunk = max((prices.price(provider, model, usage, at) or 0) + 1 for usage in kinds(_CHUNK))
        return -(-chunk * tokens // _CHUNK)

    return of


def _inputs(tokens: int) -> Iterable[Usage]:
    yield Usage(input=tokens)
    yield Usage(cache_read=tokens)
    yield Usage(cache_write=tokens)
    yield Usage(cache_write=tokens, raw={"cache_creation": {"ephemeral_1h_input_tokens": tokens}})


def _outputs(tokens: int) -> Iterable[Usage]:
    yield Usage(output=tokens)
    yield Usage(reasoning=tokens)


def _both(said: Usage, made: Usage) -> Usage:
    return msgspec.structs.replace(said, output=made.output, reasoning=made.reasoning)


def _item(item: object) -> int:
    if isinstance(item, wire.Text):
        return _text(item.text)
    if isinstance(item, wire.Image):
        return _IMAGE + _text(item.url)
    if isinstance(item, wire.Thinking):
        return _text(item.text) + len(item.redacted) + len(item.signature)
    if isinstance(item, wire.ToolUse):
        return _text(item.name) + _text(item.arguments) + _text(item.id)
    if isinstance(item, wire.Opaque):
        return _INDENTED * len(msgspec.json.encode(item.value))
    return 0


def _text(text: str) -> int:
    if text.isascii():
        return len(text)
    # Some tokenizers normalize first, which can make a text longer: one character of Arabic calligraphy is 33 bytes.
    plain = len(text.encode("utf-8", "replace"))
    return max(plain, *(len(unicodedata.normalize(form, text).encode("utf-8", "replace")) for form in ("NFKC", "NFD")))


def _answers(extra: Json | None) -> int:
    """How many answers a request asks for at once."""
    most = 1
    for fields in (extra or {}).values():
        if isinstance(fields, dict):
            for name in ("n", "best_of"):
                value: object = fields.get(name)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] - a request's JSON
                if isinstance(value, int):
                    most = max(most, value)
    return most
