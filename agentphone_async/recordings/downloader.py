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

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import anyio
from anyio.abc import TaskGroup

from agentphone_async.errors import (
    AgentPhoneError,
    DestinationError,
    RecordingErasedError,
    RecordingError,
    RecordingGoneError,
    RecordingNotFoundError,
    RecordingNotReadyError,
    RunStoppedError,
)
from agentphone_async.protocol.display import hint
from agentphone_async.recordings.fetch import Fetched, Fetcher, settled
from agentphone_async.recordings.jobs import Job, Jobs, Settled, close_iterator
from agentphone_async.recordings.outcomes import (
    GRACE,
    AlreadyArchived,
    Archived,
    Failed,
    NoRecording,
    NotReadyYet,
    Outcome,
    may_still_come,
)
from agentphone_async.recordings.pipeline import Closed, LongestFirst, Queue, results_of
from agentphone_async.sinks.erased import ErasedHere
from agentphone_async.sinks.interface import Staged, Stored
from agentphone_async.sinks.whole import obstacle_line
from agentphone_async.transport.trust import Trust

BATCH = 256
"""The most recordings that are published, or looked up, at once."""

WINDOW = 256
"""Calls among which the longest goes first, so that no run ends on one straggler."""

LINGER = 0.005
"""Seconds in which more may arrive for the same batch: a hop costs as much as storing a file."""

PUBLISHERS = 2
"""Batches that are published at the same time: while one syncs, the next is written."""

ASKED_AGAIN = 3
"""Times that a recording is asked for because its answer may have been another's."""


class _Item(NamedTuple):
    """A job that has been worked on.

    Attributes:
        job: which.
        came: its recording, which waits to be published, or else what became of it.
        trust: whether the answer belongs to it; None if there was none.
    """

    job: Job
    came: Fetched | Outcome
    trust: Trust | None = None


