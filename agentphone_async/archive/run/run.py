"""One run of an archive: list, plan, fetch, remember.

::

    intake ─▶ planner ─▶ valve ─▶ Downloader ─▶ ledger ─▶ observer, companions
                 └──────── needs no request ─────────────────────▶

Every arrow is bounded. The catalog and the disk are asked a batch at a time, on the catalog's
thread; the loop only passes batches on. The catalog is written after the bytes are on the disk, and
the observer is told after the catalog is written. The gate watches the limits, and closes the valve
in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path, PurePosixPath

from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.runs import (
    begin_run,
    finish_run,
    take_over,
    unfinished_folders,
)
from agentphone_async.archive.names import Names, key_of_names
from agentphone_async.archive.observer import IsolatedObserver
from agentphone_async.archive.options import Companion, Placed, RunOptions
from agentphone_async.archive.report import MOST_KEPT, Report
from agentphone_async.archive.run.batch import Terms
from agentphone_async.archive.run.gate import Gate
from agentphone_async.archive.run.intake import Intake
from agentphone_async.archive.run.ledger import Ledger
from agentphone_async.archive.run.plan import Policy, is_too_young
from agentphone_async.archive.run.planner import Planner
from agentphone_async.archive.run.recall import Recall
from agentphone_async.archive.run.task import Task
from agentphone_async.archive.selection.selection import Selection
from agentphone_async.client import AsyncAgentPhone
from agentphone_async.models import Call
from agentphone_async.protocol.display import printable
from agentphone_async.recordings.descriptors import affordable
from agentphone_async.recordings.downloader import Downloader
from agentphone_async.recordings.fetch import Fetcher
from agentphone_async.recordings.outcomes import (
    AlreadyArchived,
    Archived,
    Failed,
    NoRecording,
    NotReadyYet,
    Outcome,
    was_left,
)
from agentphone_async.recordings.valve import LeftError, Valve
from agentphone_async.sinks.disk import sweep
from agentphone_async.sinks.interface import Target
from agentphone_async.sinks.local import LocalSink

BYTES_PER_SECOND = 16_000
"""Of 8 kHz 16-bit mono, for estimates: the API does not tell sizes before they are fetched."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What a run needs of the world; tests bring their own."""

    folder: Path
    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[object]]
    free: Callable[[Path], int]


