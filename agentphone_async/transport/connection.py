"""Whose answer is it? Connections that notice when they are out of step with their requests.

HTTP/1.1 names no request in an answer: the first answer after a request is taken for its answer. A
server or proxy that answers one request twice shifts all later ones, and a recording gets another
call's name. So every byte is counted against what the head promised, and

* what arrives after an answer was complete, or while nothing was asked, is surplus: the connection
  is closed, and the answers that it gave are distrusted, unless they are known to be right;
* before a request goes out, the connection is looked at once more, down to the kernel's buffer.

An answer is known to be right if it was the first of its connection, since nothing could have been
in the way, or if its content names the request (`Trust.prove`). One that is the same as an earlier
one to another request is that one again, come late (`Trust.came`). Surplus after a whole body of
proved length does not spoil it; it only costs the connection.
"""

from __future__ import annotations

import asyncio
import inspect
import select
import time
import weakref
from contextvars import ContextVar
from functools import partial
from typing import Any

import aiohttp
from aiohttp import ClientRequest, ClientTimeout
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from agentphone_async.transport.framing import PlainAnswer, plain_answer, whole_size
from agentphone_async.transport.large_body import LARGE, LARGEST_OVER_TLS, LargeBody
from agentphone_async.transport.trust import Content, Shared, Trust

KEPT = 5.0
"""Seconds after which a connection that was not needed goes back to aiohttp's own pool."""

REMEMBERED = 64
"""Answers of one connection that may turn out to be another request's."""

SHORTEST = 24
"""Bytes of a body; shorter ones are often the same."""

LONGEST_LINE = 64 * 1024
"""Bytes of one header line; signed addresses in ``Location`` have been seen with 9 kB."""

MOST_HEADERS = 1000

_BOUNDS = {
    name: bound
    for name, bound in (
        ("max_line_size", LONGEST_LINE),
        ("max_field_size", LONGEST_LINE),
        ("max_headers", MOST_HEADERS),
    )
    if name in inspect.signature(ResponseHandler.set_response_params).parameters
}

latest_trust: ContextVar[Trust | None] = ContextVar("agentphone_async_trust", default=None)
"""Of the answer to the request that this task has sent last; of a plain one, only if it failed."""


