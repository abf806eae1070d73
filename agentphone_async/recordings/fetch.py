"""One recording: request, stream, judge, and hand over to be published.

A small body waits in memory to be written, hashed and renamed together with others. One that fits
is gathered there, too, but written and hashed as soon as it is whole, in one thread hop. A larger
one is written in steps. All draw on one byte budget that all transfers share. If a large one breaks
off late enough, the next attempt goes on where it stopped, provided the server proves that the
bytes are the same.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agentphone_async.errors import (
    AgentPhoneError,
    NotAudioError,
    SurplusBytesError,
    TransportError,
)
from agentphone_async.protocol import endpoints
from agentphone_async.protocol.endpoints import Request
from agentphone_async.protocol.ranges import Resume, Validator, judge_resume, resume_headers
from agentphone_async.protocol.recording import (
    Audio,
    Promise,
    beginning,
    judge,
    not_audio,
    promise_of,
    refuse_size,
    short,
)
from agentphone_async.protocol.responses import Reply, error_of, what_was_asked
from agentphone_async.recordings.valve import Passage
from agentphone_async.sinks.interface import SMALL, Body, Ready, Sink, Staged, Target, Upload
from agentphone_async.transport.answer import Answer
from agentphone_async.transport.budget import ByteBudget
from agentphone_async.transport.session import Session

GATHERED = 4 * 1024 * 1024
"""Bytes; bodies up to this size are held in memory and written in one hop."""

STEP = 1024 * 1024
"""Bytes; larger bodies are written whenever this much has arrived."""

SHORT_STEP = 128 * 1024
"""Bytes; the same while the budget gives nothing."""

PATIENCE = 1.0
"""Seconds to wait for the budget before doing without."""

RESUMED = 8 * 1024 * 1024
"""Bytes; only bodies larger than this are worth a range request."""

BUDGET = 32 * 1024 * 1024
"""Bytes that all transfers of one client together hold in memory, short steps aside."""

Progress = Callable[[int], None]
"""Told the number of bytes whenever some arrive."""

_log = logging.getLogger("agentphone_async")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A whole recording that waits to be published, and how it came.

    Attributes:
        ready: what to publish.
        held: bytes of the budget that go back when it is published or given up.
        attempts: how many requests it took.
        elapsed: seconds from the first request to the last byte.
        etag: the server's validator, as it came; None if it sent none.
        first_byte: seconds from sending the last request to the head of its answer.
        last_byte: seconds from sending it to the end of the body; without the waiting for a slot
            that ``elapsed`` includes.
    """

    ready: Ready
    held: int
    attempts: int
    elapsed: float
    etag: str | None
    first_byte: float = 0.0
    last_byte: float = 0.0


