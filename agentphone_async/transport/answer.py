"""An open response: its head, and its body as it arrives, decoded and with errors of ours."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

import aiohttp

from agentphone_async.config import Timeouts
from agentphone_async.errors import (
    AgentPhoneError,
    MismatchedAnswerError,
    TimedOutError,
    UnexpectedResponseError,
)
from agentphone_async.protocol.coding import CodingError, Decoder, coding_of
from agentphone_async.protocol.endpoints import Request
from agentphone_async.protocol.responses import Reply, mismatch, what_was_asked
from agentphone_async.transport.aiohttp_errors import FOREIGN, translated
from agentphone_async.transport.connection import latest_trust
from agentphone_async.transport.fast_path import FastResponse
from agentphone_async.transport.framing import PlainAnswer
from agentphone_async.transport.large_body import LargeBody
from agentphone_async.transport.limits import HostLimits
from agentphone_async.transport.speed import SpeedWatch
from agentphone_async.transport.trust import EDGE, Content, Trust, checksum_of

if TYPE_CHECKING:
    from agentphone_async.protocol.recording import Chunk

LARGEST_REPLY = 64 * 1024 * 1024
"""Bytes of one JSON answer; a page of 100 calls has about 60 kB."""

SMALL_LEFTOVER = 64 * 1024
"""Bytes; an unwanted body up to this size is read, so that its connection can be used again."""

PIECE = 64 * 1024
"""Bytes of a body that are passed on at once, where nobody asks for more."""

Told = Callable[[int], None]
"""Told the number of bytes whenever some arrive."""


_NAMED = re.compile(  # the file name that the API gives a recording
    r'filename="?recording-([^";]+?)\.[A-Za-z0-9]{2,4}"?\s*(?:;|$)'
)
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")  # an id that a server need not rewrite in there


def nobody(_: int) -> None:
    """Is told, and does nothing."""


def wrong_answer(request: Request, why: str) -> MismatchedAnswerError:
    """The error of an answer that belongs to another request."""
    what = what_was_asked(request)
    return MismatchedAnswerError(f"the answer to {what} is not its own: {why}").about(request)


class Answer:
    """An open response: its head has arrived, its body may be read once.

    Leaving it as a context manager gives the connection back if the body was read to its end,
    and closes it otherwise.
    """

    __slots__ = (
        "_host",
        "_limits",
        "_request",
        "_response",
        "_timeouts",
        "headers",
        "redirected",
        "status",
        "trust",
    )

    def __init__(
        self,
        response: aiohttp.ClientResponse | FastResponse,
        request: Request,
        host: str,
        timeouts: Timeouts,
        limits: HostLimits,
    ) -> None:
        self._response = response
        self._limits = limits
        self._request = request
        self._host = host
        self._timeouts = timeouts
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.redirected = False
        trust = response.trust if isinstance(response, FastResponse) else latest_trust.get()
        self.trust = trust or Trust(first=True, proved=True)
        named = _NAMED.search(self.headers.get("Content-Disposition", ""))
        call_id = request.call_id
        if named is not None and call_id is not None:
            if named[1] == call_id:
                self.trust.prove()
            elif not self.trust.first and _PLAIN.fullmatch(named[1]) and _PLAIN.fullmatch(call_id):
                self.trust.refuse()
                self.close()
                raise wrong_answer(request, "its file name is another call's")

    @property
    def size(self) -> int:
        """Bytes of the body so far: none when the answer is opened."""
        return 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back if the body was read to its end; else close it."""
        content = self._response.content
        if isinstance(content, PlainAnswer):
            return  # its connection is free already
        if content.is_eof():
            self._response.release()
        else:
            self._response.close()

    @property
    def whole(self) -> bytes | None:
        """All of the body, if it came along with the head; None where only `chunks` can tell."""
        content = self._response.content
        if not isinstance(content, PlainAnswer) or self._limits.limited_bytes:
            return None
        body = content.body
        if not self.trust.named:
            if self.trust.distrusted:
                return None
            self._came(len(body), checksum_of(body))
        return body

    def _came(self, size: int, checksum: int) -> None:
        """All of the body is here.

        Raises:
            MismatchedAnswerError: it is, or may be, the answer to another request.
        """
        about = self._request.call_id or self._request.path
        self.trust.came(Content(about, self.status, size, checksum))
        if self.trust.distrusted:
            raise wrong_answer(self._request, "the connection is out of step")

    def redirects(self, location: str | None) -> Trust:
        """It is a redirect, and its body is of no interest.

        Raises:
            MismatchedAnswerError: it leads where another request was redirected before.
        """
        target = (location or "").encode()
        try:
            self._came(len(target), checksum_of(target))
        except MismatchedAnswerError:
            self.close()
            raise
        return self.trust

    def chunks(self, most: int = PIECE, told: Told = nobody) -> AsyncGenerator[Chunk]:
        """The body in pieces, within the byte rate, decoded if necessary.

        Args:
            most: bytes of a piece; it may be smaller, as it arrives.
            told: called with the number of bytes whenever some have arrived.

        Raises:
            TransportError: the connection broke, fell silent, or stayed below the minimum speed.
            UnexpectedResponseError: the content coding cannot be decoded. With an error's status
                it ends there instead: what matters about an error, its status says.
        """
        coding = coding_of(self.headers.get("Content-Encoding"))
        if coding is None:
            return self._raw_chunks(most, told)
        return self._decoded_chunks(coding, told)

    async def _decoded_chunks(self, coding: str, told: Told) -> AsyncGenerator[Chunk]:
        try:
            decoder = Decoder(coding)
            async for chunk in self._raw_chunks(PIECE, nobody):
                for piece in decoder.decode(bytes(chunk)):
                    told(len(piece))
                    yield piece
            for piece in decoder.finish():
                told(len(piece))
                yield piece
        except CodingError as error:
            if self.status >= 400:
                return
            raise UnexpectedResponseError(
                f"cannot decode the answer to {what_was_asked(self._request)}: {error}",
                status=self.status,
            ).about(self._request) from error

    async def _raw_chunks(self, most: int, told: Told) -> AsyncGenerator[Chunk]:
        limited = self._limits.limited_bytes and not self._request.live
        size, first = 0, b""
        last: Chunk = b""
        watch = self._watch()
        read = self._reader(min(most, PIECE) if limited else most, told, watch)
        try:
            while chunk := await read():
                size += len(chunk)
                self._limits.received += len(chunk)
                if len(first) < EDGE:
                    first += chunk[: EDGE - len(first)]
                last = chunk[-EDGE:] if len(chunk) >= EDGE else (last + chunk)[-EDGE:]
                if limited:
                    await self._limits.take_bytes(len(chunk))
                yield chunk
            self._came(size, checksum_of(first, bytes(last)))
        except FOREIGN as error:
            raise translated(error, self._request, self._host) from error
        finally:
            if watch is not None:
                watch.end()

    def _watch(self) -> SpeedWatch | None:
        """For a body that is to come; what a server holds back on purpose is not slowness."""
        content = self._response.content
        if self._request.live or isinstance(content, PlainAnswer) or content.is_eof():
            return None
        window = self._timeouts.minimum_speed_window + self._request.patience
        enough = self._timeouts.minimum_speed * self._timeouts.minimum_speed_window
        return SpeedWatch(window, enough, lambda *so: content.set_exception(self._slow(*so)))

    def _reader(
        self, most: int, told: Told, watch: SpeedWatch | None
    ) -> Callable[[], Awaitable[Chunk]]:
        """What reads the next piece, and tells of it; of a large one, while it arrives."""
        content = self._response.content
        large = isinstance(content, LargeBody)

        def arrived(size: int) -> None:
            if watch is not None:
                watch.came(size)
                if large:
                    watch.wait()
            told(size)

        async def read() -> Chunk:
            if watch is not None:
                watch.wait()
            if isinstance(content, LargeBody):
                piece: Chunk = await content.read(most)
                if watch is not None:
                    watch.came(0)
            else:
                piece = await content.readany()
                arrived(len(piece))
            return piece

        if isinstance(content, LargeBody):
            content.told = arrived
        return read

    def _slow(self, arrived: int, waited: float) -> TimedOutError:
        return TimedOutError(
            f"{self._host} sent {arrived} bytes in {waited:.0f} s in answer to "
            f"{what_was_asked(self._request)}; that counts as stalled",
        ).about(self._request)

    async def body(self, limit: int | None = LARGEST_REPLY) -> bytes:
        """All of the body; no more than ``limit`` bytes, None for no limit.

        Raises:
            TransportError, UnexpectedResponseError: as for `chunks`; or it exceeds ``limit``.
        """
        body = await self.beginning(math.inf if limit is None else limit + 1)
        if limit is not None and len(body) > limit:
            raise UnexpectedResponseError(
                f"the answer to {what_was_asked(self._request)} has over {limit} bytes",
                status=self.status,
            ).about(self._request)
        return body

    async def beginning(self, size: float = SMALL_LEFTOVER) -> bytes:
        """Up to about ``size`` bytes of the body; what follows them is not wanted."""
        if (whole := self.whole) is not None:
            return whole
        pieces: list[Chunk] = []
        left = size
        async for chunk in self.chunks():
            pieces.append(chunk)
            left -= len(chunk)
            if left <= 0:
                break
        return b"".join(pieces)

    async def doubt(self, reply: Reply) -> AgentPhoneError | None:
        """Why this may not be the answer to its request; None if there is no reason to think so.

        Args:
            reply: all of it.
        """
        request, trust = self._request, self.trust
        wrong = mismatch(request, reply)
        if wrong is None and not trust.first and request.accept == "application/json":
            if reply.body.startswith(b"RIFF"):
                wrong = wrong_answer(request, "it is a recording")
            elif reply.status >= 400 and request.repeatable:
                if trust.repeats:
                    return wrong_answer(request, "it came before, to another request")
                await asyncio.sleep(trust.unsettled)  # a late no would be believed forever
        if wrong is not None:
            trust.refuse()
        elif trust.distrusted:
            wrong = wrong_answer(request, "the connection is out of step")
        return wrong
