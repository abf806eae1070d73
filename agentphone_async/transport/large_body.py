"""A large body, received right into the memory that it is hashed and written from.

aiohttp cuts a body into the pieces in which it arrives; each is received, copied, queued and passed
on by itself. Here the event loop fills one buffer of the size that the reader asks for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from agentphone_async.transport.connection import CountingHandler
    from agentphone_async.transport.framing import PlainAnswer

LARGE = 128 * 1024
"""Bytes that are still to come behind the head; to take a connection over for less is no gain."""

LARGEST_OVER_TLS = 4 * 1024 * 1024
"""Bytes. asyncio's TLS throws away what does not fit into the buffer when the server hangs up, so
only bodies that fit into one are received so."""


class LargeBody(asyncio.BufferedProtocol):
    """The body of an answer with a plain head; in place of aiohttp's stream.

    It takes the connection over when the head has come, and gives it back behind the last byte.
    Nothing is received while nobody reads.

    Args:
        handler: whose connection it is.
        answer: the head, and what came along with it.
        patience: seconds in which something must arrive; None for no bound.

    Attributes:
        left: bytes that were not read yet.
        told: called with the number of bytes whenever some arrive in a buffer.
    """

    def __init__(
        self, handler: CountingHandler, answer: PlainAnswer, patience: float | None
    ) -> None:
        if (transport := handler.transport) is None:
            raise aiohttp.ServerDisconnectedError
        self.told: Callable[[int], None] | None = None
        self._handler = handler
        self._transport = transport
        self._begun = memoryview(answer.data)[answer.start :]
        self.left = len(self._begun) + answer.missing
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._view = memoryview(b"")
        self._waiter: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        transport.set_protocol(self)
        transport.pause_reading()

    def is_eof(self) -> bool:
        """All of it has been read."""
        return not self.left

    def set_exception(self, error: BaseException) -> None:
        """Nothing more is to be expected."""
        if self._error is None:
            self._error = error
        self._wake()

    async def read(self, most: int) -> bytearray:
        """The next ``most`` bytes, or all that are left; fewer only if the connection breaks then.

        Raises:
            aiohttp.ClientError: it is broken, or silent for too long.
        """
        buffer = bytearray(min(most, self.left))
        whole = len(buffer)
        if whole:
            with memoryview(buffer) as view:
                missing = await self._fill(view)
            if missing:
                if missing == whole and self._error is not None:
                    raise self._error
                del buffer[-missing:]
        return buffer

    async def _fill(self, view: memoryview) -> int:
        """Receive until a buffer is full, or no more comes; how many bytes are missing then."""
        self._view = view
        if begun := len(self._begun[: len(view)]):
            view[:begun] = self._begun[:begun]
            self._begun = self._begun[begun:]
            self.buffer_updated(begun)
        try:
            if self._view and self._error is None:
                self._since = time.monotonic()
                self._expect(self._patience)
                self._waiter = self._loop.create_future()
                self._transport.resume_reading()
                await self._waiter
            return len(self._view)
        finally:
            self._waiter = None
            self._view = memoryview(b"")
            self._expect(None)
            if self.left:
                self._transport.pause_reading()
            else:
                self.told = None  # it may know us

    def _expect(self, seconds: float | None) -> None:
        """Look in so many seconds whether something has come."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        patience = self._patience or 0.0
        silent = time.monotonic() - self._since
        if silent < 0.99 * patience:
            self._expect(patience - silent)
        else:
            self.set_exception(aiohttp.SocketTimeoutError(f"nothing came in {silent:.0f} s"))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # ---------------------------------------------------------------- called by the event loop

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the protocol's signature
        """Where the next bytes go."""
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes have come."""
        self._view = self._view[nbytes:]
        self.left -= nbytes
        self._since = time.monotonic()
        if not self._view:
            if self.left:
                self._transport.pause_reading()
            else:
                self._transport.set_protocol(self._handler)
                self._handler.body_came()
            self._wake()
        if self.told is not None:
            self.told(nbytes)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over, and too early."""
        self.set_exception(aiohttp.ClientPayloadError(f"{self.left} bytes are missing: {exc!r}"))
        self._handler.connection_lost(exc)
