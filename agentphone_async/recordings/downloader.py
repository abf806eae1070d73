"""Many recordings: bounded queues, fixed workers, and outcomes in batches as they settle.

::

    jobs ─read─▶ [longest first] ─work, n times─▶ [ ] ─publish, twice─▶ [ ] outcomes
                       └──────── already there ────┘

Every arrow is a bounded queue, so memory does not grow with the number of calls, and a slow disk
or a slow consumer slows the reading of calls. What has arrived is published in batches of as much
as comes within a few milliseconds; the slower the disk, the larger they grow.

All tasks live in one group inside one task: see `agentphone_async.recordings.pipeline`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import anyio

from agentphone_async.errors import (
    AgentPhoneError,
    DestinationError,
    RecordingGoneError,
    RecordingNotFoundError,
    RecordingNotReadyError,
    RunStoppedError,
)
from agentphone_async.recordings.fetch import Fetched, Fetcher
from agentphone_async.recordings.naming import safe_component
from agentphone_async.recordings.outcomes import (
    GRACE,
    AlreadyArchived,
    Archived,
    Failed,
    NoRecording,
    NotReadyYet,
    Outcome,
    Recording,
    may_still_come,
)
from agentphone_async.recordings.pipeline import Closed, LongestFirst, Queue, results_of
from agentphone_async.sinks.interface import Staged, Stored, Target

if TYPE_CHECKING:
    from agentphone_async.models import Call

BATCH = 256
"""The most recordings that are published, or looked up, at once."""

WINDOW = 256
"""Calls among which the longest goes first, so that no run ends on one straggler."""

LINGER = 0.005
"""Seconds in which more may arrive for the same batch: a hop costs as much as storing a file."""

PUBLISHERS = 2
"""Batches that are published at the same time: while one syncs, the next is written."""

CLOSING = 5.0
"""Seconds that the caller's iterator gets to end, when nothing more is wanted of it."""

_TOP = PurePosixPath()


@dataclass(frozen=True, slots=True)
class Job:
    """One call on its way through the stages.

    Attributes:
        call_id: whose recording.
        call: what the API says about it; None if nobody asked.
        target: the name that it is to have.
        payload: the caller's own; it comes back with the outcome.
    """

    call_id: str
    call: Call | None
    target: Target
    payload: Any = None


class Settled(NamedTuple):
    """A job, and what became of it."""

    job: Job
    outcome: Outcome


class _Arrived(NamedTuple):
    """A job whose recording waits to be published."""

    job: Job
    fetched: Fetched


Calls: TypeAlias = "Iterable[str | Call] | AsyncIterable[str | Call]"
Jobs: TypeAlias = "Iterable[Job] | AsyncIterable[Job]"


def flat_target(call_id: str, call: Call | None) -> Target:  # noqa: ARG001 - others need the call
    """The default name: ``recording-{call_id}`` right in the destination, made safe."""
    return Target(_TOP, f"recording-{safe_component(call_id)}")


