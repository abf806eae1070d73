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
import logging
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
from agentphone_async.archive.files.storage import share
from agentphone_async.archive.limits import LimitsWatcher
from agentphone_async.archive.names import Names, folders_of, key_of_names, names_of
from agentphone_async.archive.observer import IsolatedObserver, LimitsBridge
from agentphone_async.archive.options import Placed, RunOptions, SidecarWriter
from agentphone_async.archive.plan import Task, is_too_young
from agentphone_async.archive.planner import Environment, Planner, Scope, Terms, job_of
from agentphone_async.archive.poll import Poller, ask_by_id
from agentphone_async.archive.prefetch import NewestFirst, Prefetcher
from agentphone_async.archive.record import Recorder
from agentphone_async.archive.report import Report
from agentphone_async.archive.results import Results
from agentphone_async.archive.sidecars import sidecars_for
from agentphone_async.client import AsyncAgentPhone
from agentphone_async.errors import AgentPhoneError, RunStoppedError
from agentphone_async.models import Call
from agentphone_async.recordings.jobs import Job, Place, Settled
from agentphone_async.recordings.outcomes import Archived, was_left
from agentphone_async.recordings.stop import StopToken
from agentphone_async.sinks.erased import Tombstones
from agentphone_async.waiting import first_of

_log = logging.getLogger("agentphone_async.archive")

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
        catalog: Catalog,
        scope: Scope,
        options: RunOptions,
        observer: IsolatedObserver,
        sidecar_writers: Sequence[SidecarWriter],
    ) -> None:
        self._environment = environment
        self._client = client
        self._prefetcher = prefetcher
        self._catalog = catalog
        self._scope = scope
        self._options = options
        self._observer = observer
        self._sidecar_writers = list(sidecar_writers)
        # Sums are made of folders: they do not want to know of each call where it belongs.
        self._placing = bool(sidecar_writers or options.metadata or options.transcripts)
        self._report = Report()
        self._results = Results(self._report, observer, waits=options.wait > 0)
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
        self._began = environment.monotonic()

    def stop(self, reason: str, line: str) -> None:
        """Begin nothing more; drop what is under way after the grace.

        The first reason counts. That enough bytes have come is not a reason to drop what follows
        them. Who interrupts a run that is about to end already wants it to end at once.
        """
        first = not self._stopped.is_set()
        if first:
            self._stopped.set()
            self._report.stop_reason = reason
            self._report.stopped_because = line
            self._observer.stopping(line)
            self._prefetcher.stop()
            self._stop_token.close()
        if reason == "interrupted" != self._report.stop_reason:
            self._stop_token.drop()
        elif reason != "max_transfer" and self._dropping is None:
            loop = asyncio.get_running_loop()
            self._dropping = loop.call_later(self._options.stop_grace, self._stop_token.drop)

    async def go(self) -> Report:
        """Do it; `Archive.run` says what is raised."""
        limit = self._options.limits.max_duration
        timer = None
        if limit is not None:
            line = f"it has run for {limit:g} s"
            timer = asyncio.get_running_loop().call_later(limit, self.stop, "max_duration", line)
        observers = self._client.session.limits.observers
        bridge = LimitsBridge(self._observer, self._watcher.paused)
        observers.append(bridge)
        try:
            if self._options.dry_run:
                await self._rehearse()
            else:
                await self._archive()
        finally:
            if bridge in observers:
                observers.remove(bridge)
            self._client.session.limits.reopen()
            for handle in (timer, self._dropping):
                if handle is not None:
                    handle.cancel()
        return self._report

    async def _rehearse(self) -> None:
        planner = self._planner(names_of(self._options, None), None)
        async for tasks in self._planned(planner):
            for task in tasks:
                self._report.estimate(task.call.duration_seconds)
        self._conclude(left=0)

    async def _archive(self) -> None:
        catalog, options, scope = self._catalog, self._options, self._scope
        listing = "recent" if scope.recent else "full"
        now = self._environment.now()
        run = await catalog.transaction(begin_run, scope.selection, now, scope.account, listing)
        await catalog.transaction(reopen_of_dead, run, INCIDENT)
        await self._sweep(run)
        await self._share()
        names = names_of(options, await key_of_names(catalog, hash_ids=options.hash_ids))
        async with AsyncExitStack() as stack:
            environment = self._environment
            sidecars = sidecars_for(
                options, environment.folder, self._client, catalog, environment.files
            )
            if sidecars is not None:
                self._sidecar_writers.append(await stack.enter_async_context(sidecars))
            planner = self._planner(names, run)
            recorder = Recorder(self._environment.files, run, options.grace, options.min_age)
            async with aclosing(self._tasks_of(planner)) as tasks:
                await self._fetch(tasks, recorder)
            if options.wait > 0:
                await self._wait(run, names, recorder)
                self._results.tell_the_rest()
            await self._doubt(run)
            self._conclude(left=self._report.selected - self._report.settled)
            if not self._stopped.is_set():
                for writer in self._sidecar_writers:
                    await writer.finish(sorted(self._folders))
            if sidecars is not None:
                self._report.beside_failed = sidecars.failed
                self._report.problems += sidecars.problems()
        await self._finish(run)
        await self._share()

    async def _share(self) -> None:
        """Give what lies in this run's folders the modes that the archive is to have."""
        folder, mode = self._environment.folder, self._options.mode or "private"
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
                if self._stopped.is_set():
                    break
                self._report.listed += len(calls)
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
        if plan.writes and not self._options.dry_run:
            await self._catalog.transaction(planner.store, plan, now)
        report = self._report
        report.selected += plan.selected
        report.undated += plan.undated
        report.disputed += plan.disputed
        self._order.add(calls, {*plan.unknown, *plan.news})
        self._note_statuses(calls)
        if plan.selected:
            self._observer.selected(plan.selected)
        if plan.tasks:
            self._observer.planned([task.call for task in plan.tasks])
        for outcome in plan.settled:
            self._results.count(outcome)
        await self._process(plan.placed)
        self._folders.update(path.parent for path in plan.adopted)
        return plan.tasks

    def _note_statuses(self, calls: Sequence[Call]) -> None:
        """Which statuses the days have, for whoever asked for one that no call has."""
        selection = self._scope.selection
        if selection.status is None:
            return
        for call in calls:
            began = call.started_at or call.ended_at
            if began is None or selection.contains(began):
                status = call.status or "none"
                self._report.statuses[status] = self._report.statuses.get(status, 0) + 1

    async def _still_open(self, planner: Planner, seen: set[str]) -> AsyncGenerator[list[Task]]:
        """Ask by their ids for calls that earlier runs left open, where the list was left early."""
        await self._prefetcher.aclose()
        after, now, account = None, self._environment.now(), self._scope.account
        while ids := await self._catalog.run(open_calls, account, now, after):
            after = ids[-1]
            if self._stopped.is_set():
                return
            unseen = [call_id for call_id in ids if call_id not in seen]
            try:
                calls = await ask_by_id(self._client, unseen, self._stop_token)
            except AgentPhoneError as error:
                self._prefetcher.fail(error)
                return
            if calls:
                self._report.listed += len(calls)
                self._observer.listed(len(calls))
                yield await self._plan(planner, calls)

    async def _tasks_of(self, planner: Planner) -> AsyncGenerator[Job]:
        async with aclosing(self._planned(planner)) as planned:
            async for tasks in planned:
                for task in tasks:
                    if self._stopped.is_set():
                        break
                    yield job_of(task, dated=self._options.mtime)

    async def _fetch(self, jobs: AsyncGenerator[Job], recorder: Recorder) -> None:
        """Fetch what comes, and write down what becomes of it, until there is no more."""
        options, files = self._options, self._environment.files
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

    async def _wait(self, run: int, names: Names, recorder: Recorder) -> None:
        """Keep asking for what is not ready, with growing pauses, until the deadline."""
        poller = Poller(self._client, self._catalog, names, run, self._is_due, self._stop_token)
        clock, left, pause = self._environment.monotonic, self._options.wait, 2.0
        deadline = clock() + left
        while left > 0 and self._report.waitable and not self._stopped.is_set():
            pause = min(pause, left)
            _log.info(
                "%d recordings are not ready yet; asking again in %.0f s",
                self._report.waitable,
                pause,
                extra={"seconds": pause},
            )
            await first_of(self._environment.sleep(pause), self._stopped.wait())
            if self._stopped.is_set():
                return
            left = min(left - pause, deadline - clock())
            pause = min(pause * 1.5, 30.0)
            async with aclosing(self._polled(poller, deadline)) as calls:
                await self._fetch(calls, recorder)

    async def _polled(self, poller: Poller, deadline: float) -> AsyncGenerator[Job]:
        clock = self._environment.monotonic
        async with aclosing(poller.tasks(lambda: deadline - clock())) as tasks:
            async for task in tasks:
                yield job_of(task, dated=self._options.mtime)

    def _is_due(self, call: Call) -> bool:
        """Whether a call may be asked for now."""
        now = self._environment.now()
        young = is_too_young(call, self._options.min_age, now)
        return not self._stopped.is_set() and call.finished_at(now) and not young

    async def _process(self, placed: Sequence[Placed]) -> None:
        if placed and self._placing and not self._options.dry_run:
            for writer in self._sidecar_writers:
                with suppress(RunStoppedError):  # the next run meets these calls again
                    await self._stop_token.to_the_end(partial(writer.process, placed))

    async def _doubt(self, run: int) -> None:
        """Believe nothing final of what a server said that refused nearly everything."""
        answers = await self._catalog.run(answers_of, run)
        if answers.is_incident:
            await self._catalog.transaction(reopen, run, INCIDENT)
            self._report.add_incident(answers.absent, answers.failed, answers.fetched)

    def _conclude(self, *, left: int) -> None:
        report, stopped = self._report, self._stopped.is_set()
        report.left = left
        report.bytes = self._watcher.transferred
        whole = self._results.end_of_list(
            self._prefetcher, self._order, proved=self._proved, stopped=stopped
        )
        report.conclude()
        report.complete = whole and left == 0 and not stopped
        report.seconds = self._environment.monotonic() - self._began

    async def _finish(self, run: int) -> None:
        report, until = self._report, self._scope.selection.until
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
            unattended=bool(self._sidecar_writers) and self._stopped.is_set(),
            untidy=self._untidy,
            listing=report.listing,
        )

    def _planner(self, names: Names, run: int | None) -> Planner:
        placing = self._placing and run is not None
        tombstones = Tombstones.load(self._environment.folder)
        terms = Terms(self._environment.files, self._options, names, run, placing, tombstones)
        return Planner(terms, self._scope.selection)
