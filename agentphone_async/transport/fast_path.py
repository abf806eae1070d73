"""Plain GETs to one host, at a third of what `aiohttp.ClientSession` costs for each.

aiohttp still resolves names, connects, speaks TLS, keeps the pool and parses every response. Left
out is what a session makes for each request: URL, headers, cookies, timers, a request and a
response object, of which a recording needs nothing.

What is used of aiohttp here has public names, but little is written about it; so
`FastPath.beside` looks once whether all of it is there, and if not, everything goes the ordinary
way. It also does while something else takes over the requests of all sessions, as aioresponses
and VCR.py do.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
from aiohttp import ClientRequest, hdrs
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader
from yarl import URL

from agentphone_async.config import Timeouts
from agentphone_async.protocol.endpoints import Request
from agentphone_async.transport.connection import CheckedConnector, CountingHandler, latest_trust
from agentphone_async.transport.framing import PlainAnswer
from agentphone_async.transport.large_body import LargeBody
from agentphone_async.transport.trust import Trust

CALLED = (
    (ClientRequest, {"method", "url", "headers", "loop", "session"}),
    (aiohttp.BaseConnector.connect, {"req", "traces", "timeout"}),
    (
        ResponseHandler.set_response_params,
        {"read_until_eof", "auto_decompress", "read_timeout", "read_bufsize"},
    ),
    (ResponseHandler.read, set[str]()),
    (ResponseHandler.set_exception, {"exc"}),
    (ResponseHandler.abort, set[str]()),
    (Connection.release, set[str]()),
    (Connection.close, set[str]()),
)
"""What is called of aiohttp, and with which parameters."""

_SESSION_REQUEST = aiohttp.ClientSession._request  # noqa: SLF001 - to see that nobody replaced it


@dataclass(slots=True)
class FastResponse:
    """A response whose head has arrived: the part of `aiohttp.ClientResponse` that is needed.

    If all of its body has, too, its connection is not its own any more.
    """

    status: int
    headers: Mapping[str, str]
    content: StreamReader | PlainAnswer | LargeBody
    trust: Trust | None
    _connector: CheckedConnector
    _connection: Connection
    _handler: CountingHandler

    def release(self) -> None:
        """Give the connection back, when the body was read to its end."""
        self._connector.keep(self._connection, self._handler)

    def close(self) -> None:
        """Close the connection."""
        _drop(self._connection, self._handler)


class FastPath:
    """Sends plain public GETs over the pooled connections of a session.

    Args:
        client: the session whose pool is shared.
        base_url: scheme, host and prefix.
        headers: what goes along with every request, besides ``Host`` and ``Accept``.
        timeouts: see `Timeouts`.
        read_buffer: bytes; reading stops at twice this much unread.
    """

    def __init__(
        self,
        client: aiohttp.ClientSession,
        base_url: str,
        headers: Mapping[str, str],
        timeouts: Timeouts,
        read_buffer: int,
    ) -> None:
        connector = client.connector
        if not isinstance(connector, CheckedConnector):
            raise TypeError("the session has no connector of ours")
        self._connector = connector
        self._loop = asyncio.get_running_loop()
        self._timeouts = timeouts
        self._timeout = aiohttp.ClientTimeout(
            total=None,
            connect=timeouts.connect + timeouts.head,  # name look-up and a turn in the pool, too
            sock_connect=timeouts.connect,
        )
        self._parameters: dict[str, Any] = {
            "read_until_eof": True,
            "auto_decompress": False,
            "read_timeout": timeouts.read,
            "read_bufsize": read_buffer,
        }
        url = URL(base_url, encoded=True)
        # Tells the connector host, port and TLS, and by these which pooled connections fit.
        self._model = ClientRequest(
            hdrs.METH_GET, url, headers=headers, loop=self._loop, session=client
        )
        fixed = {hdrs.HOST: self._model.headers[hdrs.HOST], **headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fixed.items())
        self._before = f"GET {url.raw_path.rstrip('/')}"
        self._between = f" HTTP/1.1\r\n{lines}Accept: "

    @classmethod
    def beside(
        cls,
        client: aiohttp.ClientSession,
        base_url: str,
        headers: Mapping[str, str],
        timeouts: Timeouts,
        read_buffer: int,
    ) -> Self | None:
        """A path beside a session; None if this aiohttp does not have what it takes."""
        for called, parameters in CALLED:
            if not parameters <= set(inspect.signature(called).parameters):
                return None
        return cls(client, base_url, headers, timeouts, read_buffer)

    async def get(self, request: Request) -> FastResponse | None:
        """Send a request and return when the response head is there, whatever its status.

        Returns None, and sends nothing, if the request is more than this path can carry.

        A kept connection that turns out to be dead is replaced once, invisibly (RFC 9112
        section 9.3.1), as `aiohttp.ClientSession` does it; and what that raises, this raises.
        """
        public = request.method == "GET" and not request.authenticated
        more = request.query or request.body is not None or request.live or request.patience
        replaced = aiohttp.ClientSession._request is not _SESSION_REQUEST  # noqa: SLF001 - see above
        if more or replaced or not public:
            return None
        head = f"{self._before}{request.path}{self._between}{request.accept}\r\n\r\n".encode()
        again = False
        while True:
            connection, handler = self._connector.take() or await self._connect()
            try:
                handler.set_response_params(whole=True, **self._parameters)
                handler.send(head, self._timeouts.read, self._timeouts.head)
                try:
                    message, content = await handler.read()
                    while message.code < 200 and message.code != 101:  # RFC 9110 section 15.2
                        message, content = await handler.read()
                finally:
                    handler.asking = False
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                _drop(connection, handler)
                if again:
                    raise
                again = True
                self._connector.retire()  # where one has died, others have, too
            except HttpProcessingError as error:
                _drop(connection, handler)
                raise aiohttp.ClientResponseError(
                    self._model.request_info, (), status=error.code, message=error.message
                ) from error
            except BaseException:
                latest_trust.set(handler.trust)
                _drop(connection, handler)
                raise
            else:
                if isinstance(content, PlainAnswer):
                    self._connector.keep(connection, handler)
                said = message.code, message.headers, content, handler.trust
                return FastResponse(*said, self._connector, connection, handler)

    async def _connect(self) -> tuple[Connection, CountingHandler]:
        try:
            connection = await self._connector.connect(self._model, [], self._timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError("connecting took too long") from error
        handler = connection.protocol
        if not isinstance(handler, CountingHandler) or handler.transport is None:
            connection.close()  # lost in this very moment
            raise aiohttp.ServerDisconnectedError
        return connection, handler


def _drop(connection: Connection, handler: ResponseHandler) -> None:
    handler.abort()  # a polite end of TLS would continue receiving (MagicStack/uvloop#471)
    connection.close()
