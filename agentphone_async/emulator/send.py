"""Answers as bytes on a connection, with whatever is to go wrong with them.

aiohttp parses the requests; answers are written straight to its transport, because no web
framework lets a handler send what a broken server sends. There is one path for faithful
answers and for damaged ones.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from email.utils import formatdate
from http import HTTPStatus
from typing import NoReturn

from aiohttp import web

from agentphone_async.emulator.clock import Clock, Pacer, piece_size
from agentphone_async.emulator.reply import FAITHFUL, Cut, Delivery, FileSlice, Reply

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_NO_LINGER = struct.pack("ii", 1, 0)
_JOINED = 64 * 1024
_AT_ONCE = 4 * 1024 * 1024  # what a transport may be given to hold
_BODILESS = frozenset({204, 304})


class BrokenOffError(Exception):
    """The answer has ended before its time, as it was meant to."""


class AlreadySent(web.StreamResponse):
    """Tells aiohttp that the answer is on its way, and whether the connection lives on."""

    def __init__(self, *, keep_alive: bool) -> None:
        super().__init__()
        self._keep_alive = keep_alive

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is left to prepare."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""


ALIVE, GONE = AlreadySent(keep_alive=True), AlreadySent(keep_alive=False)


class Throttle:
    """The speed limits that hold for a connection, its own and the common one."""

    __slots__ = ("clock", "common", "common_rate", "own", "own_rate")

    def __init__(
        self, clock: Clock, own_rate: float | None, common: Pacer, common_rate: float | None
    ) -> None:
        self.clock = clock
        self.own = Pacer()
        self.own_rate = own_rate
        self.common = common
        self.common_rate = common_rate

    @property
    def piece(self) -> int:
        """Bytes to send at once."""
        return min(piece_size(self.own_rate), piece_size(self.common_rate))

    async def spent(self, amount: int) -> None:
        """Wait until this many more bytes are allowed."""
        now = self.clock.monotonic()
        pause = 0.0
        if self.own_rate is not None:
            pause = self.own.reserve(now, amount, self.own_rate)
        if self.common_rate is not None:
            pause = max(pause, self.common.reserve(now, amount, self.common_rate))
        if pause > 0:
            await self.clock.sleep(pause)


def head(reply: Reply, framing: list[tuple[str, str]], *, keep_alive: bool, date: str) -> bytes:
    """Status line and headers."""
    lines = [f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in reply.headers]
    lines += [f"{name}: {value}" for name, value in framing]
    lines.append(f"Date: {date}")
    if not keep_alive:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


def http_date(timestamp: float) -> str:
    """A moment as HTTP writes it."""
    return formatdate(timestamp, usegmt=True)


class Answer:
    """One answer on its way to the client."""

    def __init__(
        self,
        request: web.BaseRequest,
        reply: Reply,
        delivery: Delivery,
        throttle: Throttle | None,
        clock: Clock,
    ) -> None:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        self._request = request
        self._transport = transport
        self._reply = reply
        self._delivery = delivery
        self._throttle = throttle
        self._clock = clock
        self._sent = 0
        self._events = 0
        cut = delivery.cut
        self._stop_at = (
            cut.offset(reply.length)
            if cut is not None and cut.place == "body" and cut.after_events is None
            else None
        )

    async def send(self, date: str) -> bool:
        """Send it; False when the connection must not be used again.

        Raises:
            ConnectionError: The client has gone.
        """
        try:
            alive = await self._send(date)
            if self._delivery.repeated == "at once" and alive:
                self._sent = self._events = 0
                alive = await self._send(date)
            return alive
        except BrokenOffError:
            return False
        finally:
            if isinstance(self._reply.body, AsyncIterator):
                await _close(self._reply.body)

    async def _send(self, date: str) -> bool:
        reply, delivery = self._reply, self._delivery
        framing, keep_alive = self._framing()
        cut = delivery.cut
        if cut is not None and cut.place == "connection":
            await self._break_off(cut)
        top = head(reply, framing, keep_alive=keep_alive, date=date)
        if cut is not None and cut.place == "headers":
            await self._write(top[: len(top) // 2])
            await self._break_off(cut)
        if self._request.method == "HEAD":
            await self._write(top)
            return keep_alive
        if delivery.drip is not None:
            await self._drip(top, delivery.drip)
        chunked = ("Transfer-Encoding", "chunked") in framing
        if type(reply.body) is bytes and len(reply.body) <= _AT_ONCE and self._plain:
            if len(reply.body) < _JOINED:
                await self._write(top + reply.body)
            else:
                await self._write(top, reply.body)
            return keep_alive
        await self._write(top)
        if reply.status not in _BODILESS:
            await self._send_body(chunked=chunked)
        return keep_alive and not delivery.hang_up

    async def _drip(self, top: bytes, rate: float) -> NoReturn:
        """The head, and then a chunk's extensions forever, a byte at a time."""
        await self._write(top + b"1;")
        while True:
            await self._clock.sleep(1 / rate)
            await self._write(b"x")

    @property
    def _plain(self) -> bool:
        return self._delivery is FAITHFUL and self._throttle is None

    def _framing(self) -> tuple[list[tuple[str, str]], bool]:
        """The headers that tell where the body ends, and whether the connection lives on."""
        delivery, length = self._delivery, self._reply.length
        keep_alive = bool(self._request.keep_alive)
        how = delivery.framing
        if delivery.drip is not None:
            return [("Transfer-Encoding", "chunked")], keep_alive
        if (length is None or delivery.endless) and how == "length":
            how = "chunked" if self._request.version >= (1, 1) else "close"
        if how == "chunked":
            return [("Transfer-Encoding", "chunked")], keep_alive
        if how == "close":
            return [], False
        if self._reply.status == 204:
            return [], keep_alive
        told = length if delivery.content_length is None else delivery.content_length
        return [("Content-Length", str(told))], keep_alive and delivery.content_length is None

    async def _send_body(self, *, chunked: bool) -> None:
        while True:
            async for piece in _pieces(self._reply.body, self._piece_size()):
                await self._send_piece(piece, chunked=chunked)
            if not self._delivery.endless or not self._reply.length:
                break
        if self._stop_at is not None and self._delivery.cut is not None:
            # The body was shorter than the place where it should break off.
            await self._break_off(self._delivery.cut)
        if chunked:
            await self._write(b"0\r\n\r\n")
        if self._delivery.surplus:
            await self._write(self._delivery.surplus)

    async def _send_piece(self, piece: bytes | memoryview, *, chunked: bool) -> None:
        stop_at, cut = self._stop_at, self._delivery.cut
        broken = cut if stop_at is not None and self._sent + len(piece) >= stop_at else None
        if broken is not None and stop_at is not None:
            piece = piece[: stop_at - self._sent]
        if piece:
            framed = b"".join((b"%x\r\n" % len(piece), piece, b"\r\n")) if chunked else piece
            await self._write(framed)
            self._sent += len(piece)
            if self._throttle is not None:
                await self._throttle.spent(len(piece))
        if broken is not None:
            await self._break_off(broken)
        self._events += piece[:1] != b":"  # a heartbeat is not an event
        if cut is not None and cut.after_events == self._events:
            self._stop_at = self._sent + cut.at
            if cut.at == 0:
                await self._break_off(cut)

    def _piece_size(self) -> int:
        return self._throttle.piece if self._throttle is not None else piece_size(None)

    async def _write(self, *pieces: bytes | memoryview) -> None:
        transport = self._transport
        if transport.is_closing():
            raise ConnectionResetError("the client has gone")
        for piece in pieces:
            transport.write(piece)
        await self._request.writer.drain()

    async def _break_off(self, cut: Cut) -> None:
        """Stop here, in the way that the fault asks for.

        Raises:
            BrokenOffError: Always, unless the client goes first.
        """
        if cut.how == "stall":
            await asyncio.get_running_loop().create_future()
        if cut.how == "reset":
            await self._until_received()
            reset(self._transport)
        else:
            self._transport.close()
        raise BrokenOffError

    async def _until_received(self) -> None:
        """A reset throws away what is still in our buffers, so wait for them to be empty."""
        low, high = self._transport.get_write_buffer_limits()
        self._transport.set_write_buffer_limits(0)
        await self._request.writer.drain()
        self._transport.set_write_buffer_limits(high, low)
        waited = 0.001
        while _unacknowledged(self._transport) and waited < 1.0:
            await asyncio.sleep(waited)
            waited *= 2


