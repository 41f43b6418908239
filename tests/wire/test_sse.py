"""The parser of server-sent events against a slow one that follows the specification line by line."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_shapes import many

from ostinato.wire import Malformed
from ostinato.wire.sse import Parser, event


def reference(stream: bytes) -> list[tuple[bytes, bytes]]:
    """WHATWG HTML, 9.2.6, without ids and retry hints."""
    stream = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    events: list[tuple[bytes, bytes]] = []
    name, data = b"", []
    lines = stream.split(b"\n")
    for line in lines[:-1]:
        if not line:
            if data:
                events.append((name, b"\n".join(data)))
            name, data = b"", []
            continue
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return events


PLAIN = b"data: x|data:x|data:  x|data|data:|: comment|event: e|event:e|id: 1||odd|retry: 5|: |data: {}|data: [DONE]"
LINES = PLAIN.split(b"|")
line = st.sampled_from([*LINES, "data: \u00e9\u20ac\U0001f600".encode()])
ending = st.sampled_from([b"\n", b"\r\n", b"\r"])


@many
@given(
    lines=st.lists(st.tuples(line, ending), max_size=14),
    cuts=st.lists(st.integers(0, 200), max_size=8),
    bom=st.booleans(),
)
def test_like_the_specification(lines: list[tuple[bytes, bytes]], cuts: list[int], bom: bool) -> None:
    stream = b"".join(text + end for text, end in lines)
    if bom:
        stream = b"\xef\xbb\xbf" + stream
    parser = Parser()
    events: list[tuple[bytes, bytes]] = []
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for begin, end in itertools.pairwise(edges):
        events += parser.feed(stream[begin:end])
    assert events == reference(stream)


def test_crlf_split_between_its_halves() -> None:
    parser = Parser()
    assert parser.feed(b"event: e\r") == []
    assert parser.feed(b"\ndata: 1\r\n\r") == [(b"e", b"1")]
    assert parser.feed(b"\ndata: 2\n\n") == [(b"", b"2")]


def test_bounded() -> None:
    parser = Parser(limit=1000)
    with pytest.raises(Malformed, match="1000"):
        for _ in range(300):
            parser.feed(b"data: " + b"x" * 4)
    with pytest.raises(Malformed):
        Parser(limit=1000).feed(b"data: " + b"x" * 2000 + b"\n\n")
    events = Parser(limit=1000).feed((b"data: " + b"x" * 900 + b"\n\n") * 50)
    assert len(events) == 50


def test_the_limit_is_four_mebibytes() -> None:
    parser = Parser()
    for _ in range(4):
        assert parser.feed(b"x" * 1024 * 1024) == []
    with pytest.raises(Malformed):
        parser.feed(b"x")


def test_many_small_pieces_cost_no_quadratic_time() -> None:
    """Four megabytes byte by byte: quadratic copying would take hours, not a second."""
    parser = Parser()
    parser.feed(b"data: ")
    for _ in range(400_000):
        parser.feed(b"0123456789")
    assert parser.feed(b"\n\n") == [(b"", b"0123456789" * 400_000)]


def test_a_whole_body_is_handed_on() -> None:
    assert Parser().feed(b'\n {"error": 1}\n\n') == [(b"", b'\n {"error": 1}')]


def test_event() -> None:
    assert event(b"ping", b"{}") == b"event: ping\ndata: {}\n\n"