class Downloader:
    """Brings many recordings from one session to one sink.

    Args:
        fetcher: fetches one.
        root: what the paths in outcomes begin with; ``Path()`` if the sink is no folder.
        concurrency: workers, at least 1. The session's limits may allow fewer requests at once.
        grace: how long after a call's end a 404 means "not yet".
        skip_existing: look whether a file is there before asking for it.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        root: Path,
        concurrency: int = 16,
        *,
        grace: timedelta = GRACE,
        skip_existing: bool = True,
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency is {concurrency}; use 1 or more")
        self.fetcher = fetcher
        self._root = root
        self._concurrency = concurrency
        self._grace = grace
        self._skip_existing = skip_existing
        self._ask_all = False
        self._dropped = False
        self._workers: anyio.CancelScope | None = None
        self._unpublished: list[Staged] = []

    @property
    def held(self) -> int:
        """Bytes in memory that are not written yet."""
        return self.fetcher.budget.held

    def stop(self) -> None:
        """Begin nothing more; what is under way goes on.

        That closes the session's limits, for everything that uses them, until somebody reopens
        them. What was read and not fetched becomes `Failed` with a `RunStoppedError`.
        """
        self.fetcher.session.limits.close()

    def drop(self) -> None:
        """Stop, and give up what is under way, too."""
        self.stop()
        self._dropped = True
        if self._workers is not None:
            self._workers.cancel()

    def batches(self, jobs: Jobs, *, ask_all: bool = False) -> AsyncGenerator[list[Settled]]:
        """Fetch them all; yield outcomes as they settle, in lists, in no particular order.

        Leaving the loop, or being cancelled, ends all work and leaves no partial file; what was
        published until then stays. ``jobs`` is closed then, if it is an async generator. The sink
        is not closed.

        Args:
            jobs: which.
            ask_all: ask also for recordings of calls that were in progress when they were listed.

        Raises:
            DestinationError: the sink failed; what is not published is discarded.
            BaseException: whatever iterating over ``jobs`` raises.
        """
        self._ask_all = ask_all
        return results_of(
            lambda outcomes: self._run(jobs, outcomes), self._discard_rest, producers=PUBLISHERS
        )

    async def _run(self, jobs: Jobs, outcomes: Queue[list[Settled]]) -> None:
        wanted = Queue(WINDOW, items=LongestFirst(WINDOW, _seconds))
        settled = Queue[_Arrived | Settled](BATCH, producers=2)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._read, jobs, wanted, settled)
                for _ in range(PUBLISHERS):
                    group.start_soon(self._publish, settled, outcomes)
                await self._work_all(wanted, settled)
        finally:
            for item in settled.take(BATCH):
                if isinstance(item, _Arrived):
                    self._give_up(item)

    def _give_up(self, item: _Arrived) -> None:
        """It will not be published; budget and sink are not this run's alone."""
        self.fetcher.release(item.fetched)
        if isinstance(item.fetched.ready, Staged):
            self._unpublished.append(item.fetched.ready)

    async def _discard_rest(self) -> None:
        while self._unpublished:
            with suppress(DestinationError):
                await self.fetcher.sink.discard(self._unpublished.pop())

    # ---------------------------------------------------------------- reading

    async def _read(
        self, jobs: Jobs, wanted: Queue[Job], settled: Queue[_Arrived | Settled]
    ) -> None:
        """Set aside what needs no request, and pass on the rest."""
        if not isinstance(jobs, AsyncIterable):
            given = iter(jobs)
            while some := list(islice(given, BATCH)):
                await self._look_up(some, wanted, settled)
        else:
            await self._read_ahead(jobs, wanted, settled)
        wanted.done()
        settled.done()

    async def _read_ahead(
        self, jobs: AsyncIterable[Job], wanted: Queue[Job], settled: Queue[_Arrived | Settled]
    ) -> None:
        """Look up in batches, without waiting for a batch to be full."""
        given = Queue[Job](BATCH)

        async def look_up() -> None:
            with suppress(Closed):
                while True:
                    await self._look_up(await given.drain(BATCH), wanted, settled)

        iterator = aiter(jobs)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(look_up)
                async for job in iterator:
                    await given.put(job)
                given.done()
        finally:
            await _close(iterator)

    async def _look_up(
        self, jobs: list[Job], wanted: Queue[Job], settled: Queue[_Arrived | Settled]
    ) -> None:
        there: Sequence[PurePosixPath | None] = [None] * len(jobs)
        if self._skip_existing:
            there = await self.fetcher.sink.existing([job.target for job in jobs])
        for job, name in zip(jobs, there, strict=True):
            if name is not None:
                outcome = AlreadyArchived(job.call_id, self._root / name, job.call)
                await settled.put(Settled(job, outcome))
            elif not (job.call is None or self._ask_all or job.call.is_finished):
                await settled.put(Settled(job, NotReadyYet(job.call_id, job.call)))
            else:
                await wanted.put(job)

    # ---------------------------------------------------------------- working

    async def _work_all(self, wanted: Queue[Job], settled: Queue[_Arrived | Settled]) -> None:
        at_work: dict[int, Job] = {}
        async with anyio.create_task_group() as workers:
            self._workers = workers.cancel_scope
            if self._dropped:
                workers.cancel_scope.cancel()
            for number in range(self._concurrency):
                workers.start_soon(self._work, number, wanted, settled, at_work)
        # Only after `drop` is anything left: workers go on until there is no more.
        for job in at_work.values():
            await settled.put(_left(job))
        with suppress(Closed):
            while True:
                await settled.put(_left(await wanted.get()))
        settled.done()

    async def _work(
        self,
        number: int,
        wanted: Queue[Job],
        settled: Queue[_Arrived | Settled],
        at_work: dict[int, Job],
    ) -> None:
        with suppress(Closed):
            while True:
                job = at_work[number] = await wanted.get()
                item = await self._fetch(job)
                try:
                    await settled.put(item)
                except BaseException:
                    if isinstance(item, _Arrived):
                        self._give_up(item)
                    raise
                del at_work[number], item  # it would keep these bytes while the next ones come

    async def _fetch(self, job: Job) -> _Arrived | Settled:
        call = job.call
        elsewhere = None if call is None else call.recording_url
        try:
            return _Arrived(job, await self.fetcher.fetch(job.call_id, job.target, elsewhere))
        except RecordingNotFoundError as error:
            return Settled(job, self._absent(job, error))
        except DestinationError:
            raise
        except AgentPhoneError as error:
            return Settled(job, Failed(job.call_id, _without_frames(error), call))

    def _absent(self, job: Job, error: RecordingNotFoundError) -> Outcome:
        call = job.call
        if isinstance(error, RecordingGoneError):
            return NoRecording(job.call_id, call, gone=True)
        if isinstance(error, RecordingNotReadyError):
            return NotReadyYet(job.call_id, call, error.retry_after, told=True)
        if call and may_still_come(call, datetime.now(UTC), self._grace):
            return NotReadyYet(job.call_id, call, error.retry_after)
        contradicted = call is not None and call.recording_available is True
        return NoRecording(job.call_id, call, contradicted=contradicted)

    # ---------------------------------------------------------------- publishing

    async def _publish(
        self, settled: Queue[_Arrived | Settled], outcomes: Queue[list[Settled]]
    ) -> None:
        with suppress(Closed):
            while True:
                # No name for what is drained: it would keep these bytes while the next ones come,
                # outside of the budget.
                await outcomes.put(
                    await self._outcomes_of(await settled.drain(BATCH, linger=LINGER))
                )
        outcomes.done()

    async def _outcomes_of(self, batch: list[_Arrived | Settled]) -> list[Settled]:
        done: list[Settled] = []
        arrived: list[_Arrived] = []
        for item in batch:
            if isinstance(item, _Arrived):
                arrived.append(item)
            else:
                done.append(item)
        if not arrived:
            return done
        fetcher = self.fetcher
        try:
            stored = await fetcher.sink.publish([item.fetched.ready for item in arrived])
        except BaseException:
            for item in arrived:
                self._give_up(item)
            raise
        for item in arrived:
            fetcher.release(item.fetched)
        for item, what in zip(arrived, stored, strict=True):
            done.append(Settled(item.job, self._archived(item, what)))
        return done

    def _archived(self, item: _Arrived, stored: Stored) -> Outcome:
        job = item.job
        if not stored.new:  # another process was faster
            path = self._root / stored.name
            return AlreadyArchived(job.call_id, path, job.call, sha256=stored.sha256)
        recording = recording_of(job.call_id, self._root, item.fetched, stored)
        return Archived(job.call_id, recording, job.call)