class Fetcher:
    """Fetches recordings through one session into one sink.

    Args:
        session: where they come from.
        sink: where they are staged.
        budget: bytes held in memory by all transfers together; one of its own if not given.
        max_file_size: bytes beyond which a recording is refused; by default the session's limit.
        progress: told about arriving bytes, in the event loop's thread. If it raises, that is
            logged, it is not called again, and the recordings arrive all the same.
    """

    def __init__(
        self,
        session: Session,
        sink: Sink,
        *,
        budget: ByteBudget | None = None,
        max_file_size: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.session = session
        self.sink = sink
        self.budget = budget or ByteBudget(BUDGET)
        self.max_file_size = (
            session.settings.max_file_size if max_file_size is None else max_file_size
        )
        self.progress = progress

    async def fetch(self, call_id: str, target: Target, passage: Passage | None = None) -> Fetched:
        """Fetch one recording; publishing it, and then `release`, are up to the caller.

        Args:
            call_id: whose.
            target: the name that it is to have.
            passage: told when its turn has come, after waiting for a slot, a pause or a rate.

        Raises:
            LeftError: the passage was closed before its turn.
            RecordingNotFoundError: 404.
            InvalidIdError: the id cannot be sent.
            RecordingError: what came is no whole recording.
            TransportError, ResponseError: as the last attempt ended.
            DestinationError: the sink failed.
        """
        request = endpoints.get_recording(call_id)
        transfer = _Transfer(self, request, target, passage)
        started = time.monotonic()
        try:
            ready = await self.session.retrier.run(request, transfer.attempt)
        finally:
            await transfer.finish()
        now = time.monotonic()
        held = 0
        if isinstance(ready, Body):
            held = ready.size
            if held > SMALL:
                ready, held = await self._stage(ready), 0
        return Fetched(
            ready,
            held=held,
            attempts=transfer.attempts,
            elapsed=now - started,
            etag=transfer.etag,
            first_byte=transfer.first_byte,
            last_byte=now - transfer.sent,
        )

    async def _stage(self, body: Body) -> Staged:
        """Put it down at once, so that its memory is free for the next one."""
        try:
            return await self.sink.stage(body)
        finally:
            self.budget.release(body.size)

    def tell(self, size: int) -> None:
        """Tell ``progress`` that so many bytes have arrived."""
        if self.progress is None:
            return
        try:
            self.progress(size)
        except Exception:  # noqa: BLE001 - any failure of a hook that is not ours
            self.progress = None
            _log.exception("the progress hook failed, and is not called any more")

    def release(self, fetched: Fetched) -> None:
        """Give back the memory that a fetched recording held."""
        if fetched.held:
            self.budget.release(fetched.held)


class _Transfer:
    """The state of one recording over its attempts."""

    __slots__ = (
        "_fetcher",
        "_head",
        "_passage",
        "_promise",
        "_request",
        "_target",
        "_upload",
        "attempts",
        "etag",
        "first_byte",
        "sent",
    )
    _upload: Upload | None
    _promise: Promise | None

    def __init__(
        self, fetcher: Fetcher, request: Request, target: Target, passage: Passage | None
    ) -> None:
        self._fetcher = fetcher
        self._request = request
        self._target = target
        self._passage = passage
        self._upload = None
        self._promise = None
        self._head = b""
        self.attempts = 0
        self.etag: str | None = None
        self.sent = self.first_byte = 0.0

    async def attempt(self, number: int) -> Ready:
        """Try once, from where the last attempt broke off if that is possible."""
        passage = self._passage
        if passage is not None:
            passage.begin()
        self.attempts = number
        try:
            upload, promise = self._upload, self._promise
            if upload is not None and promise is not None and promise.validator is not None:
                resumed = await self._resume(upload, promise, promise.validator)
                if resumed is not None:
                    return resumed
            await self._forget()
            async with await self._send() as answer:
                return await self._receive(answer)
        except AgentPhoneError:
            if passage is not None:
                passage.wait()
            raise

    async def _send(self, headers: Mapping[str, str] | None = None) -> Answer:
        self.sent = time.monotonic()
        answer = await self._fetcher.session.send(self._request, headers)
        self.first_byte = time.monotonic() - self.sent
        return answer

    async def finish(self) -> None:
        """Leave nothing behind."""
        await self._forget()

    async def _forget(self) -> None:
        self._head = b""
        upload, self._upload = self._upload, None
        if upload is not None:
            await upload.abort()

    async def _resume(self, upload: Upload, promise: Promise, validator: Validator) -> Ready | None:
        """Go on with what is there; None if only a fresh request can help."""
        headers = resume_headers(validator, upload.size)
        async with await self._send(headers) as answer:
            if answer.status >= 400 and answer.status != 416:
                raise await self._refusal(answer)
            match judge_resume(
                answer.status, answer.headers, upload.size, promise.length, validator
            ):
                case Resume.CONTINUE:
                    return await self._drain(answer, promise)
                case Resume.RESTART_WITH_THIS_BODY:
                    await self._forget()
                    return await self._receive(answer)
                case Resume.RESTART:
                    return None

    async def _receive(self, answer: Answer) -> Ready:
        """Take a body from its first byte."""
        if answer.status != 200:
            raise await self._refusal(answer)
        promise = self._promise = promise_of(answer.headers)
        self.etag = answer.headers.get("ETag")
        if not promise.may_be_audio:
            raise not_audio(self._request, promise.media_type, await answer.beginning(512))
        return await self._drain(answer, promise)

    async def _refusal(self, answer: Answer) -> AgentPhoneError:
        if answer.status < 300:  # 204, 206 unasked: no error by HTTP, and no recording
            return NotAudioError(
                f"{answer.status} from {what_was_asked(self._request)} brings no whole recording"
            ).about(self._request)
        reply = Reply(answer.status, answer.headers, await answer.beginning())
        return error_of(self._request, reply)

    async def _drain(self, answer: Answer, promise: Promise) -> Ready:
        """Read what remains of the body into memory or, if it is large, into an upload."""
        length = promise.length
        refuse_size(self._request, length or 0, self._fetcher.max_file_size)
        small = length is not None and length <= GATHERED
        held = await self._memory(length if small and length is not None else 2 * STEP)
        most = SHORT_STEP if not held else held if small else STEP
        budget = self._fetcher.budget
        chunks: list[bytes] = []
        try:
            received = await self._read(answer, promise, chunks, most)
            audio = judge(self._request, promise, self._head or beginning(chunks), received)
            if held and self._upload is None:
                body = Body(self._target, tuple(chunks), received, audio)
                budget.release(held - received)
                held = 0  # the rest goes back when it is published
                return body
            return await self._stage(chunks, audio)
        except TransportError:
            if self._upload is not None:
                if self._is_resumable(promise):
                    await self._upload.write(chunks)
                else:
                    await self._forget()
            raise
        except BaseException:
            await self._forget()
            raise
        finally:
            budget.release(held)
            chunks.clear()  # an error's traceback would keep them

    async def _memory(self, amount: int) -> int:
        """Take bytes of the budget; none if they do not come free, and then short steps must do.

        A transfer has a connection while it waits here. What frees memory may itself be waiting for
        a connection (a consumer that asks the API about each outcome), so it must not be for ever.
        """
        budget = self._fetcher.budget
        if budget.try_acquire(amount):
            return amount
        try:
            async with asyncio.timeout(PATIENCE):
                await budget.acquire(amount)
        except TimeoutError:
            return 0
        return amount

    async def _stage(self, chunks: list[bytes], audio: Audio) -> Staged:
        upload = self._upload
        if upload is None:
            upload = self._upload = await self._fetcher.sink.begin(self._target)
        if chunks:
            await upload.write(chunks)
        staged = await upload.stage(audio)
        self._upload = None
        return staged

    def _is_resumable(self, promise: Promise) -> bool:
        return (
            promise.length is not None
            and promise.length > RESUMED
            and promise.validator is not None
        )

    async def _read(self, answer: Answer, promise: Promise, chunks: list[bytes], most: int) -> int:
        """Collect chunks; pass them on to the upload whenever more than ``most`` bytes are there.

        Leaves in ``chunks`` what was not passed on, and returns the size of the whole body.
        """
        fetcher = self._fetcher
        length = promise.length
        received = self._upload.size if self._upload is not None else 0
        gathered = 0
        async for chunk in answer.chunks():
            size = len(chunk)
            received += size
            gathered += size
            if length is not None and received > length:
                raise SurplusBytesError(
                    f"more bytes than the promised {length} came", expected=length
                )
            refuse_size(self._request, received, fetcher.max_file_size)
            chunks.append(chunk)
            if fetcher.progress is not None:
                fetcher.tell(size)
            if gathered > most:
                if self._upload is None:
                    self._head = beginning(chunks)
                    self._upload = await fetcher.sink.begin(self._target)
                await self._upload.write(chunks)
                chunks.clear()
                gathered = 0
        if length is not None and received < length:
            raise short(self._request, received, length)
        return received
