"""Server-Sent Events, decoded as they arrive (WHATWG HTML, section 9.2.6).

The decoder works on bytes and cuts them into lines before it decodes them: a line end (CR, LF or
CRLF) is never part of a longer UTF-8 sequence, so that chunks may be split anywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_EVENT_SIZE = 1_048_576
"""Bytes that one event, or one line, may have."""

_LINE_END = re.compile(rb"[\r\n]")
_BOM = b"\xef\xbb\xbf"


class SseOverflowError(ValueError):
    """An event, or a single line, is larger than the decoder may hold in memory."""


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One dispatched event.

    Attributes:
        event: its type; "message" where the stream names none.
        data: the data lines, joined by a line feed.
        id: the last event id at that moment; "" where the stream has given none yet.
    """

    event: str
    data: str
    id: str = ""


class SseDecoder:
    """Turns chunks of bytes into events, holding at most one event in memory.

    What comes out does not depend on how the bytes are cut into chunks. An event is complete with
    its empty line; what the stream leaves unfinished at its end is dropped, as the standard asks.

    Attributes:
        retry_ms: the reconnection time that the stream asked for, in milliseconds, or None.
    """

    def __init__(self, max_event_size: int = MAX_EVENT_SIZE) -> None:
        self.retry_ms: int | None = None
        self._limit = max_event_size
        self._line = bytearray()
        self._started = False
        self._skip_lf = False
        self._failure: SseOverflowError | None = None
        self._id = ""
        self._event = ""
        self._data: list[str] = []
        self._size = 0

    @property
    def at_rest(self) -> bool:
        """Whether the last event is complete: nothing of another one has come."""
        return not self._line and not self._data and not self._event

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Take the next bytes and return the events that they complete, oldest first.

        Raises:
            SseOverflowError: an event or a line is too large. Events that were complete before it
                are returned first; then this call and every later one raise.
        """
        events: list[SseEvent] = []
        if self._failure is None:
            try:
                self._take(chunk, events)
            except SseOverflowError as overflow:
                self._failure = overflow
        if self._failure is not None and not events:
            raise self._failure
        return events

    def _take(self, chunk: bytes, events: list[SseEvent]) -> None:
        if self._skip_lf and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._skip_lf = False
        self._line += chunk
        if _LINE_END.search(chunk) is not None:
            # A line is over with its CR; a LF behind it, perhaps in the next chunk, belongs to it.
            self._skip_lf = chunk.endswith(b"\r")
            lines = bytes(self._line).splitlines(keepends=True)
            self._line.clear()
            if not lines[-1].endswith((b"\r", b"\n")):
                self._line += lines.pop()
            for line in lines:
                self._bound(len(line))
                event = self._end_line(line.rstrip(b"\r\n"))
                if event is not None:
                    events.append(event)
        self._bound(len(self._line))

    def _bound(self, line: int) -> None:
        if self._size + line > self._limit:
            # The oldest bytes of an endless event are of no use to anybody: give the memory back.
            self._line.clear()
            self._data.clear()
            raise SseOverflowError(
                f"a server-sent event is larger than {self._limit} bytes; the stream is broken"
            )

    def _end_line(self, line: bytes) -> SseEvent | None:
        if not self._started:
            self._started = True
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        if name:  # without one it is a comment, such as a heartbeat
            self._field(name, value.removeprefix(b" ").decode("utf-8", "replace"), len(line))
        return None

    def _field(self, name: bytes, value: str, size: int) -> None:
        match name:
            case b"data":
                self._data.append(value)
                self._size += size + 1
            case b"event":
                self._event = value
            case b"id" if "\0" not in value:
                self._id = value
            case b"retry" if value.isascii() and value.isdigit() and len(value) <= 15:
                self.retry_ms = int(value)
            case _:
                pass  # unknown fields are ignored, so that the format can grow

    def _dispatch(self) -> SseEvent | None:
        kind, lines = self._event, self._data
        self._event, self._data, self._size = "", [], 0
        # The standard drops an event whose data buffer is empty; one empty data line is not that.
        if not lines:
            return None
        return SseEvent(kind or "message", "\n".join(lines), self._id)
