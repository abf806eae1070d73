"""`Archive`: a folder that holds every recording of an account, and loses none."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from agentphone_async.archive.catalog.database import Catalog, inspect
from agentphone_async.archive.catalog.runs import last_covered
from agentphone_async.archive.erase import resume
from agentphone_async.archive.lock import ArchiveLock
from agentphone_async.archive.observer import IsolatedObserver, Observer
from agentphone_async.archive.options import Companion, RunOptions
from agentphone_async.archive.report import Report
from agentphone_async.archive.run.gate import free_space
from agentphone_async.archive.run.intake import Intake
from agentphone_async.archive.run.run import Environment, Run
from agentphone_async.archive.selection.coverage import BEGINNING
from agentphone_async.archive.selection.selection import Selection
from agentphone_async.client import AsyncAgentPhone
from agentphone_async.errors import ArchiveLockedError, ConfigurationError, DestinationError
from agentphone_async.protocol.display import printable
from agentphone_async.sinks.disk import refuse_unwritable


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


class Archive:
    """Recordings in a folder, with a catalog of what is there and what is still missing.

    Running it again, for the same or an overlapping range, fetches only what is missing. After a
    crash at any moment, each file under its final name is whole, and the next run goes on.

    Args:
        folder: where it is, or will be; files in it are private to the user (0600, 0700).
        now: the wall clock, for the ages of calls.
        monotonic: seconds, for how long things take.
        sleep: goes with ``monotonic``.
        free: bytes free in a folder.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        now: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        free: Callable[[Path], int] = free_space,
    ) -> None:
        self.folder = Path(folder)
        self._environment = Environment(self.folder, now, monotonic, sleep, free)
        self._run: Run | None = None
        self._intake: Intake | None = None
        self._stopped: tuple[str, str] | None = None

    def __repr__(self) -> str:
        return f"<Archive {os.fspath(self.folder)!r}>"

    def stop(self, reason: str = "interrupted", line: str = "it was interrupted") -> None:
        """End the run gently; to be called in its event loop's thread, for instance on SIGINT.

        No further work is begun; what is under way gets ``RunOptions.stop_grace`` seconds and is
        then dropped; the run returns with its report. Before a run, it ends that at once.
        """
        self._stopped = self._stopped or (reason, line)
        if self._run is not None:
            self._run.stop(reason, line)
        elif self._intake is not None:
            self._intake.stop()

    async def run(
        self,
        client: AsyncAgentPhone,
        selection: Selection | None = None,
        options: RunOptions | None = None,
        *,
        observer: Observer | None = None,
        companions: Sequence[Companion] = (),
    ) -> Report:
        """List all calls, and bring the recordings of those that are selected and missing.

        Whatever the selection's days, calls that an earlier run left as not ready or failed are
        asked for again if its filters let them pass. What becomes of single calls is counted;
        exceptions mean that the run is broken. Nothing is made in the folder before the first
        page of calls has arrived.

        Args:
            client: an open client with an API key.
            selection: which calls; all by default.
            options: how; see `RunOptions`.
            observer: told how it goes; cannot disturb it.
            companions: what is written beside recordings.

        Returns:
            The counts, also of a run that was stopped or whose list broke off.

        Raises:
            ConfigurationError: ``since_last``, and no run was complete so far.
            ArchiveLockedError: another run is at work here.
            CatalogError: the catalog is somebody else's, damaged, or newer than we are.
            DestinationError: the disk is full, read-only or not permitted. What was written into
                the catalog before is on the disk, and nothing partial is left.
            AuthenticationError, PermissionDeniedError: the API key was refused.
            AgentPhoneError: not even the first page of calls could be had.
        """
        if self._intake is not None:
            raise RuntimeError("this archive is at work already")
        options = options or RunOptions()
        selection = selection or Selection()
        told = IsolatedObserver(observer)
        there = self._look(dry=options.dry_run)
        if options.since_last:
            selection = await self._since_last(selection, options, there=there)
        intake = self._intake = Intake(client.calls.list())
        try:
            await intake.open()
            if self._stopped is not None and intake.empty_handed:
                return self._nothing(told)
            if options.dry_run:
                return await self._dry(client, intake, selection, options, told, there=there)
            return await self._locked(client, intake, selection, options, told, companions)
        finally:
            self._intake = self._stopped = None
            await intake.aclose()

    async def _locked(
        self,
        client: AsyncAgentPhone,
        intake: Intake,
        selection: Selection,
        options: RunOptions,
        told: IsolatedObserver,
        companions: Sequence[Companion],
    ) -> Report:
        lock = ArchiveLock(self.folder)
        try:
            await lock.wait(
                options.wait_lock, self._environment.sleep, lambda: self._stopped is not None
            )
        except ArchiveLockedError:
            if self._stopped is not None:
                return self._nothing(told)
            raise
        with lock:
            async with await Catalog.open(self.folder) as catalog:
                await resume(self.folder, catalog)
                return await self._with(
                    client, intake, catalog, selection, options, told, companions
                )

    def _nothing(self, told: IsolatedObserver) -> Report:
        """The report of a run that was stopped before it began."""
        reason, line = self._stopped or ("interrupted", "it was interrupted")
        told.stopping(line)
        return Report(stop_reason=reason, stopped_because=line)

    def _look(self, *, dry: bool) -> bool:
        """Whether there is a catalog; complains about a destination that cannot work at all."""
        if self.folder.exists() and not self.folder.is_dir():
            shown = printable(os.fspath(self.folder), 300)
            raise DestinationError(
                f"{shown} is a file; name a folder", filename=os.fspath(self.folder)
            )
        there = inspect(self.folder)
        if not dry:
            refuse_unwritable(self.folder)
        return there

    async def _since_last(
        self, selection: Selection, options: RunOptions, *, there: bool
    ) -> Selection:
        moment = None
        if there:
            async with await Catalog.open(self.folder, write=False) as catalog:
                moment = await catalog.run(last_covered, selection)
        if moment is None:
            raise ConfigurationError(
                "there is no complete run of this archive to go on from; give a date first, such "
                "as --since 7d"
            )
        if moment == BEGINNING:
            return replace(selection, since=None)
        since = moment - options.overlap
        if selection.until is not None and since >= selection.until:
            since = selection.until - options.overlap
        return replace(selection, since=since)

    async def _dry(
        self,
        client: AsyncAgentPhone,
        intake: Intake,
        selection: Selection,
        options: RunOptions,
        told: IsolatedObserver,
        *,
        there: bool,
    ) -> Report:
        opened = Catalog.open(self.folder, write=False) if there else Catalog.in_memory()
        async with await opened as catalog:
            return await self._with(client, intake, catalog, selection, options, told, ())

    async def _with(
        self,
        client: AsyncAgentPhone,
        intake: Intake,
        catalog: Catalog,
        selection: Selection,
        options: RunOptions,
        told: IsolatedObserver,
        companions: Sequence[Companion],
    ) -> Report:
        run = Run(self._environment, client, intake, catalog, selection, options, told, companions)
        self._run = run
        try:
            if self._stopped is not None:
                run.stop(*self._stopped)
            return await run.go()
        finally:
            self._run = None
