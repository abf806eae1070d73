"""Many recordings: bounded channels, fixed workers, and outcomes in batches as they settle.

::

    calls ─read─▶ [ ] ─sift─▶ [ ] ─work, n times─▶ [ ] ─publish, twice─▶ [ ] outcomes
                        └────── already there ──────┘

Every arrow is a bounded channel, so memory does not grow with the number of calls, and a slow disk
or a slow consumer slows the reading of calls. What has arrived is published in batches of as much
as comes within a few milliseconds; the slower the disk, the larger they grow.

All tasks live in one group inside one task: see `agentphone_async.recordings.batches`.
"""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Callable,
    Iterable,
    Sequence,
)
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeAlias

import anyio

from agentphone_async.errors import AgentPhoneError, DestinationError, RecordingNotFoundError
from agentphone_async.protocol.absence import GRACE, may_still_come
from agentphone_async.recordings.batches import Outcomes, batches_of
from agentphone_async.recordings.channel import Channel, Closed
from agentphone_async.recordings.fetch import Fetched, Fetcher
from agentphone_async.recordings.lookahead import LookAhead
from agentphone_async.recordings.naming import safe_component
from agentphone_async.recordings.outcomes import (
    AlreadyArchived,
    Archived,
    Failed,
    NoRecording,
    NotReadyYet,
    Outcome,
    Recording,
)
from agentphone_async.recordings.valve import Valve
from agentphone_async.sinks.interface import Stored, Target

if TYPE_CHECKING:
    from agentphone_async.models import Call

Calls: TypeAlias = "Iterable[str | Call] | AsyncIterable[str | Call]"

BATCH = 256
"""The most recordings that are published, or looked up, at once."""

LOOK_AHEAD = 256
"""Calls among which the longest goes first, so that no run ends on one straggler."""

LINGER = 0.005
"""Seconds in which more may arrive for the same batch: a hop costs as much as storing a file."""

PUBLISHERS = 2
"""Batches that are published at the same time: while one syncs, the next is written."""


_TOP = PurePosixPath()


@dataclass(frozen=True, slots=True)
class Job:
    """One call on its way through the stages."""

    call_id: str
    call: Call | None
    target: Target


@dataclass(frozen=True, slots=True)
class _Pending:
    """A recording that has arrived, and becomes an outcome when it is published."""

    job: Job
    fetched: Fetched


def flat_target(call_id: str, call: Call | None) -> Target:  # noqa: ARG001 - others need the call
    """The default name: ``recording-{call_id}`` right in the destination, made safe."""
    return Target(_TOP, f"recording-{safe_component(call_id)}")