def reset(transport: asyncio.Transport) -> None:
    """Close a connection so that the other side sees a reset and not an end."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()


def _unacknowledged(transport: asyncio.Transport) -> int:
    """Bytes that the kernel has not yet handed over; 0 where it cannot say."""
    try:
        import fcntl  # noqa: PLC0415 - there is none on Windows
        import termios  # noqa: PLC0415 - there is none on Windows

        answer = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, b"0000")
        return int.from_bytes(answer, "little")
    except (ImportError, AttributeError, OSError):
        return 0


async def _pieces(
    body: bytes | FileSlice | AsyncIterator[bytes], size: int
) -> AsyncIterator[bytes | memoryview]:
    if isinstance(body, bytes):
        view = memoryview(body)
        for start in range(0, len(body), size):
            yield view[start : start + size]
    elif isinstance(body, FileSlice):
        for piece in _read(body, size):
            yield piece
    else:
        async for part in body:
            yield part


def _read(part: FileSlice, size: int) -> Iterator[bytes]:
    """A file's bytes; small reads mostly come from the page cache and are not worth a thread."""
    with part.path.open("rb", buffering=0) as file:
        file.seek(part.start)
        left = part.length
        while left:
            piece = file.read(min(size, left))
            if not piece:
                raise ConnectionResetError("the file has shrunk while it was served")
            yield piece
            left -= len(piece)


async def _close(body: AsyncIterator[bytes]) -> None:
    close = getattr(body, "aclose", None)
    if close is not None:
        await close()
