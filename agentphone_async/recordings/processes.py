"""Many recordings over several processes: one event loop each, one consumer of outcomes.

::

                   ┌─▶ process: Downloader ─┐
    calls ─read─▶ [ ]                        [ ] outcomes
                   └─▶ process: Downloader ─┘

A process takes jobs when it has room, so that the fast ones get more. Rates, connections and memory
are divided equally; a pause that the host asks one for holds for all, the session here among them.
Writing to the catalog, the progress, the names, and deciding when to end stay here.

One process saturates most networks, and each costs half a second of processor time to start, and
some 80 MB. Several pay where one core is not enough for the network, and others are idle. On two
cores that the server used, too, nothing was idle, and two processes took 1.0 to 1.4 of the time of
one (docs/performance.md).
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Literal

import anyio

from agentphone_async.errors import AgentPhoneError
from agentphone_async.models import Call
from agentphone_async.protocol.absence import GRACE
from agentphone_async.recordings.batches import Outcomes, batches_of
from agentphone_async.recordings.channel import Channel, Closed
from agentphone_async.recordings.downloader import (
    BATCH,
    Calls,
    Job,
    flat_target,
    read_calls,
)
from agentphone_async.recordings.fetch import Progress
from agentphone_async.recordings.outcomes import Failed, Outcome
from agentphone_async.recordings.pipes import (
    Arrived,
    Broken,
    Close,
    Done,
    Drop,
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
from agentphone_async.recordings.valve import LeftError, Valve
from agentphone_async.sinks.disk import sweep
from agentphone_async.sinks.interface import Target
from agentphone_async.sinks.local import Fsync
from agentphone_async.sinks.outlast import outlast
from agentphone_async.transport.session import Session

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


@dataclass(slots=True)
class ProcessDownloader:
    """A `Downloader` whose work is done in processes of their own.

    Attributes:
        session: its settings say where recordings come from; its limits are those of all
            processes and of itself together.
        folder: where they go; made if it is not there.
        processes: how many, at least 1; never more than there are transfers.
        concurrency: transfers at a time of all together; ``"auto"`` lets each process find out.
        fsync: when bytes are forced to the disk.
        target_of, grace, skip_existing: as for `Downloader`.
        max_file_size, progress: as for `Fetcher`; told a few times a second, and every MiB.
        valve: ends it gently.
        held: bytes in memory that are not written yet, as the processes said last.
    """

    session: Session
    folder: Path
    processes: int
    concurrency: int | Literal["auto"] = 16
    fsync: Fsync = Fsync.BATCH
    target_of: Callable[[str, Call | None], Target] = flat_target
    grace: timedelta = GRACE
    skip_existing: bool = True
    max_file_size: int | None = None
    progress: Progress | None = None
    valve: Valve = field(default_factory=Valve)
    held: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.processes < 1:
            raise ValueError(f"processes is {self.processes}; it takes at least 1")
        if self.concurrency != "auto" and self.concurrency < 1:
            raise ValueError(f"concurrency is {self.concurrency}; it takes at least 1 transfer")

    def batches(self, calls: Calls) -> AsyncGenerator[list[Outcome]]:
        """As `Downloader.batches`; processes are started when there is a call.

        What a process was at when it died is `Failed`, and the others go on.

        Raises:
            DestinationError: the disk failed; what is not published is discarded.
            WorkerLostError: no process is left, or one cannot be started.
            BaseException: whatever iterating over ``calls`` raises.
        """
        crew = _Crew(self)
        return batches_of(lambda outcomes: crew.run(calls, outcomes), crew.end)

    def orders(self) -> Iterator[Order]:
        """What each process is told to begin with."""
        settings = self.session.settings
        total = self.concurrency
        count = self.processes if total == "auto" else min(self.processes, total)
        for number in range(count):
            share = None if total == "auto" else total // count + (number < total % count)
            yield Order(
                settings=replace(settings, api_key=None),
                shares=count,
                transfers=share,
                folder=self.folder,
                fsync=self.fsync,
                grace=self.grace,
                skip_existing=self.skip_existing,
                max_file_size=(
                    settings.max_file_size if self.max_file_size is None else self.max_file_size
                ),
            )


class _Worker:
    """A process, as its parent sees it."""

    def __init__(self, order: Order, process: asyncio.subprocess.Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("pipes were asked for")
        self.process = process
        self.stdin, self.stdout = process.stdin, process.stdout
        self.lost = False
        self.held = 0
        self._shares = order.shares
        self._transfers = order.transfers or share_of_connections(order)
        self._count = 0
        self._jobs: defaultdict[str, deque[Job]] = defaultdict(deque)
        self._settled = asyncio.Event()

    async def feed(
        self,
        given: Channel[str | Call],
        job_of: Callable[[str | Call], Job],
        pace: Callable[[], Awaitable[None]] | None,
    ) -> None:
        """Pass on jobs, whenever there is room for some, and one at each ``pace`` if there is one.

        It gets one for each transfer, and ahead of these a part of what waits: much in the middle
        of a long list, nothing near the end, where jobs would wait here while others are idle.
        """
        with suppress(Closed):
            while True:
                while (room := self._room_for(len(given))) <= 0:
                    self._settled.clear()
                    await self._settled.wait()
                if pace is not None:
                    await pace()
                    room = 1
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
        """Send a message, when those before it are on their way."""
        self.call(message)
        with suppress(OSError, RuntimeError):
            await self.stdin.drain()

    def call(self, message: ToWorker) -> None:
        """Send a small message. One that has ended does not hear it; that is seen elsewhere."""
        with suppress(OSError, RuntimeError):
            self.stdin.write(framed(message))

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

    def __init__(self, plan: ProcessDownloader) -> None:
        self._plan = plan
        self._limits = plan.session.limits
        self._progress = plan.progress
        self._workers: list[_Worker] = []

    async def run(self, calls: Calls, outcomes: Outcomes) -> None:
        orders = list(self._plan.orders())
        given = Channel[str | Call](BATCH * len(orders))
        async with anyio.create_task_group() as group:
            group.start_soon(read_calls, calls, given)
            with suppress(Closed):
                await given.filled()
                for order in orders:
                    starting = asyncio.create_task(self._start(order))
                    # Not to be torn: a process that nobody knows of would never be ended.
                    await outlast(starting)
                    starting.result()
            self._plan.valve.listeners.add(self._pass_on_valve)
            self._limits.listeners.add(self._pass_on_pause)
            self._pass_on_valve()
            for worker in self._workers:
                group.start_soon(self._attend, worker, given, outcomes)
        outcomes.done()

    async def _start(self, order: Order) -> None:
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-c", _START, _ROOT),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # a Ctrl-C is for us alone
            )
        except OSError as error:
            raise WorkerLostError(
                f"cannot start a download process: {error.strerror or error}; use fewer processes"
            ) from error
        worker = _Worker(order, process)
        worker.stdin.write(framed(order))
        self._workers.append(worker)

    def _pass_on_valve(self) -> None:
        valve = self._plan.valve
        for worker in self._workers:
            if valve.closed:
                worker.call(Drop() if valve.dropping else Close())

    def _pass_on_pause(self, seconds: float) -> None:
        for worker in self._workers:
            worker.call(Pause(seconds))

    async def _attend(
        self, worker: _Worker, given: Channel[str | Call], outcomes: Outcomes
    ) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(worker.feed, given, self._job, self._pace())
            await self._listen(worker, outcomes)
            group.cancel_scope.cancel()

    def _pace(self) -> Callable[[], Awaitable[None]] | None:
        """Jobs are counted here as the requests that they are: the session here makes some, too."""
        if self._plan.skip_existing or not self._limits.limited_requests:
            return None  # what is there already is no request
        valve = self._plan.valve

        async def pace() -> None:
            with suppress(LeftError):  # what is only passed on to be left needs no permission
                await valve.through(lambda _: self._limits.take_request())

        return pace

    def _job(self, item: str | Call) -> Job:
        call = None if isinstance(item, str) else item
        call_id = item if isinstance(item, str) else item.id
        return Job(call_id, call, self._plan.target_of(call_id, call))

    async def _listen(self, worker: _Worker, outcomes: Outcomes) -> None:
        while (message := await next_from(worker.stdout)) is not None:
            match message:
                case Settled(settled):
                    worker.settled(settled)
                    await outcomes.put(settled)
                case Arrived(size, held):
                    self._hold(worker, held)
                    self._tell(size)
                case Pause(seconds):
                    self._limits.warned(seconds)
                case Broken(error):
                    raise error
                case Done():
                    await worker.end()
                    return
        await self._mourn(worker, outcomes)

    def _hold(self, worker: _Worker, held: int) -> None:
        self._plan.held += held - worker.held
        worker.held = held

    def _tell(self, size: int) -> None:
        if size and self._progress is not None:
            try:
                self._progress(size)
            except Exception:  # noqa: BLE001 - any failure of a hook that is not ours
                self._progress = None
                _log.exception("the progress hook failed, and is not called any more")

    async def _mourn(self, worker: _Worker, outcomes: Outcomes) -> None:
        """It has ended by itself: settle what it was at, and tidy up after it."""
        await worker.end()
        worker.lost = True
        self._hold(worker, 0)
        jobs = worker.abandoned()
        await self._sweep(jobs)
        error = WorkerLostError(f"a download process {_ending(worker.process.returncode)}")
        if jobs:
            await outcomes.put([_failed(job, error) for job in jobs])
        if all(other.lost for other in self._workers):
            raise WorkerLostError(f"{error}, and none is left; use fewer transfers or processes")

    async def _sweep(self, jobs: Sequence[Job]) -> None:
        for folder in {self._plan.folder / job.target.folder for job in jobs}:
            await asyncio.to_thread(sweep, folder)

    async def end(self) -> None:
        self._plan.valve.listeners.discard(self._pass_on_valve)
        self._limits.listeners.discard(self._pass_on_pause)
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
