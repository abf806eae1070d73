"""A server that does exactly what it is told, byte by byte, for what no HTTP server would do.

Each request, over all connections, gets the next item of the script; the last one repeats. An item
is bytes, sent as they are, or a coroutine function that is given the connection and the request::

    async with RawServer(then_reset(b"HTTP/1.1 200 OK\\r\\n"), respond(body=b"{}")) as server:
        ...server.base_url...
    assert [request.target for request in server.requests] == ["/v1/calls", "/v1/calls"]

After bytes, the connection waits for its next request, so a body without a length needs
`then_close`.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias


@dataclass(frozen=True, slots=True)
class RawRequest:
    """A request as it came.

    Attributes:
        method: such as ``GET``.
        target: path and query, exactly as sent.
        headers: names in lower case; of a repeated one the last value.
        body: the bytes that Content-Length announced.
        connection: number of the connection, from 0.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """One accepted connection.

    Attributes:
        number: from 0, in the order of accepting.
        gone: set once the peer has closed or reset it.
    """

    def __init__(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.number = number
        self.gone = asyncio.Event()
        self._reader = reader
        self._writer = writer

    async def request(self) -> RawRequest | None:
        """The next request; None when the peer has gone."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            method, target, _ = lines[0].split(" ", 2)
            headers = {
                name.strip().lower(): value.strip()
                for name, _, value in (line.partition(":") for line in lines[1:] if line)
            }
            body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone.set()
            return None
        return RawRequest(method, target, headers, body, self.number)

    async def send(self, data: bytes) -> None:
        """Send bytes; quietly does nothing once the peer has gone."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except ConnectionError:
            self.gone.set()

    async def wait_gone(self) -> None:
        """Return when the peer has closed; what it sends meanwhile is dropped."""
        try:
            while await self._reader.read(65536):
                pass
        except ConnectionError:
            pass
        self.gone.set()

    def reset(self) -> None:
        """Close with RST, as a crashed machine's network does."""
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def close(self) -> None:
        """Close with FIN, once everything is sent."""
        self._writer.close()


Action: TypeAlias = Callable[[Connection, RawRequest], Awaitable[None]]
Item: TypeAlias = bytes | Action

LONGEST = 20
"""Seconds after which something that a test waits for will not happen any more."""


class RawServer:
    """A scripted server on a free port of 127.0.0.1.

    Attributes:
        requests: all requests so far.
        connections: all connections so far.
        base_url: valid once entered.
    """

    def __init__(self, *script: Item, tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Condition()
        self.requests: list[RawRequest] = []
        self.connections: list[Connection] = []
        self.base_url = ""
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", 0, ssl=self._tls, limit=1024 * 1024
        )
        self.port = self._server.sockets[0].getsockname()[1]
        scheme = "https" if self._tls else "http"
        self.base_url = f"{scheme}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def until(self, met: Callable[[], bool]) -> None:
        """Return when ``met()`` is true; looked at after every request and connection."""
        async with asyncio.timeout(LONGEST), self._news:
            await self._news.wait_for(met)

    async def left(self) -> None:
        """Return when the client has closed the first connection; fail if it keeps it open."""
        async with asyncio.timeout(LONGEST):
            await self.connections[0].gone.wait()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection = Connection(len(self.connections), reader, writer)
        self.connections.append(connection)
        try:
            await self._serve(connection)
        except asyncio.CancelledError:
            pass  # the test is over; asyncio would log a cancelled handler as an error
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, connection: Connection) -> None:
        await self._tell()
        while (request := await connection.request()) is not None:
            item = self._script[min(len(self.requests), len(self._script) - 1)]
            self.requests.append(request)
            await self._tell()
            if isinstance(item, bytes):
                await connection.send(item)
            else:
                await item(connection, request)
        await self._tell()

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()


def respond(
    status: int = 200,
    body: bytes | dict[str, Any] | list[Any] = b"",
    *,
    reason: str = "Whatever",
    **headers: str | None,
) -> bytes:
    """A whole response; ``content_type="text/html"`` sets that header, None leaves it out."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
        headers.setdefault("content_type", "application/json")
    headers.setdefault("content_length", str(len(body)))
    lines = [f"HTTP/1.1 {status} {reason}"] + [
        f"{name.replace('_', '-')}: {value}" for name, value in headers.items() if value is not None
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunk(data: bytes) -> bytes:
    """One chunk of a body with ``Transfer-Encoding: chunked``."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def then_close(data: bytes = b"") -> Action:
    """Send and close the connection."""

    async def act(connection: Connection, _: RawRequest) -> None:
        await connection.send(data)
        connection.close()

    return act


def then_reset(data: bytes = b"") -> Action:
    """Send and reset the connection. The peer may never see what was sent last."""

    async def act(connection: Connection, _: RawRequest) -> None:
        await connection.send(data)
        connection.reset()

    return act


def then_hold(data: bytes = b"") -> Action:
    """Send and say nothing more until the peer goes away."""

    async def act(connection: Connection, _: RawRequest) -> None:
        await connection.send(data)
        await connection.wait_gone()

    return act


def gated(gate: asyncio.Event, item: bytes, *, first: bytes = b"") -> Action:
    """Send ``first``, wait for the gate, then send ``item``."""

    async def act(connection: Connection, _: RawRequest) -> None:
        await connection.send(first)
        await gate.wait()
        await connection.send(item)

    return act
