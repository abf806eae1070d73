"""Many recordings: bounded queues, fixed workers, and outcomes in batches as they settle.

::

    jobs ─read─▶ [longest first] ─work, n times─▶ [ ] ─publish, twice─▶ [ ] outcomes
                       └──────── already there ────┘

Every arrow is a bounded queue, so memory does not grow with the number of calls, and a slow disk
or a slow consumer slows the reading of calls. What has arrived is published in batches of as much
as comes within a few milliseconds; the slower the disk, the larger they grow.

All tasks live in one group inside one task: see `Downloader.batches`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import islice
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import anyio
from anyio.abc import TaskGroup

from agentphone_async.errors import (
    AgentPhoneError,
    DestinationError,
    RecordingError,
    RecordingNotFoundError,
    RunStoppedError,
)
from agentphone_async.recordings.fetch import Fetched, Fetcher, settled
from agentphone_async.recordings.jobs import Job, Jobs, Settled, read_ahead
from agentphone_async.recordings.outcomes import (
    GRACE,
    AlreadyArchived,
    Archived,
    Failed,
    NotReadyYet,
    Outcome,
    absence,
    erased,
    without_frames,
)
from agentphone_async.recordings.pipeline import Closed, LongestFirst, Queue, first_of
from agentphone_async.sinks.erased import Erased, Tombstones
from agentphone_async.sinks.interface import Ready, Staged, Stored
from agentphone_async.sinks.threads import wait_uncancelled
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

WAITING = 32
"""Batches of outcomes that wait for the consumer."""

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


@dataclass
class Downloader:
    """Downloads many recordings from one session to one sink.

    Attributes:
        fetcher: fetches one.
        root: what the paths in outcomes begin with; ``Path()`` if the sink is not a folder.
        concurrency: workers; one at least. The session's limits may allow fewer requests at once.
        grace: how long after a call's end a 404 means "not yet".
        skip_existing: look whether a file is there before asking for it.
        erased: tells which calls must not be stored here; None if there are none.
    """

    fetcher: Fetcher
    root: Path
    concurrency: int = 16
    grace: timedelta = field(default=GRACE, kw_only=True)
    skip_existing: bool = field(default=True, kw_only=True)
    erased: Erased | None = field(default=None, kw_only=True)
    _ask_all: bool = field(default=False, init=False)
    _linger: float = field(default=LINGER, init=False)
    _dropped: bool = field(default=False, init=False)
    _workers: anyio.CancelScope | None = field(default=None, init=False)
    _unpublished: list[Staged] = field(default_factory=list, init=False)

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

    async def batches(
        self, jobs: Jobs, *, ask_all: bool = False, linger: float = 0.0
    ) -> AsyncGenerator[list[Settled]]:
        """Fetch them all; yield outcomes as they settle, in lists, in no particular order.

        Leaving the loop, or being cancelled, ends all work and leaves no partial file; what was
        published until then stays. ``jobs`` is closed then, if it is an async generator. The sink
        is not closed.

        All work is done in a task of its own: no cancel scope is open while the consumer holds a
        result. When that leaves, the task is cancelled and waited for, whatever happens meanwhile.

        Args:
            jobs: which.
            ask_all: ask also for recordings of calls that were in progress when they were listed.
            linger: seconds in which outcomes are gathered, for whoever takes long lists at less
                cost.

        Raises:
            DestinationError: the sink failed; what is not published is discarded.
            BaseException: whatever iterating over ``jobs`` raises.
        """
        self._ask_all = ask_all
        self._linger = max(LINGER, linger / 8)  # nobody waits for the single one
        outcomes = Queue[list[Settled]](WAITING, producers=PUBLISHERS)
        run = asyncio.create_task(self._run(jobs, outcomes), name="agentphone-download")
        over = False
        try:
            with suppress(Closed):
                while True:
                    batch = await outcomes.get()
                    if linger:
                        await asyncio.wait([run], timeout=linger)
                    for more in outcomes.take(WAITING):
                        batch += more
                    yield batch
            try:
                await run
            except BaseExceptionGroup as failures:
                raise first_of(failures) from failures
            over = not self._unpublished
        finally:
            if not over:
                run.cancel()
                ending = asyncio.create_task(self._end(run), name="agentphone-download-end")
                await wait_uncancelled(ending)
                ending.result()

    async def _end(self, run: asyncio.Task[None]) -> None:
        await asyncio.wait([run])
        if not run.cancelled():
            run.exception()  # seen; it was raised to the consumer, unless that has left
        while self._unpublished:
            with suppress(DestinationError):
                await self.fetcher.sink.discard(self._unpublished.pop())

    async def _run(self, jobs: Jobs, outcomes: Queue[list[Settled]]) -> None:
        wanted = Queue(WINDOW, items=LongestFirst(_SECONDS, 2 * WINDOW))
        results = Queue[_Item](BATCH, producers=2)
        at_work: list[Job | None] = [None]
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._read, jobs, wanted, results)
                for _ in range(PUBLISHERS):
                    group.start_soon(self._publish, results, outcomes)
                async with anyio.create_task_group() as workers:
                    self._workers = workers.cancel_scope
                    if self._dropped:
                        workers.cancel_scope.cancel()
                    crew = workers, wanted, results, at_work
                    with self.fetcher.session.limits.growing(partial(self._recruit, *crew)):
                        await self._work(0, *crew)
                if self._dropped:  # else nothing is left: workers go on until there is no more
                    await self._leave(at_work, wanted, results)
                results.done()
        except BaseException:
            outcomes.close()  # there are producers that never say that they are done
            for item in results.take(BATCH):
                self._give_up(item)
            raise

    async def _leave(
        self, at_work: list[Job | None], wanted: Queue[Job], results: Queue[_Item]
    ) -> None:
        for job in at_work:
            if job is not None:
                await results.put(_left(job))
        with suppress(Closed):
            while True:
                await results.put(_left(await wanted.get()))

    def _give_up(self, item: _Item) -> None:
        """It will not be published; budget and sink are not this run's alone."""
        if isinstance(item.came, Fetched):
            self.fetcher.budget.release(item.came.held)
            if isinstance(item.came.ready, Staged):
                self._unpublished.append(item.came.ready)

    # ---------------------------------------------------------------- reading

    async def _read(self, jobs: Jobs, wanted: Queue[Job], results: Queue[_Item]) -> None:
        """Set aside what needs no request, and pass on the rest."""
        if isinstance(jobs, AsyncIterable):
            await read_ahead(jobs, BATCH, partial(self._look_up, wanted, results))
        else:
            given = iter(jobs)
            while some := list(islice(given, BATCH)):
                await self._look_up(wanted, results, some)
        wanted.done()
        results.done()

    async def _look_up(self, wanted: Queue[Job], results: Queue[_Item], jobs: list[Job]) -> None:
        tombstones = None if self.erased is None else await self.erased.look()
        there: Sequence[PurePosixPath | None] = [None] * len(jobs)
        if self.skip_existing:
            there = await self.fetcher.sink.existing(list(map(_TARGET, jobs)))
        for job, name in zip(jobs, there, strict=True):
            call_id, call = job.call_id, job.call
            if tombstones is not None and tombstones.hashes and tombstones.covers(call_id):
                await results.put(_Item(job, Failed(call_id, erased(call_id), call)))
            elif name is not None:
                await results.put(_Item(job, AlreadyArchived(call_id, self.root / name, call)))
            elif not (call is None or self._ask_all or call.is_finished):
                await results.put(_Item(job, NotReadyYet(call_id, call)))
            else:
                await wanted.put(job)

    # ---------------------------------------------------------------- working

    def _recruit(
        self,
        workers: TaskGroup,
        wanted: Queue[Job],
        results: Queue[_Item],
        at_work: list[Job | None],
    ) -> None:
        """Let more work, if there is more that may begin at once."""
        first, may_begin = len(at_work), self.fetcher.session.limits.concurrency
        for number in range(first, min(self.concurrency, may_begin, first + wanted.held)):
            at_work.append(None)
            workers.start_soon(self._work, number, workers, wanted, results, at_work)

    async def _work(
        self,
        number: int,
        workers: TaskGroup,
        wanted: Queue[Job],
        results: Queue[_Item],
        at_work: list[Job | None],
    ) -> None:
        """Take one job after another, and colleagues if there is more that may begin at once."""
        with suppress(Closed):
            while True:
                job = at_work[number] = await wanted.get()
                if wanted.held and len(at_work) < self.concurrency:
                    self._recruit(workers, wanted, results, at_work)
                item = await self._fetch(job)
                try:
                    await results.put(item)
                except BaseException:
                    self._give_up(item)
                    raise
                at_work[number] = None
                del item  # it would keep these bytes while the next ones come

    async def _fetch(self, job: Job) -> _Item:
        call = job.call
        elsewhere = None if call is None else call.recording_url
        try:
            fetched = await self.fetcher.fetch(job.call_id, job.target, elsewhere)
        except RecordingNotFoundError as error:
            return _Item(job, absence(job.call_id, call, error, self.grace), error.trust)
        except DestinationError:
            raise
        except AgentPhoneError as error:
            return _Item(job, Failed(job.call_id, without_frames(error), call))
        return _Item(job, fetched, fetched.trust)

    # ---------------------------------------------------------------- publishing

    async def _publish(self, results: Queue[_Item], outcomes: Queue[list[Settled]]) -> None:
        with suppress(Closed):
            while True:
                # No name for what is drained: it would keep these bytes while the next ones come,
                # outside of the budget.
                await outcomes.put(
                    await self._outcomes_of(await results.drain(BATCH, linger=self._linger))
                )
        outcomes.done()

    async def _outcomes_of(self, batch: list[_Item]) -> list[Settled]:
        arrived: list[tuple[Job, Fetched]] = []
        ready: list[Ready] = []
        done: list[Settled] = []
        held = 0
        try:
            for item in batch:
                if item.trust is not None and not item.trust.proved:
                    await self._believe(batch)
                    break
            if self.erased is not None and (tombstones := await self.erased.look()).hashes:
                self._refuse_erased(batch, tombstones)
            for job, came, _ in batch:
                if isinstance(came, Fetched):
                    arrived.append((job, came))
                    ready.append(came.ready)
                    held += came.held
                else:
                    done.append(Settled(job, came))
            stored = await self.fetcher.sink.publish(ready) if ready else []
        except BaseException:
            for item in batch:
                self._give_up(item)
            raise
        self.fetcher.budget.release(held)
        for (job, fetched), what in zip(arrived, stored, strict=True):
            if what.new:
                recording = fetched.recording(job.call_id, self.root, what)
                done.append(Settled(job, Archived(job.call_id, recording, job.call)))
            else:
                done.append(Settled(job, self._not_stored(job, what)))
        return done

    def _refuse_erased(self, batch: list[_Item], tombstones: Tombstones) -> None:
        """What was erased while it came is not published."""
        for number, item in enumerate(batch):
            call_id = item.job.call_id
            if isinstance(item.came, Fetched) and tombstones.covers(call_id):
                self._give_up(item)
                batch[number] = _Item(item.job, Failed(call_id, erased(call_id), item.job.call))

    async def _believe(self, batch: list[_Item]) -> None:
        """Ask again for those whose answers turn out to be another request's.

        A server that answers twice is one answer ahead of us from then on; see `Trust`.
        """
        for _ in range(ASKED_AGAIN):
            await settled([item.trust for item in batch])
            again = [n for n, item in enumerate(batch) if item.trust and item.trust.distrusted]
            for number in again:
                job = batch[number].job
                self._give_up(batch[number])
                batch[number] = _left(job)  # unless it comes
                batch[number] = await self._fetch(job)
            if not again:
                break

    def _not_stored(self, job: Job, stored: Stored) -> Outcome:
        """Its name was taken meanwhile: another process was faster, or something is in the way."""
        path = self.root / stored.name
        if stored.in_the_way is not None and self.skip_existing:
            error = RecordingError(obstacle_line(path, stored.in_the_way))
            return Failed(job.call_id, error, job.call)
        return AlreadyArchived(job.call_id, path, job.call, sha256=stored.sha256)


_TARGET = attrgetter("target")
_SECONDS = attrgetter("seconds")


def _left(job: Job) -> _Item:
    return _Item(job, Failed(job.call_id, RunStoppedError(), job.call))
