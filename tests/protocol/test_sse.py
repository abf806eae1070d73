"""Server-Sent Events as the WHATWG wrote them, whatever the chunks."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentphone_async.protocol.sse import SseDecoder, SseEvent, SseOverflowError


def decode(stream: bytes) -> list[SseEvent]:
    return SseDecoder().feed(stream)


def slow_reference(stream: bytes) -> tuple[list[SseEvent], int | None]:
    """The algorithm of the standard, on the whole text at once and word for word."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = re.split("\r\n|\n|\r", text)[:-1]
    events, retry = [], None
    data = kind = last_id = ""
    for line in lines:
        if line == "":
            if data == "":
                kind = ""
                continue
            data = data.removesuffix("\n")
            events.append(SseEvent(kind or "message", data, last_id))
            data = kind = ""
            continue
        if line.startswith(":"):
            continue
        field, colon, value = line.partition(":")
        if colon and value.startswith(" "):
            value = value[1:]
        if field == "event":
            kind = value
        elif field == "data":
            data += value + "\n"
        elif field == "id" and "\0" not in value:
            last_id = value
        elif field == "retry" and re.fullmatch("[0-9]+", value):
            retry = int(value)
    return events, retry


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [SseEvent("message", "a")]),
        (b"data:a\r\rdata: b\r\n\r\n", [SseEvent("message", "a"), SseEvent("message", "b")]),
        (b"event: turn\ndata: {}\n\n", [SseEvent("turn", "{}")]),
        (b"data: a\ndata:  b\ndata\n\n", [SseEvent("message", "a\n b\n")]),
        (b"data\n\n", [SseEvent("message", "")]),
        (b"data: a\n", []),
        (b"data: a", []),
        (b"event: turn\n\ndata: a\n\n", [SseEvent("message", "a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [SseEvent("message", "a")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [SseEvent("message", "a")]),
        (
            b"id: 1\ndata: a\n\ndata: b\n\n",
            [SseEvent("message", "a", "1"), SseEvent("message", "b", "1")],
        ),
        (
            b"id: 1\ndata: a\n\nid\ndata: b\n\n",
            [SseEvent("message", "a", "1"), SseEvent("message", "b")],
        ),
        (b"id: 1\0\ndata: a\n\n", [SseEvent("message", "a")]),
        (b"Data: a\nfoo: b\n\n", []),
        (": höflich\ndata: grüß\n\n".encode(), [SseEvent("message", "grüß")]),
        (b"data: \xff\xc3\n\n", [SseEvent("message", "\ufffd\ufffd")]),
        ("data: a\u2028b\x85c\x0bd\n\n".encode(), [SseEvent("message", "a\u2028b\x85c\x0bd")]),
    ],
)
def test_table(stream: bytes, events: list[SseEvent]) -> None:
    assert decode(stream) == events


def test_a_line_that_ends_in_cr_is_not_held_back() -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"data: a\r\r") == [SseEvent("message", "a")]
    assert decoder.feed(b"\ndata: b\r\n\r") == [SseEvent("message", "b")]
    assert decoder.feed(b"\n") == []


def test_comments_are_no_events() -> None:
    assert decode(b": heartbeat\n\ndata: a\n: heartbeat\n:\n\n") == [SseEvent("message", "a")]


def test_retry_is_kept_for_the_reconnection() -> None:
    decoder = SseDecoder()
    decoder.feed(b"retry: 2500\n\nretry: soon\nretry: -1\nretry:\n")
    assert decoder.retry_ms == 2500
    decoder.feed(b"retry: " + b"9" * 5000 + b"\n\n")
    assert decoder.retry_ms == 2500


PIECES = st.sampled_from(
    [
        *(
            b"\r",
            b"\n",
            b"\r\n",
            b"\n\n",
            b":",
            b" ",
            b"data",
            b"data:",
            b"data: a",
            b"event: turn",
        ),
        *(b"id: 1", b"id", b"id: \0", b"retry: 10", b"retry: x", b": hb", b"\0", b"\xef\xbb\xbf"),
        *(
            "é€😀".encode(),
            b"\xe2\x82",
            b"\xf0\x9f",
            b"\xff",
            b"\xc3",
            "\u2028".encode(),
            b"DATA: x",
        ),
    ]
)


@settings(max_examples=300)
@given(st.lists(PIECES, max_size=30).map(b"".join), st.data())
def test_chunks_do_not_matter_and_the_standard_agrees(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    decoder = SseDecoder()
    events: list[SseEvent] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        events += decoder.feed(stream[start:end])
    assert (events, decoder.retry_ms) == slow_reference(stream)


@settings(max_examples=50)
@given(st.lists(PIECES, max_size=20).map(b"".join))
def test_byte_by_byte(stream: bytes) -> None:
    decoder = SseDecoder()
    events = [event for byte in stream for event in decoder.feed(bytes([byte]))]
    assert events == slow_reference(stream)[0]


@pytest.mark.parametrize(
    "flood",
    [b"data: " + b"x" * 40, b"x" * 33, b"data: 12345678\n" * 4, b"data\n" * 40, b":" * 40],
    ids=["one line", "no field", "many lines", "empty lines", "comment"],
)
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_an_endless_event_is_an_error_and_stays_one(flood: bytes, step: int) -> None:
    decoder = SseDecoder(max_event_size=32)
    stream = b"data: good\n\n" + flood
    events: list[SseEvent] = []

    def feed_all() -> None:
        for start in range(0, len(stream) + step, step):
            events.extend(decoder.feed(stream[start : start + step]))

    with pytest.raises(SseOverflowError, match="larger than 32 bytes"):
        feed_all()
    assert events == [SseEvent("message", "good")]
    with pytest.raises(SseOverflowError):
        decoder.feed(b"\n\ndata: more\n\n")


def test_many_small_events_never_overflow() -> None:
    decoder = SseDecoder(max_event_size=32)
    assert len(decoder.feed(b"data: 1234567890\n\n: heartbeat\nfoo: bar\n" * 1000)) == 1000


def test_a_megabyte_passes_and_more_does_not() -> None:
    assert len(decode(b"data:" + b"x" * (1 << 19) + b"\n\n")) == 1
    with pytest.raises(SseOverflowError):
        decode(b"data:" + b"x" * (1 << 20))
