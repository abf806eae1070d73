"""One run of an archive: list, plan, fetch, record.

::

    prefetcher ─▶ planner ─▶ Downloader ─▶ recorder ─▶ observer, sidecars
                     └──────── needs no request ───────────────────▶

Every arrow is bounded. Catalog and disk are asked a batch at a time, on the catalog's thread. The
catalog is written after the bytes are on the disk, and the observer is told after that. The limits
watcher stops it in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from functools import partial
from pathlib import PurePosixPath

from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.recordings import open_calls
from agentphone_async.archive.catalog.runs import (
    answers_of,
    begin_run,
    finish_run,
    reopen,
    reopen_of_dead,
    take_over,
    unfinished_folders,
)
from agentphone_async.archive.files.storage import Environment, share
from agentphone_async.archive.limits import LimitsWatcher
from agentphone_async.archive.names import folders_of, key_of_names
from agentphone_async.archive.observer import IsolatedObserver
from agentphone_async.archive.options import (
    Placed,
    RunOptions,
    Scope,
    SidecarWriter,
)
from agentphone_async.archive.plan import Task
from agentphone_async.archive.planner import Planner, job_of
from agentphone_async.archive.poll import Poller, ask_by_id
from agentphone_async.archive.prefetch import NewestFirst, Prefetcher
from agentphone_async.archive.record import Recorder, Results
from agentphone_async.archive.report import Report
from agentphone_async.archive.sidecars import sidecars_for
from agentphone_async.client import AsyncAgentPhone
from agentphone_async.errors import AgentPhoneError, RunStoppedError
from agentphone_async.models import Call
from agentphone_async.recordings.jobs import Job, Place, Settled
from agentphone_async.recordings.outcomes import Archived, was_left
from agentphone_async.recordings.stop import StopToken
from agentphone_async.sinks.erased import Tombstones

LINGER = 0.2
"""Seconds in which outcomes are gathered: rows that are written together cost a third."""

INCIDENT = "nearly everything that the run asked for was refused"


class Run:
    """The state of one run; `go` is called once."""

    def __init__(
        self,
        environment: Environment,
        client: AsyncAgentPhone,
        prefetcher: Prefetcher,
        scope: Scope,
        options: RunOptions,
        observer: IsolatedObserver,
        sidecar_writers: Sequence[SidecarWriter],
    ) -> None:
        self._environment = environment
        self._client = client
        self.report = Report()
        self.options = options
        self._prefetcher = prefetcher
        self._scope = scope
        self._observer = observer
        self._sidecar_writers = list(sidecar_writers)
        # Sums are made of folders: they do not want to know of each call where it belongs.
        self._placing = bool(sidecar_writers or options.metadata or options.transcripts)
        self._results = Results(self.report, observer, waits=options.wait > 0)
        self._stop_token = StopToken()
        self._watcher = LimitsWatcher(
            environment.folder, options.limits, self._stop_token, observer, environment.free
        )
        self._dropping: asyncio.TimerHandle | None = None
        self._stopped = asyncio.Event()
        self._folders: set[PurePosixPath] = set()
        self._untidy: list[PurePosixPath] = []
        self._order = NewestFirst(scope.selection.since)
        self._proved = False

    @property
    def stopped(self) -> bool:
        """Whether nothing more is begun."""
        return self._stopped.is_set()

    def stop(self, reason: str, line: str) -> None:
        """Begin nothing more; drop what is under way after the grace.

        The first reason counts. That enough bytes have come is not a reason to drop what follows
        them. Who interrupts a run that is about to end already wants it to end at once.
        """
        first = not self.stopped
        if first:
            self._stopped.set()
            self.report.stop_reason = reason
            self.report.stopped_because = line
            self._observer.stopping(line)
            self._prefetcher.stop()
            self._stop_token.close()
        if reason == "interrupted" != self.report.stop_reason:
            self._stop_token.drop()
        elif reason != "max_transfer" and self._dropping is None:
            loop = asyncio.get_running_loop()
            self._dropping = loop.call_later(self.options.stop_grace, self._stop_token.drop)

    async def go(self, catalog: Catalog, account: str | None = None) -> Report:
        """Do it, for an account's list; `Archive.run` says what is raised."""
        self._catalog, self._account = catalog, account
        self._began = self._environment.monotonic()
        limit = self.options.limits.max_duration
        timer = None
        if limit is not None:
            line = f"it has run for {limit:g} s"
            timer = asyncio.get_running_loop().call_later(limit, self.stop, "max_duration", line)
        observers = self._client.session.limits.observers
        observers.append(self._watcher)
        try:
            if self.options.dry_run:
                await self._rehearse()
            else:
                await self._archive()
        finally:
            if self._watcher in observers:
                observers.remove(self._watcher)
            self._client.session.limits.reopen()
            if timer is not None:
                timer.cancel()
        return self.report

    def close(self) -> None:
        """It is over, whether it has begun or not."""
        if self._dropping is not None:
            self._dropping.cancel()

    async def _rehearse(self) -> None:
        async for tasks in self._planned(self._planner()):
            for task in tasks:
                self.report.estimate(task.call.duration_seconds)
        self._conclude(left=0)

    async def _archive(self) -> None:
        catalog, options, scope = self._catalog, self.options, self._scope
        listing = "recent" if scope.recent else "full"
        now = self._environment.now()
        run = await catalog.transaction(begin_run, scope.selection, now, self._account, listing)
        await catalog.transaction(reopen_of_dead, run, INCIDENT)
        await self._sweep(run)
        await self._share()
        key = await key_of_names(catalog, hash_ids=options.hash_ids)
        async with AsyncExitStack() as stack:
            world = self._environment
            sidecars = sidecars_for(options, world.folder, self._client, catalog, world.files)
            if sidecars is not None:
                self._sidecar_writers.append(await stack.enter_async_context(sidecars))
            planner = self._planner(run, key)
            recorder = Recorder(self._environment.files, run, options.grace, options.min_age)
            async with aclosing(self._tasks_of(planner)) as tasks:
                await self._fetch(tasks, recorder)
            if options.wait > 0:
                await self._wait(run, planner, recorder)
                self._results.tell_the_rest()
            await self._doubt(run)
            self._conclude(left=self.report.selected - self.report.settled)
            if not self.stopped:
                for writer in self._sidecar_writers:
                    await writer.finish(sorted(self._folders))
            if sidecars is not None:
                self.report.beside_failed = sidecars.failed
                self.report.problems += sidecars.problems()
        await self._finish(run)
        await self._share()

    async def _share(self) -> None:
        """Give what lies in this run's folders the modes that the archive is to have."""
        folder, mode = self._environment.folder, self.options.mode or "private"
        await self._catalog.run(lambda _: share(folder, self._folders, mode))

    async def _sweep(self, run: int) -> None:
        """Remove what dead runs left, in the folders that they had noted."""
        folders = await self._catalog.run(unfinished_folders, run)
        if folders:
            files = self._environment.files
            staying = await self._catalog.run(lambda _: [files.sweep(each) for each in folders])
            self._untidy = [each for each, count in zip(folders, staying, strict=True) if count]
            await self._catalog.transaction(take_over, run, folders)
            self._folders.update(folders)  # what their runs added was not finished, either

    async def _planned(self, planner: Planner) -> AsyncGenerator[list[Task]]:
        """Batches of tasks; what needs no request is settled on the way."""
        seen: set[str] = set()
        async with aclosing(self._prefetcher.batches()) as batches:
            async for calls in batches:
                if self.stopped:
                    break
                self.report.listed += len(calls)
                self._observer.listed(len(calls))
                yield await self._plan(planner, calls)
                if self._scope.recent and not self._order.broken:
                    seen.update(call.id for call in calls)
                    self._proved = self._order.proved
                    if self._proved:
                        break
        if self._proved:
            async for tasks in self._still_open(planner, seen):
                yield tasks

    async def _plan(self, planner: Planner, calls: Sequence[Call]) -> list[Task]:
        now = self._environment.now()
        plan = await self._catalog.run(planner.plan, calls, now)
        if plan.writes and not self.options.dry_run:
            await self._catalog.transaction(planner.store, plan, now)
        report = self.report
        report.selected += plan.selected
        report.undated += plan.undated
        report.disputed += plan.disputed
        self._order.add(calls, {*plan.unknown, *plan.news})
        if self._scope.selection.status is not None:
            report.note_statuses(calls, self._scope.selection)
        if plan.selected:
            self._observer.selected(plan.selected)
        if plan.tasks:
            self._observer.planned([task.call for task in plan.tasks])
        for outcome in plan.settled:
            self._results.count(outcome)
        await self._process(plan.placed)
        self._folders.update(path.parent for path in plan.adopted)
        return plan.tasks

    async def _still_open(self, planner: Planner, seen: set[str]) -> AsyncGenerator[list[Task]]:
        """Ask by their ids for calls that earlier runs left open, where the list was left early."""
        await self._prefetcher.aclose()
        after, now, account = None, self._environment.now(), self._account
        while ids := await self._catalog.run(open_calls, account, now, after):
            after = ids[-1]
            if self.stopped:
                return
            unseen = [call_id for call_id in ids if call_id not in seen]
            try:
                calls = await ask_by_id(self._client, unseen, self._stop_token)
            except AgentPhoneError as error:
                self._prefetcher.fail(error)
                return
            if calls:
                self.report.listed += len(calls)
                self._observer.listed(len(calls))
                yield await self._plan(planner, calls)

    async def _tasks_of(self, planner: Planner) -> AsyncGenerator[Job]:
        async with aclosing(self._planned(planner)) as planned:
            async for tasks in planned:
                for task in tasks:
                    if self.stopped:
                        break
                    yield job_of(task, dated=self.options.mtime)

    async def _fetch(self, jobs: AsyncGenerator[Job], recorder: Recorder) -> None:
        """Fetch what comes, and write down what becomes of it, until there is no more."""
        options, files = self.options, self._environment.files
        place = Place(files.sink(options.fsync, options.mode or "private"), files.root)
        downloader = self._client.downloader(
            place,
            options.transfers,
            skip_existing=False,
            max_file_size=options.limits.max_file_size,
            progress=self._watcher.arrived,
        )
        self._stop_token.watch(downloader)
        self._watcher.watch(lambda: downloader.held)
        batches = downloader.batches(jobs, linger=LINGER)
        async with aclosing(place), aclosing(batches):
            async for batch in batches:
                await self._settle(batch, recorder)
        self._refuse_blindness()

    def _refuse_blindness(self) -> None:
        """A limit that cannot be watched ends the run as a failure of the disk."""
        if self._watcher.failure is not None:
            raise self._watcher.failure

    async def _settle(self, came: Sequence[Settled], recorder: Recorder) -> None:
        self._refuse_blindness()
        if self._watcher.reason is not None and any(was_left(outcome) for _, outcome in came):
            self.stop(*self._watcher.reason)
        batch = [(job.payload, outcome) for job, outcome in came]
        settled = await self._catalog.run(recorder.judge, batch, self._environment.now())
        await self._catalog.transaction(recorder.store, settled)
        if any(one.task.aside is not None for one in settled):
            await self._catalog.run(lambda _: recorder.tidy(settled))
        for one in settled:
            self._results.count_settled(one)
        arrived = (one.placed.stem for one in settled if isinstance(one.outcome, Archived))
        self._folders |= folders_of(arrived)
        await self._process([one.placed for one in settled])

    async def _wait(self, run: int, planner: Planner, recorder: Recorder) -> None:
        """Keep asking for what is not ready, with growing pauses, until the deadline."""
        world, stop = self._environment, self._stop_token
        poller = Poller(self._client, self._catalog, planner, run, world, stop)
        rounds = poller.rounds(lambda: self.report.waitable, self._stopped)
        async with aclosing(rounds):
            async for jobs in rounds:
                async with aclosing(jobs):
                    await self._fetch(jobs, recorder)

    async def _process(self, placed: Sequence[Placed]) -> None:
        if placed and self._placing and not self.options.dry_run:
            for writer in self._sidecar_writers:
                with suppress(RunStoppedError):  # the next run meets these calls again
                    await self._stop_token.to_the_end(partial(writer.process, placed))

    async def _doubt(self, run: int) -> None:
        """Believe nothing final of what a server said that refused nearly everything."""
        answers = await self._catalog.run(answers_of, run)
        if answers.is_incident:
            await self._catalog.transaction(reopen, run, INCIDENT)
            self.report.add_incident(answers.absent, answers.failed, answers.fetched)

    def _conclude(self, *, left: int) -> None:
        report, stopped = self.report, self.stopped
        report.left = left
        report.bytes = self._watcher.transferred
        whole = self._results.end_of_list(
            self._prefetcher, self._order, proved=self._proved, stopped=stopped
        )
        report.conclude()
        report.complete = whole and left == 0 and not stopped
        report.seconds = self._environment.monotonic() - self._began

    async def _finish(self, run: int) -> None:
        report, until = self.report, self._scope.selection.until
        opened = self._scope.opened
        covered = opened if until is None else min(until, opened)
        # A list that was cut off was seen whole from somewhere on.
        partly = report.seen_since is not None and report.left == 0 and report.seen_since < covered
        await self._catalog.transaction(
            finish_run,
            run,
            self._environment.now(),
            complete=self._scope.covers and (report.complete or partly),
            covered_until=covered,
            seen_since=report.seen_since,
            stop_reason=report.stop_reason,
            counts=report.counts(),
            unattended=bool(self._sidecar_writers) and self.stopped,
            untidy=self._untidy,
            listing=report.listing,
        )

    def _planner(self, run: int | None = None, key: bytes | None = None) -> Planner:
        return Planner(
            self._environment.files,
            self.options,
            self._scope.selection,
            key=key,
            run=run,
            placing=self._placing and run is not None,
            tombstones=Tombstones.load(self._environment.folder),
        )