class Downloader:
    """Downloads many recordings from one session to one sink.

    Args:
        fetcher: fetches one.
        root: what the paths in outcomes begin with; ``Path()`` if the sink is not a folder.
        concurrency: workers, at least 1. The session's limits may allow fewer requests at once.
        grace: how long after a call's end a 404 means "not yet".
        skip_existing: look whether a file is there before asking for it.
        erased: tells which calls must not be stored here; None if there are none.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        root: Path,
        concurrency: int = 16,
        *,
        grace: timedelta = GRACE,
        skip_existing: bool = True,
        erased: ErasedHere | None = None,
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency is {concurrency}; use 1 or more")
        self.fetcher = fetcher
        self._root = root
        self._concurrency = concurrency
        self._grace = grace
        self._skip_existing = skip_existing
        self._erased = erased
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
        results = Queue[_Item](BATCH, producers=2)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._read, jobs, wanted, results)
                for _ in range(PUBLISHERS):
                    group.start_soon(self._publish, results, outcomes)
                await self._work_all(wanted, results)
        finally:
            self._give_up(results.take(BATCH))

    def _give_up(self, items: Iterable[_Item]) -> None:
        """These will not be published; budget and sink are not this run's alone."""
        for _, came, _ in items:
            if isinstance(came, Fetched):
                self.fetcher.budget.release(came.held)
                if isinstance(came.ready, Staged):
                    self._unpublished.append(came.ready)

    async def _discard_rest(self) -> None:
        while self._unpublished:
            with suppress(DestinationError):
                await self.fetcher.sink.discard(self._unpublished.pop())

    # ---------------------------------------------------------------- reading

    async def _read(self, jobs: Jobs, wanted: Queue[Job], results: Queue[_Item]) -> None:
        """Set aside what needs no request, and pass on the rest."""
        if not isinstance(jobs, AsyncIterable):
            given = iter(jobs)
            while some := list(islice(given, BATCH)):
                await self._look_up(some, wanted, results)
        else:
            await self._read_ahead(jobs, wanted, results)
        wanted.done()
        results.done()

    async def _read_ahead(
        self, jobs: AsyncIterable[Job], wanted: Queue[Job], results: Queue[_Item]
    ) -> None:
        """Look up in batches, without waiting for a batch to be full."""
        given = Queue[Job](BATCH)

        async def look_up() -> None:
            with suppress(Closed):
                while True:
                    await self._look_up(await given.drain(BATCH), wanted, results)

        iterator = aiter(jobs)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(look_up)
                async for job in iterator:
                    await given.put(job)
                given.done()
        finally:
            await close_iterator(iterator)

    async def _look_up(self, jobs: list[Job], wanted: Queue[Job], results: Queue[_Item]) -> None:
        jobs = await self._not_erased(jobs, results)
        there: Sequence[PurePosixPath | None] = [None] * len(jobs)
        if self._skip_existing:
            there = await self.fetcher.sink.existing([job.target for job in jobs])
        for job, name in zip(jobs, there, strict=True):
            if name is not None:
                outcome = AlreadyArchived(job.call_id, self._root / name, job.call)
                await results.put(_Item(job, outcome))
            elif not (job.call is None or self._ask_all or job.call.is_finished):
                await results.put(_Item(job, NotReadyYet(job.call_id, job.call)))
            else:
                await wanted.put(job)

    async def _not_erased(self, jobs: list[Job], results: Queue[_Item]) -> list[Job]:
        tombstones = None if self._erased is None else self._erased.look()
        if not tombstones:
            return jobs
        left: list[Job] = []
        for job in jobs:
            if tombstones.covers(job.call_id):
                await results.put(_Item(job, Failed(job.call_id, erased(job.call_id), job.call)))
            else:
                left.append(job)
        return left

    # ---------------------------------------------------------------- working

    async def _work_all(self, wanted: Queue[Job], results: Queue[_Item]) -> None:
        at_work: list[Job | None] = []
        async with anyio.create_task_group() as workers:
            self._workers = workers.cancel_scope
            if self._dropped:
                workers.cancel_scope.cancel()
            at_work.append(None)
            workers.start_soon(self._work, 0, workers, wanted, results, at_work)
        # Only after `drop` is anything left: workers go on until there is no more.
        for job in at_work:
            if job is not None:
                await results.put(_left(job))
        with suppress(Closed):
            while True:
                await results.put(_left(await wanted.get()))
        results.done()

    async def _work(
        self,
        number: int,
        workers: TaskGroup,
        wanted: Queue[Job],
        results: Queue[_Item],
        at_work: list[Job | None],
    ) -> None:
        """Take one job after another, and colleagues if there is more that may begin at once."""
        limits = self.fetcher.session.limits
        with suppress(Closed):
            while True:
                job = at_work[number] = await wanted.get()
                first = len(at_work)
                most = min(self._concurrency, limits.concurrency, first + len(wanted))
                for each in range(first, most):
                    at_work.append(None)
                    workers.start_soon(self._work, each, workers, wanted, results, at_work)
                item = await self._fetch(job)
                try:
                    await results.put(item)
                except BaseException:
                    self._give_up([item])
                    raise
                at_work[number] = None
                del item  # it would keep these bytes while the next ones come

    async def _fetch(self, job: Job) -> _Item:
        call = job.call
        elsewhere = None if call is None else call.recording_url
        try:
            fetched = await self.fetcher.fetch(job.call_id, job.target, elsewhere)
        except RecordingNotFoundError as error:
            return _Item(job, self._absent(job, error), error.trust)
        except DestinationError:
            raise
        except AgentPhoneError as error:
            return _Item(job, Failed(job.call_id, _without_frames(error), call))
        return _Item(job, fetched, fetched.trust)

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

    async def _publish(self, results: Queue[_Item], outcomes: Queue[list[Settled]]) -> None:
        with suppress(Closed):
            while True:
                # No name for what is drained: it would keep these bytes while the next ones come,
                # outside of the budget.
                await outcomes.put(
                    await self._outcomes_of(await results.drain(BATCH, linger=LINGER))
                )
        outcomes.done()

    async def _outcomes_of(self, batch: list[_Item]) -> list[Settled]:
        try:
            await self._believe(batch)
            arrived = [(job, came) for job, came, _ in batch if isinstance(came, Fetched)]
            ready = [fetched.ready for _, fetched in arrived]
            stored = await self.fetcher.sink.publish(ready) if ready else []
        except BaseException:
            self._give_up(batch)
            raise
        self.fetcher.budget.release(sum(fetched.held for _, fetched in arrived))
        done = [Settled(job, came) for job, came, _ in batch if not isinstance(came, Fetched)]
        for (job, fetched), what in zip(arrived, stored, strict=True):
            done.append(Settled(job, self._archived(job, fetched, what)))
        return done

    async def _believe(self, batch: list[_Item]) -> None:
        """Ask again for those whose answers turn out to be another request's.

        A server that answers twice is one answer ahead of us from then on; see `Trust`.
        """
        for _ in range(ASKED_AGAIN):
            await settled([item.trust for item in batch])
            again = [n for n, item in enumerate(batch) if item.trust and item.trust.distrusted]
            for number in again:
                job = batch[number].job
                self._give_up([batch[number]])
                batch[number] = _left(job)  # unless it comes
                batch[number] = await self._fetch(job)
            if not again:
                break

    def _archived(self, job: Job, fetched: Fetched, stored: Stored) -> Outcome:
        if not stored.new:  # another process was faster
            path = self._root / stored.name
            if stored.in_the_way is not None and self._skip_existing:
                return Failed(
                    job.call_id, RecordingError(obstacle_line(path, stored.in_the_way)), job.call
                )
            return AlreadyArchived(job.call_id, path, job.call, sha256=stored.sha256)
        recording = fetched.recording(job.call_id, self._root, stored)
        return Archived(job.call_id, recording, job.call)


def erased(call_id: str) -> RecordingErasedError:
    """The error of a call that must not be stored here."""
    return RecordingErasedError(
        f"{hint(call_id)} was erased from this archive for good; it is not fetched into it"
    )


def _seconds(job: Job) -> float | None:
    return None if job.call is None else job.call.duration_seconds


def _left(job: Job) -> _Item:
    return _Item(job, Failed(job.call_id, RunStoppedError(), job.call))


def _without_frames(error: AgentPhoneError) -> AgentPhoneError:
    """The error without tracebacks: kept as an outcome, they would keep the transfer's buffers."""
    chain: list[BaseException] = [error]
    for link in chain:
        link.__traceback__ = None
        for other in (link.__cause__, link.__context__):
            if other is not None and other not in chain:
                chain.append(other)
    return error
