"""A stream that is read and written in its own wire is the same stream, whatever the splits and a provider's habits."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk
from wire_shapes import (
    BASE,
    CHAT,
    CHAT_STREAMS,
    IDENTITY,
    MESSAGE_STREAMS,
    MESSAGES,
    RESPONSES,
    chunk,
    data_events,
    data_stream,
    few,
    many,
    named_events,
    named_stream,
)

from ostinato import wire
from ostinato.core.errors import Unavailable

STREAMS: list[tuple[Any, str, bytes]] = [
    *((CHAT, name, data_stream(*chunks)) for name, chunks in CHAT_STREAMS.items()),
    *((MESSAGES, name, named_stream(*events)) for name, events in MESSAGE_STREAMS.items()),
]
IDS = [f"{codec.name} {name}" for codec, name, _ in STREAMS]


def read(codec: wire.Codec, stream: bytes) -> list[wire.Event]:
    reader = codec.stream_reader()
    events = reader.feed(stream)
    assert reader.finished
    return events


def written(codec: wire.Codec, events: list[wire.Event], *, include_usage: bool = True) -> bytes:
    writer = codec.stream_writer(IDENTITY, include_usage=include_usage)
    return writer.write(events) + writer.end()


def normal_chat(chunks: list[Any], *, include_usage: bool) -> list[Any]:
    """What a chat stream becomes: usage in a chunk of its own if asked for, else nowhere."""
    expected: list[Any] = []
    usage: Any = None
    for original in chunks:
        value = json.loads(json.dumps(original))
        for key in ("id", "created", "model"):
            value.pop(key, None)
        value["object"] = "chat.completion.chunk"
        if "usage" in value and (value["usage"] is not None or not include_usage):
            usage = value.pop("usage") or usage
        for choice in value.get("choices", []):
            for call in choice["delta"].get("tool_calls", []):
                call.setdefault("index", 0 if call.get("id") == "call_a" else 1)  # repaired: clients need it
        if not value.get("choices"):
            value.pop("obfuscation", None)
            if usage is not None and "prompt_filter_results" not in value:
                tail = value
                continue
        expected.append(value)
    if usage is not None and include_usage:
        top = {
            key: item for key, item in expected[-1].items() if key not in ("choices", "object", "usage", "obfuscation")
        }
        last = locals().get("tail") or {**top, "choices": [], "object": "chat.completion.chunk"}
        expected.append({**last, "usage": usage})
    return [*expected, "data: [DONE]"]


@pytest.mark.parametrize("include_usage", [True, False])
@pytest.mark.parametrize("name", CHAT_STREAMS)
def test_chat_stream_is_relayed_as_it_came(name: str, include_usage: bool) -> None:
    chunks = CHAT_STREAMS[name]
    out = written(CHAT, read(CHAT, data_stream(*chunks)), include_usage=include_usage)
    assert data_events(out) == normal_chat(chunks, include_usage=include_usage)
    for event in data_events(out)[:-1]:
        ChatCompletionChunk.model_validate({**BASE, **event})


@pytest.mark.parametrize("name", MESSAGE_STREAMS)
def test_messages_stream_is_relayed_as_it_came(name: str) -> None:
    stream = named_stream(*MESSAGE_STREAMS[name])
    assert named_events(written(MESSAGES, read(MESSAGES, stream))) == named_events(stream)


@pytest.mark.parametrize(("codec", "name", "stream"), STREAMS, ids=IDS)
@few
@given(data=st.data())
def test_any_split_gives_the_same_events(codec: Any, name: str, stream: bytes, data: st.DataObject) -> None:
    whole = read(codec, stream)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=12)))
    crlf = data.draw(st.booleans())
    text = stream.replace(b"\n", b"\r\n") if crlf else stream
    reader = codec.stream_reader()
    events: list[wire.Event] = []
    for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        events += reader.feed(text[begin:end])
    assert reader.finished
    assert events == whole


@pytest.mark.parametrize(("codec", "name", "stream"), STREAMS, ids=IDS)
def test_byte_by_byte(codec: Any, name: str, stream: bytes) -> None:
    reader = codec.stream_reader()
    events: list[wire.Event] = []
    writer = codec.stream_writer(IDENTITY, include_usage=True)
    out = b""
    for byte in stream:
        arrived = reader.feed(bytes([byte]))
        events += arrived
        out += writer.write(arrived)
    assert events == read(codec, stream)
    assert out + writer.end() == written(codec, events)


@many
@given(texts=st.lists(st.text(max_size=20), max_size=12), padded=st.booleans(), nulls=st.booleans())
def test_any_text_survives_the_shortcut(texts: list[str], padded: bool, nulls: bool) -> None:
    """The fast path compares bytes: quotes, escapes and field names inside the text must not fool it."""
    odd = ['"content":', '\\"', "\\", '"content":"x"', "\u2028", "\U0001f600", '"obfuscation":"a"']
    chunks = [chunk({"role": "assistant", "content": ""})]
    for position, text in enumerate([*texts, *odd, *texts]):
        more: dict[str, Any] = {"obfuscation": "z" * (position % 5)} if padded else {}
        if nulls:
            more["usage"] = None
        chunks.append(chunk({"content": text}, **more))
    chunks.append(chunk({}, "stop"))
    events = read(CHAT, data_stream(*chunks))
    answer = wire.Answer("openai.chat", tuple(events))
    assert wire.text_of(answer) == "".join([*texts, *odd, *texts])
    assert data_events(written(CHAT, events))[:-1] == [
        {key: item for key, item in value.items() if key not in ("id", "created", "model", "usage")} for value in chunks
    ]


def test_the_shortcut_sees_what_follows_the_text() -> None:
    """The same beginning with another end is another chunk."""
    head = b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"'
    ends = [
        b'"},"finish_reason":null}],"obfuscation":"q","seen":1}',
        b'"},"finish_reason":null}],"obfuscation":"q","seen":1}',
        b'"},"finish_reason":null}],"obfuscation":"q","seen":2}',
        b'"},"finish_reason":null}],"obfuscation":"q"}',
        b'"},"finish_reason":null}]}',
        b'"},"finish_reason":null}]}',
        b'","refusal":null},"finish_reason":null}]}',
        b'"},"finish_reason":"stop"}]}',
    ]
    stream = b"".join(head + b"t%d" % position + end + b"\n\n" for position, end in enumerate(ends))
    events = read(CHAT, stream + b"data: [DONE]\n\n")
    originals = data_events(stream)
    relayed = data_events(written(CHAT, events))[:-1]
    for value in originals:
        value["object"] = "chat.completion.chunk"
    assert relayed == originals


def test_the_shortcut_is_taken() -> None:
    """Not a figure, but that the fast path is alive: the events after the first fragment hold no shapes."""
    chunks = [chunk({"role": "assistant", "content": "Hel"}), *[chunk({"role": "assistant", "content": "x"})] * 5]
    events = CHAT.stream_reader().feed(data_stream(*chunks, done=False))
    deltas = [event for event in events if isinstance(event, wire.Delta)]
    assert [event.extra is not None for event in deltas] == [False, True, False, False, False, False]


@pytest.mark.parametrize("field", ["error", "object"])
def test_error_in_the_middle_of_a_chat_stream(field: str) -> None:
    error = (
        {"error": {"message": "Overloaded", "type": "server_error", "code": "engine_overloaded"}}
        if field == "error"
        else {"object": "error", "message": "Overloaded", "type": "server_error", "code": 503}
    )
    stream = data_stream(chunk({"role": "assistant", "content": "Hi"}), error, done=False)
    with pytest.raises(wire.ErrorInStream, match="Overloaded") as raised:
        CHAT.stream_reader().feed(stream)
    assert raised.value.status == 503
    assert any(isinstance(event, wire.Delta) for event in raised.value.events)


def test_error_in_the_middle_of_a_messages_stream() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    with pytest.raises(wire.ErrorInStream, match="Overloaded") as raised:
        MESSAGES.stream_reader().feed(named_stream(*MESSAGE_STREAMS["text"][:4], error))
    assert raised.value.status == 529
    assert raised.value.kind == "overloaded_error"
    assert len(raised.value.events) == 5


@pytest.mark.parametrize("codec", [CHAT, MESSAGES, RESPONSES], ids=lambda codec: codec.name)
@pytest.mark.parametrize(
    "body",
    [
        b"<!doctype html><html></html>",
        b"data: {half\n\n",
        b"data: [1]\n\n",
        b"data: \xff\xfe{}\n\n",
        b'{"object": "chat.completion"}',
        b'data: {"choices": ["x"]}\n\ndata: [DONE]\n\n',
        b"data: [DONE]\n\n",
        b'data: {"type": "message_stop"}\n\ndata: [DONE]\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
    ],
)
def test_what_is_no_stream(codec: Any, body: bytes) -> None:
    reader = codec.stream_reader()
    try:
        reader.feed(body)
    except wire.Malformed:
        return
    assert not reader.finished


@pytest.mark.parametrize("codec", [CHAT, MESSAGES, RESPONSES], ids=lambda codec: codec.name)
@pytest.mark.parametrize("blank", [b"", b"\n\n"])
def test_an_error_body_instead_of_a_stream(codec: Any, blank: bytes) -> None:
    body = b'{"error": {"type": "rate_limit_error", "message": "Slow down"}}' + blank
    with pytest.raises(wire.ErrorInStream, match="Slow down") as raised:
        codec.stream_reader().feed(body)
    assert raised.value.status == 429


@pytest.mark.parametrize("codec", [CHAT, MESSAGES, RESPONSES], ids=lambda codec: codec.name)
@many
@given(data=st.binary(max_size=300))
def test_no_bytes_crash_a_reader(codec: Any, data: bytes) -> None:
    for prefix in (b"", b"data: "):
        with contextlib.suppress(wire.Malformed, wire.ErrorInStream):
            codec.stream_reader().feed(prefix + data + b"\n\n")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(("codec", "name", "stream"), STREAMS, ids=IDS)
@few
@given(data=st.data())
def test_no_odd_value_crashes_a_reader(codec: Any, name: str, stream: bytes, data: st.DataObject) -> None:
    """Any field of any recorded event with any value: events, Malformed or ErrorInStream, and then a writer copes."""
    parts = [part for part in stream.split(b"\n\n") if b"{" in part]
    position = data.draw(st.integers(0, len(parts) - 1))
    head, _, body = parts[position].partition(b"data: ")
    value = json.loads(body)
    holder: Any = value
    for _ in range(6):
        key = data.draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
        if isinstance(holder[key], dict | list) and holder[key] and data.draw(st.booleans()):
            holder = holder[key]
            continue
        holder[key] = data.draw(json_values)
        break
    parts[position] = head + b"data: " + json.dumps(value).encode()
    reader = codec.stream_reader()
    try:
        events = reader.feed(b"\n\n".join(parts) + b"\n\ndata: [DONE]\n\n")
    except (wire.Malformed, wire.ErrorInStream):
        return
    for target in (CHAT, MESSAGES, RESPONSES):
        written(target, events)


def test_a_cut_stream_is_not_finished() -> None:
    for codec, stream in (
        (CHAT, data_stream(*CHAT_STREAMS["openai text"], done=False)),
        (MESSAGES, named_stream(*MESSAGE_STREAMS["text"][:-1])),
    ):
        reader = codec.stream_reader()
        reader.feed(stream)
        assert not reader.finished
        assert reader.answered


def test_done_without_a_finish_reason_is_no_success() -> None:
    events = CHAT.stream_reader().feed(data_stream(chunk({"role": "assistant", "content": "Hi"})))
    assert wire.summary(events).finish == "other"
    assert b'finish_reason":"' not in written(CHAT, events)


def test_done_without_a_blank_line_counts() -> None:
    reader = CHAT.stream_reader()
    reader.feed(data_stream(*CHAT_STREAMS["length"], done=False) + b"data: [DONE]")
    assert reader.finished


def test_failures_are_one_event() -> None:
    error = Unavailable("The store is away.", hint="Try again soon.")
    assert CHAT.stream_writer(IDENTITY, include_usage=True).fail(error) == (
        b'data: {"error":{"message":"The store is away. Try again soon.","type":"server_error","param":null,'
        b'"code":"unavailable"}}\n\n'
    )
    assert MESSAGES.stream_writer(IDENTITY, include_usage=True).fail(error) == (
        b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error",'
        b'"message":"The store is away. Try again soon."}}\n\n'
    )


def test_pings() -> None:
    assert CHAT.stream_writer(IDENTITY, include_usage=True).ping() == b": ping\n\n"
    assert MESSAGES.stream_writer(IDENTITY, include_usage=True).ping() == b'event: ping\ndata: {"type":"ping"}\n\n'
    events = read(MESSAGES, named_stream(*MESSAGE_STREAMS["text"]))
    assert b": ping\n\n" in written(CHAT, events)


def test_identity_shows_only_as_id_and_created() -> None:
    for codec, _, stream in STREAMS:
        events = read(codec, stream)
        for target in (CHAT, MESSAGES, RESPONSES):
            other = wire.Identity("f" * 32, 1_888_888_888, IDENTITY.model)
            writer = target.stream_writer(other, include_usage=True)
            theirs = writer.write(events) + writer.end()
            ours = written(target, events)
            swapped = ours.replace(IDENTITY.id.encode(), other.id.encode()).replace(b"1760000777", b"1888888888")
            assert swapped == theirs
            assert (target.prefix + IDENTITY.id).encode() in ours