class Run:
    """The state of one run; `go` is called once."""

    def __init__(
        self,
        environment: Environment,
        client: AsyncAgentPhone,
        intake: Intake,
        catalog: Catalog,
        selection: Selection,
        options: RunOptions,
        observer: IsolatedObserver,
        companions: Sequence[Companion],
    ) -> None:
        self._environment = environment
        self._client = client
        self._intake = intake
        self._catalog = catalog
        self._selection = selection
        self._options = options
        self._observer = observer
        self._companions = companions
        self._report = Report()
        self._tasks: dict[str, Task] = {}
        self._valve = Valve()
        self._gate = Gate(
            environment.folder, options.limits, self._valve, observer, environment.free
        )
        self._dropping: asyncio.TimerHandle | None = None
        self._stopped = asyncio.Event()
        self._folders: set[PurePosixPath] = set()
        self._untidy: list[PurePosixPath] = []
        self._waited_for: dict[str, Outcome] = {}
        self._undated = 0
        self._began = environment.monotonic()
        self._started = environment.now()

    def stop(self, reason: str, line: str) -> None:
        """Begin nothing more; drop what is under way after the grace.

        The first reason counts. Enough bytes are no reason to drop what they are followed by. Who
        interrupts a run that is about to end already wants it to end at once.
        """
        first = not self._stopped.is_set()
        if first:
            self._stopped.set()
            self._report.stop_reason = reason
            self._report.stopped_because = line
            self._observer.stopping(line)
            self._intake.stop()
            self._valve.close()
        if reason == "interrupted" != self._report.stop_reason:
            self._valve.drop()
        elif reason != "max_transfer" and self._dropping is None:
            loop = asyncio.get_running_loop()
            self._dropping = loop.call_later(self._options.stop_grace, self._valve.drop)

    async def go(self) -> Report:
        """Do it; `Archive.run` says what is raised."""
        limit = self._options.limits.max_duration
        timer = None
        if limit is not None:
            line = f"it has run for {limit:g} s"
            timer = asyncio.get_running_loop().call_later(limit, self.stop, "max_duration", line)
        listeners = self._client.session.limits.listeners
        listeners.add(self._gate.paused)
        try:
            if self._options.dry_run:
                await self._rehearse()
            else:
                await self._archive()
        finally:
            listeners.discard(self._gate.paused)
            for handle in (timer, self._dropping):
                if handle is not None:
                    handle.cancel()
        return self._report

    # ---------------------------------------------------------------- dry

    async def _rehearse(self) -> None:
        planner = self._planner(self._names(None), None)
        async for tasks in self._planned(planner):
            for task in tasks:
                self._report.would_fetch += 1
                length = task.call.duration_seconds
                if length is None:
                    self._report.unknown_sizes += 1
                else:
                    self._report.estimated_bytes += 44 + int(length * BYTES_PER_SECOND)
        self._conclude(left=0)

    # ---------------------------------------------------------------- the real thing

    async def _archive(self) -> None:
        catalog, options = self._catalog, self._options
        run = await catalog.transaction(begin_run, self._selection, self._started)
        await self._sweep(run)
        names = self._names(await key_of_names(catalog, hash_ids=options.hash_ids))
        planner = self._planner(names, run)
        ledger = Ledger(self._environment.folder, run, options.grace, options.min_age)
        async with aclosing(self._tasks_of(planner)) as tasks:
            await self._fetch(tasks, ledger)
        if options.wait > 0:
            await self._wait(run, names, ledger)
            for outcome in self._waited_for.values():
                self._observer.settled(outcome)
        self._conclude(left=self._report.selected - self._report.settled)
        if not self._stopped.is_set():
            for companion in self._companions:
                await companion.finish(sorted(self._folders))
        await self._finish(run)

    async def _sweep(self, run: int) -> None:
        """Remove what dead runs left, in the folders that they had noted."""
        folders = await self._catalog.run(unfinished_folders, run)
        if folders:
            top = self._environment.folder
            staying = await self._catalog.run(lambda _: [sweep(top / each) for each in folders])
            self._untidy = [each for each, count in zip(folders, staying, strict=True) if count]
            await self._catalog.transaction(take_over, run, folders)
            self._folders.update(folders)  # what their runs added was not finished, either

    async def _planned(self, planner: Planner) -> AsyncGenerator[list[Task]]:
        """Batches of tasks; what needs no request is settled on the way."""
        async with aclosing(self._intake.batches()) as batches:
            async for calls in batches:
                if self._stopped.is_set():
                    break
                self._report.listed += len(calls)
                self._observer.listed(len(calls))
                now = self._environment.now()
                plan = await self._catalog.run(planner.plan, calls, now)
                if plan.writes and not self._options.dry_run:
                    await self._catalog.transaction(planner.store, plan, now)
                self._report.selected += plan.selected
                self._undated += plan.undated
                if plan.selected:
                    self._observer.selected(plan.selected)
                for outcome in plan.settled:
                    self._count(outcome)
                await self._process(plan.placed)
                self._folders.update(path.parent for path in plan.adopted)
                yield plan.tasks

    async def _tasks_of(self, planner: Planner) -> AsyncGenerator[Call]:
        async with aclosing(self._planned(planner)) as planned:
            async for tasks in planned:
                for task in tasks:
                    if self._stopped.is_set():
                        break
                    self._tasks[task.call.id] = task
                    yield task.call

    async def _fetch(self, calls: AsyncGenerator[Call], ledger: Ledger) -> None:
        """Fetch what comes, and write down what becomes of it, until there is no more."""
        downloader = self._downloader()
        self._gate.watch(lambda: downloader.held)
        async with aclosing(downloader.batches(calls)) as batches:
            async for batch in batches:
                await self._settle(batch, ledger)
        self._refuse_blindness()

    def _refuse_blindness(self) -> None:
        """A limit that cannot be watched ends the run as a failure of the disk."""
        if self._gate.failure is not None:
            raise self._gate.failure

    def _downloader(self) -> Downloader:
        options, folder = self._options, self._environment.folder
        fetcher = Fetcher(
            self._client.session,
            LocalSink(folder, fsync=options.fsync, own_loop=options.own_loop),
            max_file_size=options.limits.max_file_size,
            progress=self._gate.arrived,
        )
        return Downloader(
            fetcher,
            folder,
            affordable(self._client.workers(options.transfers)),
            target_of=self._target_of,
            skip_existing=False,
            valve=self._valve,
        )

    def _target_of(self, call_id: str, call: Call | None) -> Target:  # noqa: ARG002 - a Namer's
        return self._tasks[call_id].target

    async def _settle(self, outcomes: Sequence[Outcome], ledger: Ledger) -> None:
        self._refuse_blindness()
        if self._gate.reason is not None and any(map(was_left, outcomes)):
            self.stop(*self._gate.reason)
        batch = [(self._tasks[outcome.call_id], outcome) for outcome in outcomes]
        done = await self._catalog.run(ledger.settle, batch, self._environment.now())
        settled = await self._catalog.transaction(ledger.store, done)
        if any(task.aside is not None for _, _, task in settled):
            await self._catalog.run(lambda _: ledger.tidy(settled))
        for outcome in outcomes:
            del self._tasks[outcome.call_id]
        for outcome, placed, task in settled:
            if task.again:
                self._report.not_ready -= 1
            self._count(outcome)
            if isinstance(outcome, Archived):
                self._folders.add(placed.stem.parent)
        await self._process([placed for _, placed, _ in settled])

    async def _wait(self, run: int, names: Names, ledger: Ledger) -> None:
        """Go on asking for what is not ready, with growing pauses."""
        recall = Recall(self._client, self._catalog, names, run, self._is_due, self._valve)
        left = self._options.wait
        pause = 2.0
        while left > 0 and self._report.not_ready and not self._stopped.is_set():
            pause = min(pause, left)
            if await self._sleep(pause):
                return
            left -= pause
            pause = min(pause * 1.5, 30.0)
            async with aclosing(self._recalled(recall)) as calls:
                await self._fetch(calls, ledger)

    async def _recalled(self, recall: Recall) -> AsyncGenerator[Call]:
        async with aclosing(recall.tasks()) as tasks:
            async for task in tasks:
                self._tasks[task.call.id] = task
                yield task.call

    def _is_due(self, call: Call) -> bool:
        """Whether a call may be asked for now."""
        young = is_too_young(call, self._options.min_age, self._environment.now())
        return not self._stopped.is_set() and call.is_finished and not young

    async def _sleep(self, seconds: float) -> bool:
        """Sleep, and return True if that ended with a stop."""
        timer = asyncio.ensure_future(self._environment.sleep(seconds))
        stop = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait((timer, stop), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in (timer, stop):
                waiter.cancel()
                with suppress(asyncio.CancelledError):
                    await waiter
        return self._stopped.is_set()

    # ---------------------------------------------------------------- counting

    def _count(self, outcome: Outcome) -> None:
        report = self._report
        match outcome:
            case Archived(recording=recording):
                if recording.suspect is None:
                    report.archived += 1
                else:
                    report.suspect += 1
            case AlreadyArchived():
                report.already_archived += 1
            case NoRecording():
                report.no_recording += 1
            case NotReadyYet():
                report.not_ready += 1
            case Failed(call_id=call_id, error=error):
                report.failed += 1
                if len(report.failures) < MOST_KEPT:
                    report.failures.append((call_id, error))
        if isinstance(outcome, NotReadyYet) and self._options.wait > 0:
            self._waited_for[outcome.call_id] = outcome  # told when the waiting is over
            return
        self._waited_for.pop(outcome.call_id, None)
        self._observer.settled(outcome)

    async def _process(self, placed: Sequence[Placed]) -> None:
        if placed and not self._options.dry_run:
            for companion in self._companions:
                with suppress(LeftError):  # the next run meets these calls again
                    await self._valve.to_the_end(partial(companion.process, placed))

    def _conclude(self, *, left: int) -> None:
        report, intake = self._report, self._intake
        report.left = left
        report.bytes = self._gate.transferred
        report.error = intake.error
        if intake.error is not None and not self._stopped.is_set():
            report.stop_reason = "listing"
            report.stopped_because = f"the list of calls broke off: {intake.error}"
        elif not intake.complete and not self._stopped.is_set():
            report.add_problem(
                "the server's list of calls went in circles or lost some; the next run may find "
                "more"
            )
        for problem in intake.problems[:MOST_KEPT]:
            report.add_problem(f"row {problem.row} of a page: {printable(problem.message)}")
        if self._undated:
            report.add_problem(
                f"{self._undated} calls have no readable beginning and lie in no range of days; "
                "a run without one takes them, too"
            )
        report.complete = intake.complete and left == 0 and not self._stopped.is_set()
        report.seconds = self._environment.monotonic() - self._began

    async def _finish(self, run: int) -> None:
        until = self._selection.until
        covered = self._started if until is None else min(until, self._started)
        await self._catalog.transaction(
            finish_run,
            run,
            self._environment.now(),
            complete=self._report.complete,
            covered_until=covered,
            stop_reason=self._report.stop_reason,
            counts=self._report.counts(),
            unattended=bool(self._companions) and self._stopped.is_set(),
            untidy=self._untidy,
        )

    def _planner(self, names: Names, run: int | None) -> Planner:
        options = self._options
        policy = Policy(
            grace=options.grace,
            min_age=options.min_age,
            recheck=options.recheck,
            probe_all=options.probe_all,
            refresh=options.refresh,
        )
        placing = bool(self._companions) and run is not None
        terms = Terms(self._environment.folder, policy, names, run, placing)
        return Planner(terms, self._selection)

    def _names(self, key: bytes | None) -> Names:
        return Names(self._options.template, self._options.zone, key)
