"""One recording: request, stream, judge, and hand over to be published.

A small body waits in memory to be written, hashed and renamed together with others. One that fits
is gathered there, too, but written and hashed as soon as it is whole, in one thread hop. A larger
one is written in steps. All draw on one byte budget that all transfers share. If a large one breaks
off, the next attempt goes on where it stopped, provided the server proves that the bytes are the
same; that is not a failure, however often it happens. What came of it survives the end of the run.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from agentphone_async.errors import (
    RecordingNotFoundError,
    ResponseError,
)
from agentphone_async.protocol import endpoints
from agentphone_async.protocol.endpoints import Request
from agentphone_async.protocol.redirects import other_address
from agentphone_async.recordings.outcomes import Recording
from agentphone_async.recordings.transfer import Transfer
from agentphone_async.sinks.interface import (
    SMALL,
    Body,
    Ready,
    Sink,
    Staged,
    Stored,
    Target,
)
from agentphone_async.transport.budget import Budget
from agentphone_async.transport.session import Session
from agentphone_async.transport.trust import Trust

BUDGET = 32 * 1024 * 1024
"""Bytes that all transfers of one client together hold in memory, short steps aside."""

Progress = Callable[[int], None]
"""Told the number of bytes whenever some arrive."""

_log = logging.getLogger("agentphone_async.recordings")


class Fetched(NamedTuple):
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

    def recording(self, call_id: str, root: Path, stored: Stored) -> Recording:
        """The public account of it, once it is published below ``root``."""
        audio = self.ready.audio
        return Recording(
            call_id=call_id,
            path=root / stored.name,
            size=stored.size,
            sha256=stored.sha256,
            media_type=audio.media_type,
            duration_seconds=audio.duration_seconds,
            sample_rate=audio.sample_rate,
            channels=audio.channels,
            attempts=self.attempts,
            elapsed=self.elapsed,
            suspect=audio.suspect,
            etag=self.etag,
        )


async def settled(trusts: Sequence[Trust | None]) -> None:
    """Wait until it has shown whether answers are believed; some of them may be distrusted then."""
    doubtful = [trust.unsettled for trust in trusts if trust is not None and not trust.proved]
    if doubtful and (wait := max(doubtful)) > 0:
        await asyncio.sleep(wait)


@dataclass(slots=True)
class Fetcher:
    """Fetches recordings through one session into one sink.

    Attributes:
        session: where they come from.
        sink: where they are staged.
        budget: bytes held in memory by all transfers together.
        max_file_size: bytes beyond which a recording is refused; None for no limit.
        progress: told about arriving bytes, in the event loop's thread. If it raises, that is
            logged, it is not called again, and the recordings arrive all the same.
    """

    session: Session
    sink: Sink
    budget: Budget = field(default_factory=partial(Budget, BUDGET))
    max_file_size: int | None = None
    progress: Progress | None = None

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
            RecordingError: what came is not a whole recording.
            TransportError, ResponseError: as the last attempt ended.
            DestinationError: the sink failed.
        """
        request = endpoints.get_recording(call_id)
        tell = None if self.progress is None else self.tell
        transfer = Transfer(
            self.session, self.sink, self.budget, self.max_file_size, tell, request, target
        )
        started = time.monotonic()
        try:
            ready = await self.session.retrier.run(request, transfer.attempt)
        except BaseException as error:
            await transfer.give_up(error)
            if not isinstance(error, RecordingNotFoundError):
                raise
            error.trust = transfer.trust
            if not elsewhere or type(error) is not RecordingNotFoundError:
                raise
            ready = await self._from(elsewhere, transfer, request, error)
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

    async def _from(
        self, elsewhere: str, transfer: Transfer, request: Request, error: RecordingNotFoundError
    ) -> Ready:
        """Ask the call's own address, where that is another one."""
        transfer.url = other_address(request, self.session.settings.base_url, elsewhere)
        if transfer.url is None:
            raise error
        try:
            return await self.session.retrier.run(request, transfer.attempt)
        except BaseException as other:
            await transfer.give_up(other)
            if isinstance(other, RecordingNotFoundError):
                other.trust = transfer.trust
            if isinstance(other, ResponseError) and not other.transient:
                raise error from other  # that address knows none, either
            raise

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