def recording_of(call_id: str, root: Path, fetched: Fetched, stored: Stored) -> Recording:
    """The public account of a recording that is now published."""
    audio = fetched.ready.audio
    return Recording(
        call_id=call_id,
        path=root / stored.name,
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


def _left(job: Job) -> Settled:
    return Settled(job, Failed(job.call_id, RunStoppedError(), job.call))


def jobs_of(calls: Calls, target_of: Callable[[str, Call | None], Target]) -> Jobs:
    """A job for each call, from an iterable or an async one, which is closed with the jobs."""

    def job_of(item: str | Call) -> Job:
        if isinstance(item, str):
            return Job(item, None, target_of(item, None))
        return Job(item.id, item, target_of(item.id, item))

    async def one_by_one(given: AsyncIterable[str | Call]) -> AsyncGenerator[Job]:
        iterator = aiter(given)
        try:
            async for item in iterator:
                yield job_of(item)
        finally:
            await _close(iterator)

    if isinstance(calls, AsyncIterable):
        return one_by_one(calls)
    return map(job_of, calls)


async def _close(iterator: object) -> None:
    """Close an iterator, if it can be closed, although the task may be cancelled already."""
    aclose = getattr(iterator, "aclose", None)
    if aclose is not None:
        with anyio.move_on_after(CLOSING, shield=True):
            await aclose()


def _without_frames(error: AgentPhoneError) -> AgentPhoneError:
    """The error without tracebacks: kept as an outcome, they would keep the transfer's buffers."""
    chain: list[BaseException] = [error]
    for link in chain:
        link.__traceback__ = None
        for other in (link.__cause__, link.__context__):
            if other is not None and other not in chain:
                chain.append(other)
    return error


FIRST_POLL = 1.0
LONGEST_POLL = 15.0


async def patient(downloader: Downloader, jobs: Jobs, wait: float) -> AsyncGenerator[list[Settled]]:
    """As `Downloader.batches`; what is not ready yet is asked for again for ``wait`` seconds.

    Calls of which nothing is known but their ids may always get a recording; so theirs count as
    not ready as long as there is time.
    """
    deadline = time.monotonic() + wait
    pause = FIRST_POLL
    ask_all = False
    while True:
        absent: list[Settled] = []
        async with aclosing(downloader.batches(jobs, ask_all=ask_all)) as batches:
            async for batch in batches:
                now = [each for each in batch if not _may_appear(each)] if wait > 0 else batch
                absent += [each for each in batch if _may_appear(each)] if wait > 0 else []
                if now:
                    yield now
        left = deadline - time.monotonic()
        if left <= 0 or not absent:
            if absent:
                yield absent
            return
        await anyio.sleep(min(pause, left))
        pause = min(pause * 1.5, LONGEST_POLL)
        jobs, ask_all = [each.job for each in absent], True


def _may_appear(settled: Settled) -> bool:
    outcome = settled.outcome
    if isinstance(outcome, NoRecording):
        return settled.job.call is None and not outcome.gone
    return isinstance(outcome, NotReadyYet)
