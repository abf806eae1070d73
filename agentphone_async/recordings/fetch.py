"""One recording: request, stream, judge, and hand over to be published.

A small body waits in memory to be written, hashed and renamed together with others. One that fits
is gathered there, too, but written and hashed as soon as it is whole, in one thread hop. A larger
one is written in steps. All draw on one byte budget that all transfers share. If a large one breaks
off, the next attempt goes on where it stopped, provided the server proves that the bytes are the
same; that is no failure, however often it happens. What came of it survives the end of the run.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from agentphone_async.errors import (
    AgentPhoneError,
    DestinationError,
    NotAudioError,
    RecordingError,
    RecordingNotFoundError,
    ResponseError,
    RunStoppedError,
    SurplusBytesError,
    TransportError,
)
from agentphone_async.protocol import endpoints
from agentphone_async.protocol.endpoints import Request
from agentphone_async.protocol.ranges import (
    Resume,
    Validator,
    is_whole,
    judge_resume,
    resume_headers,
)
from agentphone_async.protocol.recording import (
    Audio,
    Expected,
    beginning,
    expected_body,
    judge,
    refuse_other,
    refuse_size,
    short,
)
from agentphone_async.protocol.redirects import other_address
from agentphone_async.protocol.responses import Reply, error_of, what_was_asked
from agentphone_async.sinks.interface import (
    SMALL,
    Body,
    Keeping,
    Ready,
    Sink,
    Staged,
    Target,
    Upload,
)
from agentphone_async.transport.answer import Answer
from agentphone_async.transport.budget import ByteBudget
from agentphone_async.transport.connection import Trust
from agentphone_async.transport.session import Session

GATHERED = 4 * 1024 * 1024
"""Bytes; bodies up to this size are held in memory and written in one hop."""

STEP = 1024 * 1024
"""Bytes; larger bodies are written whenever this much has arrived."""

SHORT_STEP = 128 * 1024
"""Bytes; the same while the budget gives nothing."""

FIRST_LOOK = 64
"""Bytes from which on it is decided whether a body can be audio at all, long before its end."""

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
        trust: whether the answer belongs to this request; see `settled`.
    """

    ready: Ready
    held: int
    attempts: int
    elapsed: float
    etag: str | None
    first_byte: float = 0.0
    last_byte: float = 0.0
    trust: Trust | None = None


