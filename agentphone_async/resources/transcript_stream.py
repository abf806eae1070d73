"""Following a transcript live, over as many connections as it takes.

The stream is opened like any request, with retries and a slot of the host's; then the slot is given
back, so that following a hundred calls for an hour does not hold up a single download.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from typing import Any, TypeVar

from agentphone_async.errors import (
    AgentPhoneError,
    ConnectionFailedError,
    MismatchedAnswerError,
    TimedOutError,
    TransportError,
    UnexpectedResponseError,
)
from agentphone_async.models import FINISHED_STATUSES, TranscriptEvent, normal_status
from agentphone_async.protocol.display import printable, sample
from agentphone_async.protocol.endpoints import Request
from agentphone_async.protocol.replay import ReplayFilter
from agentphone_async.protocol.responses import Reply, error_of, what_was_asked
from agentphone_async.protocol.sse import SseDecoder, SseEvent, SseOverflowError
from agentphone_async.transport.answer import Answer
from agentphone_async.transport.session import Session

HEARTBEAT = 15.0
"""Seconds between two heartbeats of a silent stream (API page "Stream Call Transcript")."""

MISSED_HEARTBEATS = 2
"""So many intervals without a byte, and the connection counts as dropped."""

LONGEST_EVENT_ID = 512
"""Characters; a longer id of the server's is not sent back to it."""

T = TypeVar("T")

_log = logging.getLogger("agentphone_async.resources")


class TranscriptStream:
    """One following of one call; `events` may be used once.

    Args:
        session: where to.
        request: the stream's request.
        heartbeat: seconds between two heartbeats.
    """

    def __init__(self, session: Session, request: Request, *, heartbeat: float) -> None:
        if heartbeat <= 0:
            raise ValueError(f"heartbeat is {heartbeat:g} s; it must be more than 0")
        self._session = session
        self._request = request
        self._heartbeat = heartbeat
        self._filter = ReplayFilter()
        self._greeted = False
        self._over = False
        self._heard_at = 0.0
        self._last_id = ""
        self._retry_after = 0.0

    async def events(self) -> AsyncGenerator[TranscriptEvent]:
        """Every event once; the last one is ``ended``.

        A server that says on connecting that the call is over may end the stream without it.

        Raises:
            AgentPhoneError: it could not be opened, or broke too often without getting on.
        """
        failures = 0
        while True:
            answer = await self._opened()
            began = self._heard_at = time.monotonic()
            told = self._filter.told
            try:
                async with answer, aclosing(self._connection(answer)) as events:
                    async for event in events:
                        if event.event == "ended":
                            answer.close()
                        yield event
                        if event.event == "ended":
                            return
                if self._over:
                    return
                raise self._ended_early()
            except TransportError as error:
                # One that was alive for a while may be cut by any proxy on the way; that is life.
                alive = self._heard_at - began >= self._heartbeat
                failures = 1 if alive or self._filter.told > told else failures + 1
                error.attempts = failures
                if failures >= self._session.settings.retry.attempts:
                    raise
                _log.info(
                    "a transcript stream broke (%s), attempt %d; opening it again",
                    type(error).__name__,
                    failures,
                    extra={"attempt": failures},
                )
            await self._session.retrier.back_off(failures, at_least=self._retry_after)

    async def _opened(self) -> Answer:
        """Open the stream, or raise what the server says instead."""
        headers = {"Cache-Control": "no-store"}
        if self._last_id:
            headers["Last-Event-ID"] = self._last_id

        async def attempt(_: int) -> Answer:
            answer = await self._session.send(self._request, headers)
            try:
                await self._check(answer)
            except BaseException:
                answer.close()
                raise
            return answer

        return await self._session.retrier.run(self._request, attempt)

    async def _check(self, answer: Answer) -> None:
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if answer.status != 200:
            body = self._session.without_key(await self._in_time(answer.beginning()))
            raise error_of(self._request, Reply(answer.status, answer.headers, body))
        if kind not in {"text/event-stream", ""}:
            body = self._session.without_key(await self._in_time(answer.beginning(512)))
            raise UnexpectedResponseError(
                f"{what_was_asked(self._request)} brought no event stream: "
                f"{printable(kind, 60)}, {sample(body)}; check the base URL",
                status=answer.status,
            ).about(self._request)

    async def _connection(self, answer: Answer) -> AsyncGenerator[TranscriptEvent]:
        """The new events of one connection, until it ends or breaks."""
        decoder = SseDecoder()
        self._over = False
        self._filter.connected()
        async with aclosing(answer.chunks()) as chunks:
            while chunk := await self._in_time(anext(chunks, b"")):
                self._heard_at = time.monotonic()
                try:
                    decoded = decoder.feed(bytes(chunk))
                except SseOverflowError as error:
                    raise UnexpectedResponseError(
                        f"{what_was_asked(self._request)}: {error}", status=answer.status
                    ).about(self._request) from error
                for event in decoded:
                    if self._is_new(event, data := self._data_of(event)):
                        yield TranscriptEvent.make(event.event, data or {})
                    if event.id:
                        self._remember(event.id)
                if decoder.retry_ms is not None:
                    self._retry_after = decoder.retry_ms / 1000
        self._over = self._over and decoder.at_rest

    async def _in_time(self, reading: Awaitable[T]) -> T:
        """Read, but take too long a silence for a drop."""
        silence = MISSED_HEARTBEATS * self._heartbeat
        try:
            async with asyncio.timeout(silence):
                return await reading
        except TimeoutError as error:
            raise TimedOutError(
                f"{what_was_asked(self._request)} was silent for {silence:g} s, heartbeats included"
            ).about(self._request) from error

    def _is_new(self, event: SseEvent, data: dict[str, Any] | None) -> bool:
        if event.event == "connected":
            told = data or {}
            over = normal_status(told.get("status")) in FINISHED_STATUSES
            self._over = over or isinstance(told.get("endedAt"), str)
            first, self._greeted = not self._greeted, True
            return first
        if event.event == "ended":
            return True
        if data is None:
            _log.warning(
                "an event %r of a transcript stream is not a JSON object; left out",
                printable(event.event, 40),
            )
            return False
        return self._filter.is_new(event.event, data)

    def _remember(self, event_id: str) -> None:
        fits = len(event_id) <= LONGEST_EVENT_ID and event_id.isascii() and event_id.isprintable()
        self._last_id = event_id if fits else ""

    def _ended_early(self) -> AgentPhoneError:
        return ConnectionFailedError(
            f"{self._session.host} ended {what_was_asked(self._request)} "
            "while the call is in progress"
        ).about(self._request)

    def _data_of(self, event: SseEvent) -> dict[str, Any] | None:
        """What an event says.

        Raises:
            MismatchedAnswerError: it says it of another call.
        """
        try:
            data = json.loads(self._session.without_key(event.data))
        except (ValueError, RecursionError):
            return None
        if not isinstance(data, dict):
            return None
        if isinstance(named := data.get("callId"), str) and named != self._request.call_id:
            raise MismatchedAnswerError(
                f"{what_was_asked(self._request)} was answered for another call"
            ).about(self._request)
        return data
