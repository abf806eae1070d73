"""How an answer is to be put on the wire: faithfully, or with damage of a precise kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
        at: So many bytes of the body are sent; negative counts from the body's end.
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
    """

    delay: float = 0.0
    framing: Framing = "length"
    content_length: int | None = None
    cut: Cut | None = None
    bandwidth: float | None = None
    surplus: bytes = b""
    endless: bool = False
    hang_up: bool = False


FAITHFUL = Delivery()