class CountingHandler(ResponseHandler):
    """aiohttp's connection, which counts what comes against what was promised.

    Attributes:
        shared: what is known of all connections of its pool.
        believed: whether a refusal was believed that came before, too.
        trust: of the answer that is under way, or was the last; None before the first request.
        served: requests until now.
        asking: whether `send` has sent one, and the head of its answer is waited for.
        generation: when it was made, see `CheckedConnector.retire`; -1 once it is out of step.
    """

    generation = 0

    def __init__(self, loop: asyncio.AbstractEventLoop, shared: Shared) -> None:
        super().__init__(loop)
        self.shared = shared
        self.believed = False
        self.trust: Trust | None = None
        self.served = 0
        self._itself = weakref.ref(self)
        self._given: list[Trust] = []
        self._awaits_head = False
        self._left: int | None = 0
        """Bytes of the body that are still to come; None if only the parser knows."""
        self._heads = 0
        self._takes_whole = False
        self._spare = False
        """Whether the parser was made for the last answer, and not needed."""
        self.asking = False
        self._due = (0.0, 0.0)
        self._late: asyncio.TimerHandle | None = None
        self._poll: select.poll | None = None

    def set_response_params(self, *, whole: bool = False, **params: Any) -> None:
        """A request is about to be sent.

        Args:
            whole: whether its answer may come as a `PlainAnswer`.
            params: see aiohttp; always the same ones with ``whole``.
        """
        first = self.served == 0
        trust = Trust(first, first, self._itself)
        self.served += 1
        self.trust = trust
        self._given.append(trust)
        del self._given[:-REMEMBERED]
        if not whole:
            latest_trust.set(trust)
        self._awaits_head = not params.get("skip_payload")
        self._left = None
        self._heads = 0
        self._takes_whole = whole
        if whole and self._spare:
            self._spare = False
            return
        self._spare = False
        params.update(_BOUNDS)
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Bytes from the network, or (none) from the parser's own leftovers."""
        if self._awaits_head:
            self._awaits_head = False
            if (
                self._takes_whole
                and (answer := plain_answer(data)) is not None
                and (not answer.missing or self._takes_large(answer))
            ):
                self._left = 0
                self._spare = True
                if answer.missing:
                    body = LargeBody(self, answer, self.read_timeout)
                    super().feed_data((answer, body))  # type: ignore[arg-type] # in place of both
                else:
                    if self.trust is not None:
                        self.trust.ended_at = time.monotonic()
                    super().feed_data((answer, answer))  # type: ignore[arg-type] # likewise
                return
            self._left = whole_size(data)
        left = self._left
        if left is None or not data:
            super().data_received(data)
            return
        surplus = len(data) > left
        if surplus:
            data = data[:left]
        self._left = left - len(data)
        if data:
            super().data_received(data)
        if self._left == 0:
            self.body_came()
        if surplus:
            self.out_of_step()

    def body_came(self) -> None:
        """The last byte of an answer is here."""
        if self.trust is not None:
            self.trust.ended_at = time.monotonic()

    def _takes_large(self, answer: PlainAnswer) -> bool:
        """Whether the rest of it can go right into the reader's memory, and that is a gain."""
        if answer.missing < LARGE or self.transport is None:
            return False
        size = len(answer.data) - answer.start + answer.missing
        return size <= LARGEST_OVER_TLS or not self.transport.get_extra_info("sslcontext")

    def send(self, data: bytes, read: float, head: float) -> None:
        """Send a request, and fail if its answer's head takes too long, until `asking` is unset.

        One timer looks after all requests of a connection, for what nearly never happens.

        Args:
            data: the request.
            read: seconds in which something must arrive.
            head: seconds in which the whole head must.
        """
        if self.transport is None:
            raise aiohttp.ServerDisconnectedError
        self.transport.write(data)
        self.asking = True
        now = time.monotonic()
        self._due = now + min(read, head), now + head
        if self._late is None:
            self._late = self._loop.call_later(min(read, head), self._is_late)

    def _is_late(self) -> None:
        self._late = None
        if not self.asking:
            return
        left = self._due[0 if self._awaits_head else 1] - time.monotonic()
        if left > 0:
            self._late = self._loop.call_later(left, self._is_late)
        else:
            self.set_exception(aiohttp.SocketTimeoutError("no complete response head in time"))

    def connection_lost(self, error: BaseException | None) -> None:
        """It is closed."""
        if self._late is not None:
            self._late.cancel()
            self._late = None
        super().connection_lost(error)

    def feed_data(self, data: Any, *size: int) -> None:
        """One head was parsed."""
        if data[0].code >= 200:
            self._heads += 1
        if self._heads > 1:
            self.out_of_step()
            return
        super().feed_data(data, *size)

    def has_given(self, trust: Trust, content: Content) -> bool:
        """Whether an earlier answer to another request was the same."""
        if content.size >= SHORTEST:
            same = content[1:]
            for each in self._given:
                other = None if each is trust else each.content
                if other is not None and other[1:] == same and other.about != content.about:
                    return True
        return False

    def out_of_step(self) -> None:
        """Something came that nobody had asked for."""
        self.shared.out_of_step = True
        for trust in self._given:
            trust.distrust()
        self.force_close()  # when what is under way has been read
        self.generation = -1
        self._left = 0

    async def is_in_step(self) -> bool:
        """Whether it may carry another request: alive, and nothing is there to be read."""
        if not self.is_quiet():
            # End of file, a TLS ticket or somebody's answer: the event loop finds out which.
            for _ in range(3):
                await asyncio.sleep(0)
            if not self.is_quiet():
                return False
        return not self.should_close

    def is_quiet(self) -> bool:
        """Whether it is open, and nothing is there to be read."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return False
        if self._poll is None:
            sock = transport.get_extra_info("socket")
            if sock is None:
                return True
            self._poll = select.poll()
            self._poll.register(sock.fileno(), select.POLLIN)
        return not self._poll.poll(0)


class CheckedConnector(aiohttp.TCPConnector):
    """A pool that hands out only connections that are in step."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory: Any = partial(
            CountingHandler, loop=asyncio.get_running_loop(), shared=Shared()
        )
        self._generation = 0
        self._kept: list[tuple[Connection, CountingHandler]] = []
        self._fewest = 0
        """Of those kept since the last `_tidy`: these were never needed."""
        self._tidying: asyncio.TimerHandle | None = None

    def keep(self, connection: Connection, handler: CountingHandler) -> None:
        """Hold on to a connection whose answer was read, for the next `take`.

        What nobody takes for some seconds goes to aiohttp's own pool, which closes it in the end.
        """
        if handler.should_close:
            connection.release()
            return
        self._kept.append((connection, handler))
        if self._tidying is None:
            self._tidying = asyncio.get_running_loop().call_later(KEPT, self._tidy)

    def take(self) -> tuple[Connection, CountingHandler] | None:
        """A kept connection that is plainly in step; None if `connect` has to find one."""
        while self._kept:
            kept = connection, handler = self._kept.pop()
            self._fewest = min(self._fewest, len(self._kept))
            if handler.generation == self._generation and handler.is_quiet():
                return kept
            connection.release()  # `connect` looks closer
        return None

    def _tidy(self) -> None:
        """Let those go that were not needed since the last time."""
        unused, self._fewest = self._fewest, len(self._kept)
        for connection, _ in self._kept[:unused]:
            connection.release()
        del self._kept[:unused]
        self._fewest = len(self._kept)
        again = bool(self._kept) and not self.closed
        loop = asyncio.get_running_loop()
        self._tidying = loop.call_later(KEPT, self._tidy) if again else None

    def close(self, **options: Any) -> Any:
        """Close all connections."""
        if self._tidying is not None:
            self._tidying.cancel()
        while self._kept:
            self._kept.pop()[0].close()
        return super().close(**options)

    def retire(self) -> None:
        """Use none of the connections again that are open now: one of them was dead."""
        self._generation += 1

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: ClientTimeout,  # noqa: ASYNC109 - aiohttp's signature
    ) -> Connection:
        """A connection from the pool, or a new one."""
        while self._kept:
            self._kept.pop()[0].release()
        while True:
            connection = await super().connect(req, traces, timeout)
            handler = connection.protocol
            if not isinstance(handler, CountingHandler):
                return connection
            if handler.served == 0:
                handler.generation = self._generation
                return connection
            if handler.generation == self._generation and await handler.is_in_step():
                return connection
            connection.close()