@dataclass(frozen=True, slots=True)
class Downloader:
    """How many recordings are brought from one session to one sink.

    Attributes:
        fetcher: fetches one.
        folder: where the sink puts things, for the paths in outcomes.
        concurrency: workers, at least 1. The session's limits may allow fewer requests at once.
        target_of: the name for a call.
        grace: how long after a call's end a 404 means "not yet".
        skip_existing: look whether a file is there before asking for it.
        valve: ends it gently; None if nobody is going to.
    """

    fetcher: Fetcher
    folder: Path
    concurrency: int = 16
    target_of: Callable[[str, Call | None], Target] = flat_target
    grace: timedelta = GRACE
    skip_existing: bool = True
    valve: Valve | None = None

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise ValueError(f"concurrency is {self.concurrency}; it takes at least 1 transfer")

    @property
    def held(self) -> int:
        """Bytes in memory that are not written yet."""
        return self.fetcher.budget.held

    def batches(self, calls: Calls) -> AsyncGenerator[list[Outcome]]:
        """Fetch them all; yield outcomes as they settle, in lists, in no particular order.

        Leaving the loop, or being cancelled, ends all work and leaves no partial file; what was
        published until then stays.

        Raises:
            DestinationError: the disk failed; what is not published is discarded.
            BaseException: whatever iterating over ``calls`` raises.
        """
        return batches_of(
            lambda outcomes: self._run(calls, outcomes),
            self.fetcher.sink.aclose,
            makers=PUBLISHERS,
        )

    async def _run(self, calls: Calls, outcomes: Outcomes) -> None:
        given: Channel[str | Call] = Channel(BATCH)
        wanted = Channel[Job](LOOK_AHEAD, shelf=LookAhead(LOOK_AHEAD, _seconds))
        settled = Channel[_Pending | Outcome](BATCH, makers=1 + self.concurrency)
        async with anyio.create_task_group() as group:
            group.start_soon(read_calls, calls, given)
            group.start_soon(self._sift, given, wanted, settled)
            for _ in range(self.concurrency):
                group.start_soon(self._work, wanted, settled)
            for _ in range(PUBLISHERS):
                group.start_soon(self._publish, settled, outcomes)

    async def _sift(
        self,
        given: Channel[str | Call],
        wanted: Channel[Job],
        settled: Channel[_Pending | Outcome],
    ) -> None:
        """Name each call, and set aside what needs no request."""
        with suppress(Closed):
            while True:
                jobs = [self._job(item) for item in await given.drain(BATCH)]
                there: Sequence[PurePosixPath | None] = [None] * len(jobs)
                if self.skip_existing:
                    there = await self.fetcher.sink.existing([job.target for job in jobs])
                for job, name in zip(jobs, there, strict=True):
                    if name is not None:
                        path = self.folder / name
                        await settled.put(AlreadyArchived(job.call_id, path, job.call))
                    elif job.call is not None and not job.call.is_finished:
                        await settled.put(NotReadyYet(job.call_id, job.call))
                    else:
                        await wanted.put(job)
        wanted.done()
        settled.done()

    def _job(self, item: str | Call) -> Job:
        call = None if isinstance(item, str) else item
        call_id = item if isinstance(item, str) else item.id
        return Job(call_id, call, self.target_of(call_id, call))

    async def _work(self, wanted: Channel[Job], settled: Channel[_Pending | Outcome]) -> None:
        with suppress(Closed):
            while True:
                job = await wanted.get()
                await settled.put(await self._fetch(job))
        settled.done()

    async def _fetch(self, job: Job) -> _Pending | Outcome:
        try:
            return _Pending(job, await self._through(job))
        except RecordingNotFoundError:
            if job.call and may_still_come(job.call, datetime.now(UTC), self.grace):
                return NotReadyYet(job.call_id, job.call)
            return NoRecording(job.call_id, job.call)
        except DestinationError:
            raise
        except AgentPhoneError as error:
            return Failed(job.call_id, _without_frames(error), job.call)

    async def _through(self, job: Job) -> Fetched:
        if self.valve is None:
            return await self.fetcher.fetch(job.call_id, job.target)
        return await self.valve.through(
            lambda passage: self.fetcher.fetch(job.call_id, job.target, passage)
        )

    async def _publish(self, settled: Channel[_Pending | Outcome], outcomes: Outcomes) -> None:
        with suppress(Closed):
            while True:
                # No name for what is drained: it would keep these bytes while the next ones come,
                # outside of the budget.
                await outcomes.put(
                    await self._outcomes_of(await settled.drain(BATCH, linger=LINGER))
                )
        outcomes.done()

    async def _outcomes_of(self, batch: list[_Pending | Outcome]) -> list[Outcome]:
        pending = [item for item in batch if isinstance(item, _Pending)]
        done: list[Outcome] = [item for item in batch if not isinstance(item, _Pending)]
        if pending:
            done += await self._published(pending)
        return done

    async def _published(self, pending: list[_Pending]) -> list[Outcome]:
        try:
            stored = await self.fetcher.sink.publish([item.fetched.ready for item in pending])
        finally:
            for item in pending:
                self.fetcher.release(item.fetched)
        return [self._archived(item, what) for item, what in zip(pending, stored, strict=True)]

    def _archived(self, item: _Pending, stored: Stored) -> Outcome:
        job = item.job
        if not stored.new:  # another process was faster
            path = self.folder / stored.name
            return AlreadyArchived(job.call_id, path, job.call, sha256=stored.sha256)
        recording = recording_of(job.call_id, self.folder, item.fetched, stored)
        return Archived(job.call_id, recording, job.call)


def recording_of(call_id: str, folder: Path, fetched: Fetched, stored: Stored) -> Recording:
    """The public account of a recording that is now published."""
    audio = fetched.ready.audio
    return Recording(
        call_id=call_id,
        path=folder / stored.name,
        size=stored.size,
        sha256=stored.sha256,
        media_type=audio.media_type,
        duration_seconds=audio.duration_seconds,
        sample_rate=audio.sample_rate,
        channels=audio.channels,
        attempts=fetched.attempts,
        elapsed=fetched.elapsed,
        suspect=audio.suspect,
        etag=fetched.etag,
    )


def _seconds(job: Job) -> float | None:
    return None if job.call is None else job.call.duration_seconds


async def read_calls(calls: Calls, given: Channel[str | Call]) -> None:
    """Put them all into a channel, as there is room."""
    if isinstance(calls, AsyncIterable):
        async for call in calls:
            await given.put(call)
    else:
        for call in calls:
            await given.put(call)
    given.done()


def _without_frames(error: AgentPhoneError) -> AgentPhoneError:
    """The error without tracebacks: kept as an outcome, they would keep the transfer's buffers."""
    chain: list[BaseException] = [error]
    for link in chain:
        link.__traceback__ = None
        for other in (link.__cause__, link.__context__):
            if other is not None and other not in chain:
                chain.append(other)
    return error
