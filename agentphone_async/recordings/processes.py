"""Many recordings over several processes: one event loop each, one consumer of outcomes.

::

                   ┌─▶ process: Downloader ─┐
    calls ─read─▶ [ ]                        [ ] outcomes
                   └─▶ process: Downloader ─┘

A process takes jobs when it has room, so that the fast ones get more. Rates, connections and memory
are divided equally; a pause that the host asks one for holds for all. Writing to the catalog, the
progress and the names stay here.

One process saturates most networks, and each costs half a second of processor time to start, and
some 80 MB. Several pay where one core is not enough for the network, and others are idle. Measured
on two cores that the server used, too, two processes took 0.91 of the time of one for 850 MB over
TLS, and 1.07 to 1.3 of it without TLS and for small recordings: there, the one had no lack of
processor time.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Literal

import anyio

from agentphone_async.config import Settings
from agentphone_async.errors import AgentPhoneError
from agentphone_async.models import Call
from agentphone_async.protocol.absence import GRACE
from agentphone_async.recordings.channel import Channel, Closed
from agentphone_async.recordings.downloader import (
    BATCH,
    Calls,
    Job,
    first_of,
    flat_target,
    read_calls,
)
from agentphone_async.recordings.fetch import Progress
from agentphone_async.recordings.outcomes import Failed, Outcome
from agentphone_async.recordings.pipes import (
    Arrived,
    Broken,
    Done,
    Jobs,
    NoMore,
    Order,
    Pause,
    Settled,
    ToWorker,
    framed,
    next_from,
    share_of_connections,
)
from agentphone_async.sinks.disk import sweep
from agentphone_async.sinks.interface import Target
from agentphone_async.sinks.local import Fsync
from agentphone_async.sinks.outlast import outlast

PATIENCE = 10.0
"""Seconds that a process gets to end by itself."""

_START = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from agentphone_async.recordings.worker_process import main; main()"
)


_ROOT = str(Path(__file__).parents[2])
"""Where the package is: the other interpreter may know no way to it."""

_log = logging.getLogger("agentphone_async")


class WorkerLostError(AgentPhoneError):
    """A process of ours ended before its work was done."""

    transient = True


@dataclass(frozen=True, slots=True)
class ProcessDownloader:
    """A `Downloader` whose work is done in processes of their own.

    Attributes:
        settings: where recordings come from, and the limits of all processes together.
        folder: where they go; made if it is not there.
        processes: how many, at least 1; never more than there are transfers.
        concurrency: transfers at a time of all together; ``"auto"`` lets each process find out.
        fsync: when bytes are forced to the disk.
        target_of, grace, skip_existing: as for `Downloader`.
        progress: told about arriving bytes, a few times a second.
    """

    settings: Settings
    folder: Path
    processes: int
    concurrency: int | Literal["auto"] = 16
    fsync: Fsync = Fsync.BATCH
    target_of: Callable[[str, Call | None], Target] = flat_target
    grace: timedelta = GRACE
    skip_existing: bool = True
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if self.processes < 1:
            raise ValueError(f"processes is {self.processes}; it takes at least 1")
        if self.concurrency != "auto" and self.concurrency < 1:
            raise ValueError(f"concurrency is {self.concurrency}; it takes at least 1 transfer")

    async def batches(self, calls: Calls) -> AsyncGenerator[list[Outcome]]:
        """As `Downloader.batches`.

        What a process was at when it died is `Failed`, and the others go on.

        Raises:
            DestinationError: the disk failed; what is not published is discarded.
            WorkerLostError: no process is left.
            BaseException: whatever iterating over ``calls`` raises.
        """
        outcomes = Channel[list[Outcome]](8)
        crew = _Crew(self, outcomes)
        run = asyncio.create_task(crew.run(calls), name="agentphone-processes")
        run.add_done_callback(lambda _: outcomes.abandon())
        try:
            with suppress(Closed):
                while True:
                    yield await outcomes.get()
            await run
        finally:
            run.cancel()
            end = asyncio.create_task(crew.end(run), name="agentphone-processes-end")
            await outlast(end)
            end.result()

    def orders(self) -> Iterator[Order]:
        """What each process is told to begin with."""
        total = self.concurrency
        count = self.processes if total == "auto" else min(self.processes, total)
        for number in range(count):
            share = None if total == "auto" else total // count + (number < total % count)
            yield Order(
                settings=replace(self.settings, api_key=None),
                shares=count,
                transfers=share,
                folder=self.folder,
                fsync=self.fsync,
                grace=self.grace,
                skip_existing=self.skip_existing,
            )


class _Worker:
    """A process, as its parent sees it."""

    def __init__(self, order: Order, process: asyncio.subprocess.Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("pipes were asked for")
        self.process = process
        self.stdin, self.stdout = process.stdin, process.stdout
        self.lost = False
        self._shares = order.shares
        self._transfers = order.transfers or share_of_connections(order)
        self._count = 0
        self._jobs: defaultdict[str, deque[Job]] = defaultdict(deque)
        self._settled = asyncio.Event()

    async def feed(self, given: Channel[str | Call], job_of: Callable[[str | Call], Job]) -> None:
        """Pass on jobs, whenever there is room for some.

        It gets one for each transfer, and ahead of these a part of what waits: much in the middle
        of a long list, nothing near the end, where jobs would wait here while others are idle.
        """
        with suppress(Closed):
            while True:
                while (room := self._room_for(len(given))) <= 0:
                    self._settled.clear()
                    await self._settled.wait()
                jobs = [job_of(item) for item in await given.drain(room)]
                for job in jobs:
                    self._jobs[job.call_id].append(job)
                self._count += len(jobs)
                await self.tell(Jobs(jobs))
                await asyncio.sleep(0)  # let the others take some
        await self.tell(NoMore())

    def _room_for(self, waiting: int) -> int:
        room = self._transfers + waiting // (2 * self._shares) - self._count
        return min(room, max(1, waiting // self._shares))

    async def tell(self, message: ToWorker) -> None:
        """Send a message; one that has ended is not interested, and that is seen elsewhere."""
        with suppress(OSError, RuntimeError):
            self.stdin.write(framed(message))
            await self.stdin.drain()

    def settled(self, outcomes: Sequence[Outcome]) -> None:
        """It is not at these any more."""
        for outcome in outcomes:
            waiting = self._jobs[outcome.call_id]
            waiting.popleft()
            if not waiting:
                del self._jobs[outcome.call_id]
        self._count -= len(outcomes)
        self._settled.set()

    def abandoned(self) -> list[Job]:
        """What it is at, and will never finish."""
        jobs = [job for waiting in self._jobs.values() for job in waiting]
        self._jobs.clear()
        return jobs

    async def end(self) -> None:
        """Let it drop what it is at, and wait until it has gone."""
        self.stdin.close()
        try:
            async with asyncio.timeout(PATIENCE):
                while await self.stdout.read(65536):
                    pass
                await self.process.wait()
        except TimeoutError:
            self.lost = True
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()


class _Crew:
    """The processes of one run."""

    def __init__(self, plan: ProcessDownloader, outcomes: Channel[list[Outcome]]) -> None:
        self._plan = plan
        self._progress = plan.progress
        self._outcomes = outcomes
        self._workers: list[_Worker] = []

    async def run(self, calls: Calls) -> None:
        orders = list(self._plan.orders())
        given = Channel[str | Call](BATCH * len(orders))
        try:
            async with anyio.create_task_group() as group:
                for order in orders:
                    # Not to be torn: a process that nobody knows of would never be ended.
                    await outlast(asyncio.create_task(self._start(order)))
                group.start_soon(read_calls, calls, given)
                for worker in self._workers:
                    group.start_soon(self._attend, worker, given)
        except BaseExceptionGroup as failures:
            raise first_of(failures) from failures

    async def _start(self, order: Order) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-c", _START, _ROOT),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C is for us alone
        )
        worker = _Worker(order, process)
        worker.stdin.write(framed(order))
        self._workers.append(worker)

    async def _attend(self, worker: _Worker, given: Channel[str | Call]) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(worker.feed, given, self._job)
            await self._listen(worker)
            group.cancel_scope.cancel()

    def _job(self, item: str | Call) -> Job:
        call = None if isinstance(item, str) else item
        call_id = item if isinstance(item, str) else item.id
        return Job(call_id, call, self._plan.target_of(call_id, call))

    async def _listen(self, worker: _Worker) -> None:
        while (message := await next_from(worker.stdout)) is not None:
            match message:
                case Settled(outcomes):
                    worker.settled(outcomes)
                    await self._outcomes.put(outcomes)
                case Arrived(size):
                    self._tell(size)
                case Pause():
                    for other in self._workers:
                        if other is not worker:
                            await other.tell(message)
                case Broken(error):
                    raise error
                case Done():
                    await worker.end()
                    return
        await self._mourn(worker)

    def _tell(self, size: int) -> None:
        if size and self._progress is not None:
            try:
                self._progress(size)
            except Exception:  # noqa: BLE001 - any failure of a hook that is not ours
                self._progress = None
                _log.exception("the progress hook failed, and is not called any more")

    async def _mourn(self, worker: _Worker) -> None:
        """It has ended by itself: settle what it was at, and tidy up after it."""
        await worker.end()
        worker.lost = True
        jobs = worker.abandoned()
        await self._sweep(jobs)
        error = WorkerLostError(f"a download process {_ending(worker.process.returncode)}")
        if jobs:
            await self._outcomes.put([_failed(job, error) for job in jobs])
        if all(other.lost for other in self._workers):
            raise WorkerLostError(f"{error}, and none is left; use fewer transfers or processes")

    async def _sweep(self, jobs: Sequence[Job]) -> None:
        for folder in {self._plan.folder / job.target.folder for job in jobs}:
            await asyncio.to_thread(sweep, folder)

    async def end(self, run: asyncio.Task[None]) -> None:
        await asyncio.wait([run])
        if not run.cancelled():
            run.exception()  # seen; it was raised to the consumer, unless that has left
        await asyncio.gather(*(worker.end() for worker in self._workers))
        for worker in self._workers:
            if worker.lost:
                await self._sweep(worker.abandoned())


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was ended by signal {-code} (9 may mean that memory ran out)"
    return f"ended unexpectedly with code {code}"


def _failed(job: Job, error: WorkerLostError) -> Failed:
    own = WorkerLostError(f"{error}; run it again")
    own.call_id = job.call_id
    return Failed(job.call_id, own, job.call)
