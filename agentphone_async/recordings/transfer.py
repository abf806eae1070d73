"""One recording over all its attempts: what came of it, and how the next one resumes from there."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from agentphone_async.errors import (
    AgentPhoneError,
    DestinationError,
    MismatchedAnswerError,
    NotAudioError,
    RecordingError,
    ResponseError,
    RunStoppedError,
    SurplusBytesError,
    TransportError,
)
from agentphone_async.protocol.endpoints import Request
from agentphone_async.protocol.ranges import (
    Resume,
    Validator,
    is_whole,
    judge_resume,
    resume_headers,
)
from agentphone_async.protocol.recording import (
    FIRST_LOOK,
    HEAD_BYTES,
    Audio,
    Chunk,
    Expected,
    beginning,
    expected_body,
    judge,
    refuse_other,
    refuse_size,
    short,
    usual_wave,
)
from agentphone_async.protocol.responses import Reply, error_of, what_was_asked
from agentphone_async.sinks.interface import (
    Body,
    Keeping,
    Ready,
    Resumable,
    Sink,
    Staged,
    Target,
    Upload,
)
from agentphone_async.transport.answer import Answer, nobody
from agentphone_async.transport.budget import Budget
from agentphone_async.transport.session import Session
from agentphone_async.transport.trust import Trust

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


@dataclass(slots=True)
class Transfer:
    """The state of one recording over its attempts.

    Attributes:
        session, sink, budget, max_file_size: see `Fetcher`.
        tell: told about arriving bytes; None if nobody wants to know.
        request: asks for it.
        target: the name that it is to have.
        url: where to ask for it, if not at its id's own address.
        attempts: how many requests it took so far.
        etag: the server's validator, as it came last.
        trust: whether the last answer belongs to it.
        sent: when the last request went out, in monotonic seconds.
        first_byte: seconds from then to the head of its answer.
    """

    session: Session
    sink: Sink
    budget: Budget
    max_file_size: int | None
    tell: Callable[[int], None] | None
    request: Request
    target: Target
    url: str | None = None
    attempts: int = 0
    etag: str | None = None
    trust: Trust | None = None
    sent: float = 0.0
    first_byte: float = 0.0
    _apart: bool = False
    _upload: Upload | None = None
    _expected: Expected | None = None
    _head: bytes = b""
    _arrived: int = 0
    """Bytes, in this attempt."""
    _reached: int = 0
    """Bytes that were there when it broke off, at most."""

    async def attempt(self, number: int) -> Ready:
        """Try once, from where the last attempt broke off if that is possible."""
        self.attempts = number
        self._arrived = 0
        try:
            while True:
                headers = None if self._upload is None else await self._range()
                self.sent = time.monotonic()
                answer = await self.session.send(
                    self.request, headers, apart=self._apart, start=self.url
                )
                self.first_byte = time.monotonic() - self.sent
                self.trust = answer.trust
                try:
                    going_on = headers is not None
                    ready = await (self._resume(answer) if going_on else self._receive(answer))
                finally:
                    answer.close()
                if ready is not None:
                    return ready
        except AgentPhoneError as error:
            self._apart = self._apart or isinstance(error, MismatchedAnswerError)
            error.brought = self._arrived > 0
            reached = 0 if self._upload is None else self._upload.size
            error.kept = reached > self._reached  # else it is the same bytes once more
            self._reached = max(reached, self._reached)
            raise

    async def give_up(self, error: BaseException) -> None:
        """Leave nothing behind but what a later run can continue with."""
        upload, expected, sink = self._upload, self._expected, self.sink
        mark = None if expected is None else expected.mark
        useless = isinstance(error, RecordingError | DestinationError | ResponseError)
        if upload is None or mark is None or useless or not isinstance(sink, Keeping):
            await self._forget()
            return
        self._upload = None
        await sink.keep(upload, mark)

    async def _forget(self) -> None:
        self._head = b""
        upload, self._upload = self._upload, None
        if upload is not None:
            await upload.abort()

    # ---------------------------------------------------------------- going on

    async def _range(self) -> Mapping[str, str] | None:
        """The headers that ask for the rest; None, and all is forgotten, if nothing proves it."""
        upload, expected = self._upload, self._expected
        if upload is None or expected is None or expected.validator is None:
            await self._forget()
            return None
        return resume_headers(expected.validator, upload.size)

    async def _resume(self, answer: Answer) -> Ready | None:
        """Continue with what is there; None for asking for all of it."""
        upload, expected = self._upload, self._expected
        if upload is None or expected is None or expected.validator is None:
            return None
        if answer.status >= 400 and answer.status != 416:
            raise await refusal(self.request, answer)
        match judge_resume(
            answer.status, answer.headers, upload.size, expected.length, expected.validator
        ):
            case Resume.CONTINUE:
                return await self._drain(answer, expected)
            case Resume.RESTART_WITH_THIS_BODY:
                await self._forget()
                return await self._receive(answer)
            case Resume.RESTART:
                await self._forget()
                return None

    async def _take_up(self, expected: Expected) -> bool:
        """Whether an earlier run has left a part of this very body."""
        sink = self.sink
        if not isinstance(sink, Keeping) or expected.mark is None:
            return False
        kept = await sink.take_up(self.target, expected.mark)
        if kept is not None:
            self._upload, self._head = kept
            await _note(kept[0], expected.mark)
        return kept is not None

    # ---------------------------------------------------------------- receiving

    async def _receive(self, answer: Answer) -> Ready | None:
        """Take a body from its first byte; None for asking again.

        That is if an earlier run has left a part of it, or if the answer may be another's.
        """
        self.etag = answer.headers.get("ETag")
        whole = answer.whole if answer.status == 200 else None
        if whole is not None and (audio := usual_wave(whole, size := len(whole))) is not None:
            fits = self.max_file_size is None or size <= self.max_file_size
            if fits and self.budget.try_acquire(size):  # as nearly always
                if self.tell is not None:
                    self.tell(size)
                return Body(self.target, (whole,), size, audio)
        if not is_whole(answer.status, answer.headers):
            error = await refusal(self.request, answer)
            if not answer.trust.repeats or error.transient or self._apart:
                try:
                    raise error
                finally:
                    del (
                        error
                    )  # its traceback has this frame: only a search for garbage would end it
            self._apart = True
            return None
        expected = self._expected = expected_body(answer.headers)
        length = expected.length
        if length is not None:
            refuse_size(self.request, length, self.max_file_size)
            if length > RESUMED:
                expected.validator = Validator.from_headers(answer.headers)
                if await self._take_up(expected):
                    return None
        return await self._drain(answer, expected)

    async def _drain(self, answer: Answer, expected: Expected) -> Ready:
        """Read what remains of the body into memory or, if it is large, into an upload."""
        length = expected.length
        small = length is not None and length <= GATHERED
        held = await self._memory(length if small and length is not None else 2 * STEP)
        most = SHORT_STEP if not held else held if small else STEP
        budget = self.budget
        chunks: list[Chunk] = []
        try:
            received = await self._read(answer, expected, chunks, most)
            head = self._head or beginning(chunks)
            audio = judge(self.request, expected, head, received, chunks)
            if held and self._upload is None:
                if held > received:
                    budget.release(held - received)
                held = 0  # the rest goes back when it is published
                return Body(self.target, tuple(chunks), received, audio)
            return await self._stage(chunks, audio)
        except TransportError:
            if self._upload is not None:
                if expected.mark is not None:
                    await self._upload.write(chunks)
                else:
                    await self._forget()
            raise
        except (RunStoppedError, asyncio.CancelledError):
            raise  # what is there may be worth keeping
        except BaseException:
            await self._forget()
            raise
        finally:
            if held:
                budget.release(held)
            chunks.clear()  # an error's traceback would keep them

    async def _memory(self, amount: int) -> int:
        """Take bytes of the budget; none if they do not come free, and then short steps must do.

        A transfer has a connection while it waits here. What frees memory may itself be waiting for
        a connection (a consumer that asks the API about each outcome), so it must not be forever.
        """
        budget = self.budget
        if budget.try_acquire(amount):
            return amount
        try:
            async with asyncio.timeout(PATIENCE):
                await budget.acquire(amount)
        except TimeoutError:
            return 0
        return amount

    async def _stage(self, chunks: list[Chunk], audio: Audio) -> Staged:
        upload = self._upload
        if upload is None:
            upload = self._upload = await self.sink.begin(self.target)
        if chunks:
            await upload.write(chunks)
        staged = await upload.stage(audio)
        self._upload = None
        return staged

    async def _read(
        self, answer: Answer, expected: Expected, chunks: list[Chunk], most: int
    ) -> int:
        """Collect chunks; pass them on to the upload whenever more than ``most`` bytes are there.

        Leaves in ``chunks`` what was not passed on, and returns the size of the whole body.
        """
        length = expected.length
        limit = self.max_file_size
        start = received = self._upload.size if self._upload is not None else 0
        look_at = math.inf if start else FIRST_LOOK
        gathered = 0
        async with aclosing(answer.chunks(most, self.tell or nobody)) as body:
            async for chunk in body:
                size = len(chunk)
                received += size
                gathered += size
                self._arrived = received - start
                if limit is not None and received > limit:
                    refuse_size(self.request, received, limit)
                chunks.append(chunk)
                if received >= look_at:
                    head = beginning(chunks)
                    settled = refuse_other(self.request, expected, head)
                    look_at = math.inf if settled or len(head) >= HEAD_BYTES else HEAD_BYTES
                if gathered > most:
                    await self._pass_on(chunks, expected)
                    gathered = 0
        if length is not None and received != length:
            raise _other_length(self.request, received, length)
        return received

    async def _pass_on(self, chunks: list[Chunk], expected: Expected) -> None:
        if self._upload is None:
            self._head = beginning(chunks)
            self._upload = await self.sink.begin(self.target)
            await _note(self._upload, expected.mark)
        await self._upload.write(chunks)
        chunks.clear()


async def _note(upload: Upload, mark: str | None) -> None:
    """Let a later run continue with it, even if this process is killed."""
    if mark is not None and isinstance(upload, Resumable):
        await upload.note(mark)


async def refusal(request: Request, answer: Answer) -> AgentPhoneError:
    """The error for an answer that is not a recording by its status."""
    if answer.status < 300 and answer.status != 202:  # 204, 206 unasked: no error by HTTP
        return NotAudioError(
            f"{answer.status} from {what_was_asked(request)} is not a whole recording"
        ).about(request)
    reply = Reply(answer.status, answer.headers, await answer.beginning())
    return error_of(request, reply)


def _other_length(request: Request, received: int, length: int) -> AgentPhoneError:
    if received < length:
        return short(request, received, length)
    return SurplusBytesError(
        f"{received} bytes came where {length} were promised", received=received, expected=length
    ).about(request)