async def settled(trusts: Sequence[Trust | None]) -> None:
    """Wait until it has shown whether answers are believed; some of them may be distrusted then."""
    wait = max((trust.unsettled for trust in trusts if trust is not None), default=0.0)
    if wait > 0:
        await asyncio.sleep(wait)


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

    async def fetch(self, call_id: str, target: Target, elsewhere: str | None = None) -> Fetched:
        """Fetch one recording; publishing it, and then `release`, are up to the caller.

        Args:
            call_id: whose.
            target: the name that it is to have.
            elsewhere: the call's ``recordingUrl``; tried if the id's own address knows no
                recording and this leads to another one. No key goes there.

        Raises:
            RunStoppedError: the session's limits were closed before its turn.
            RecordingNotFoundError: there is none (404), none yet, or never again (410).
            InvalidIdError: the id cannot be sent.
            RecordingError: what came is no whole recording.
            TransportError, ResponseError: as the last attempt ended.
            DestinationError: the sink failed.
        """
        request = endpoints.get_recording(call_id)
        try:
            return await self._fetch(request, target)
        except RecordingNotFoundError as error:
            if elsewhere is None or type(error) is not RecordingNotFoundError:
                raise
            url = other_address(request, self.session.settings.base_url, elsewhere)
            if url is None:
                raise
            try:
                return await self._fetch(request, target, url)
            except ResponseError as other:
                if other.transient:
                    raise
                raise error from other  # that address knows none, either

    async def _fetch(self, request: Request, target: Target, url: str | None = None) -> Fetched:
        transfer = _Transfer(self, request, target, url)
        started = time.monotonic()
        try:
            ready = await self.session.retrier.run(request, transfer.attempt)
        except BaseException as error:
            await transfer.give_up(error)
            if isinstance(error, RecordingNotFoundError):
                error.trust = transfer.trust
            raise
        now = time.monotonic()
        held = 0
        if isinstance(ready, Body):
            held = ready.size
            if held > SMALL:
                ready, held = await self._stage(ready), 0
        return Fetched(
            ready,
            held,
            transfer.attempts,
            now - started,
            transfer.etag,
            transfer.first_byte,
            now - transfer.sent,
            transfer.trust,
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
        "_arrived",
        "_expected",
        "_fetcher",
        "_head",
        "_request",
        "_target",
        "_upload",
        "_url",
        "attempts",
        "etag",
        "first_byte",
        "sent",
        "trust",
    )

    def __init__(self, fetcher: Fetcher, request: Request, target: Target, url: str | None) -> None:
        self._fetcher = fetcher
        self._request = request
        self._target = target
        self._url = url
        self._upload: Upload | None = None
        self._expected: Expected | None = None
        self._head = b""
        self._arrived = 0  # bytes, in this attempt
        self.attempts = 0
        self.etag: str | None = None
        self.trust: Trust | None = None
        self.sent = self.first_byte = 0.0

    async def attempt(self, number: int) -> Ready:
        """Try once, from where the last attempt broke off if that is possible."""
        self.attempts = number
        self._arrived = 0
        try:
            while True:
                if self._upload is not None:
                    resumed = await self._resume(self._upload)
                    if resumed is not None:
                        return resumed
                    await self._forget()
                answer = await self._send(None)
                try:
                    ready = await self._receive(answer)
                finally:
                    answer.close()
                if ready is not None:
                    return ready
        except AgentPhoneError as error:
            error.brought = self._arrived > 0
            error.kept = error.brought and self._upload is not None
            raise

    async def _send(self, headers: Mapping[str, str] | None) -> Answer:
        self.sent = time.monotonic()
        answer = await self._fetcher.session.send(self._request, headers, start=self._url)
        self.first_byte = time.monotonic() - self.sent
        self.trust = answer.trust
        return answer

    async def give_up(self, error: BaseException) -> None:
        """Leave nothing behind but what a later run can go on with."""
        upload, expected, sink = self._upload, self._expected, self._fetcher.sink
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

    async def _resume(self, upload: Upload) -> Ready | None:
        """Go on with what is there; None if only a fresh request can help."""
        expected = self._expected
        if expected is None or expected.validator is None:
            return None
        validator = expected.validator
        answer = await self._send(resume_headers(validator, upload.size))
        try:
            if answer.status >= 400 and answer.status != 416:
                raise await self._refusal(answer)
            match judge_resume(
                answer.status, answer.headers, upload.size, expected.length, validator
            ):
                case Resume.CONTINUE:
                    return await self._drain(answer, expected)
                case Resume.RESTART_WITH_THIS_BODY:
                    await self._forget()
                    return await self._receive(answer)
                case Resume.RESTART:
                    return None
        finally:
            answer.close()

    async def _take_up(self, expected: Expected) -> bool:
        """Whether an earlier run has left a part of this very body."""
        sink = self._fetcher.sink
        if not isinstance(sink, Keeping) or expected.mark is None:
            return False
        self._upload = await sink.take_up(self._target, expected.mark)
        return self._upload is not None

    # ---------------------------------------------------------------- receiving

    async def _receive(self, answer: Answer) -> Ready | None:
        """Take a body from its first byte; None if an earlier run has left a part of it."""
        if answer.status not in {200, 203} and not is_whole(answer.status, answer.headers):
            raise await self._refusal(answer)
        expected = self._expected = expected_body(answer.headers)
        self.etag = answer.headers.get("ETag")
        length = expected.length
        if length is not None:
            refuse_size(self._request, length, self._fetcher.max_file_size)
            if length > RESUMED:
                expected.validator = Validator.from_headers(answer.headers)
                if await self._take_up(expected):
                    return None
        return await self._drain(answer, expected)

    async def _refusal(self, answer: Answer) -> AgentPhoneError:
        if answer.status < 300 and answer.status != 202:  # 204, 206 unasked: no error by HTTP
            return NotAudioError(
                f"{answer.status} from {what_was_asked(self._request)} brings no whole recording"
            ).about(self._request)
        reply = Reply(answer.status, answer.headers, await answer.beginning())
        return error_of(self._request, reply)

    async def _drain(self, answer: Answer, expected: Expected) -> Ready:
        """Read what remains of the body into memory or, if it is large, into an upload."""
        length = expected.length
        small = length is not None and length <= GATHERED
        held = await self._memory(length if small and length is not None else 2 * STEP)
        most = SHORT_STEP if not held else held if small else STEP
        budget = self._fetcher.budget
        chunks: list[bytes] = []
        try:
            received = await self._read(answer, expected, chunks, most)
            head = self._head or beginning(chunks)
            audio = judge(self._request, expected, head, received, chunks)
            if held and self._upload is None:
                if held > received:
                    budget.release(held - received)
                held = 0  # the rest goes back when it is published
                return Body(self._target, tuple(chunks), received, audio)
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

    async def _read(
        self, answer: Answer, expected: Expected, chunks: list[bytes], most: int
    ) -> int:
        """Collect chunks; pass them on to the upload whenever more than ``most`` bytes are there.

        Leaves in ``chunks`` what was not passed on, and returns the size of the whole body.
        """
        fetcher = self._fetcher
        length = expected.length
        limit = fetcher.max_file_size
        start = received = self._upload.size if self._upload is not None else 0
        looked = start > 0
        gathered = 0
        async with aclosing(answer.chunks()) as body:
            async for chunk in body:
                size = len(chunk)
                received += size
                gathered += size
                self._arrived = received - start
                if limit is not None and received > limit:
                    refuse_size(self._request, received, limit)
                chunks.append(chunk)
                if not looked and received >= FIRST_LOOK:
                    looked = True
                    refuse_other(self._request, expected, beginning(chunks))
                if fetcher.progress is not None:
                    fetcher.tell(size)
                if gathered > most:
                    await self._pass_on(chunks)
                    gathered = 0
        if length is not None and received != length:
            raise _other_length(self._request, received, length)
        return received

    async def _pass_on(self, chunks: list[bytes]) -> None:
        if self._upload is None:
            self._head = beginning(chunks)
            self._upload = await self._fetcher.sink.begin(self._target)
        await self._upload.write(chunks)
        chunks.clear()


def _other_length(request: Request, received: int, length: int) -> AgentPhoneError:
    if received < length:
        return short(request, received, length)
    return SurplusBytesError(
        f"{received} bytes came where {length} were promised", received=received, expected=length
    ).about(request)
