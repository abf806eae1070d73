"""An answer as a value, and how it is to be sent: faithfully, or with damage of a precise kind."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class FileSlice:
    """Bytes that lie in a file: ``length`` of them from ``start``."""

    path: Path
    start: int
    length: int


Body = bytes | FileSlice | AsyncIterator[bytes]


@dataclass(slots=True)
class Reply:
    """A status, headers without framing, and a body.

    A body that comes from an iterator has no length and is sent in chunks.

    Attributes:
        whole: The body before a range was cut out of it, with its ETag; for faults that
            answer a range wrongly.
    """

    status: int
    headers: Headers = field(default_factory=list)
    body: Body = b""
    whole: bytes | FileSlice | None = None

    @property
    def length(self) -> int | None:
        """Bytes of the body, when that is known."""
        if isinstance(self.body, bytes):
            return len(self.body)
        return self.body.length if isinstance(self.body, FileSlice) else None


def json_reply(content: Any, status: int = 200) -> Reply:
    """An answer in JSON."""
    return Reply(status, [("Content-Type", "application/json")], json.dumps(content).encode())


Framing = Literal["length", "close", "chunked"]
"""How the end of a body is told: ``Content-Length``, end of connection, or a last chunk."""

Breakage = Literal["reset", "close", "stall"]
"""A TCP reset; an orderly end of the connection; silence on an open connection."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Where and how an answer breaks off.

    Attributes:
        how: What happens there.
        place: ``connection`` before any byte, ``headers`` in the middle of them, or ``body``.
        at: This many bytes of the body are sent; negative counts from the body's end.
        after_events: Count ``at`` from the end of this event of a stream.
    """

    how: Breakage
    place: Literal["connection", "headers", "body"] = "body"
    at: int = 0
    after_events: int | None = None

    def offset(self, length: int | None) -> int:
        """Bytes of the body that are still sent."""
        if self.at >= 0:
            return self.at
        return max(0, (length or 0) + self.at)


@dataclass(frozen=True, slots=True)
class Delivery:
    """The way of one answer to the client.

    Attributes:
        delay: Seconds of silence before the headers.
        framing: How the body's end is told; a body without a known length is chunked at most.
        content_length: What ``Content-Length`` says, if not the truth.
        cut: Where it breaks off.
        bandwidth: Bytes a second, for this answer alone.
        surplus: Sent after the end of the body.
        endless: The body is repeated until the client has had enough.
        hang_up: Close the connection afterwards without having said so.
        repeated: Send it twice, the second time ``at once`` or ``late``, which is when the next
            request comes in on the connection.
        drip: Bytes a second of a chunk extension that never ends, in place of the body.
    """

    delay: float = 0.0
    framing: Framing = "length"
    content_length: int | None = None
    cut: Cut | None = None
    bandwidth: float | None = None
    surplus: bytes = b""
    endless: bool = False
    hang_up: bool = False
    repeated: Literal["at once", "late"] | None = None
    drip: float | None = None


FAITHFUL = Delivery()
