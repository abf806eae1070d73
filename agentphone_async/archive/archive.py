"""`Archive`: a folder that holds every recording of an account, and loses none."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.opening import inspect
from agentphone_async.archive.catalog.runs import BEGINNING, last_covered, last_full_listing
from agentphone_async.archive.catalog.settings import known_scope_key, scope_key, scope_of
from agentphone_async.archive.erase import resume
from agentphone_async.archive.files.storage import Environment, Files, LocalFiles, free_space
from agentphone_async.archive.lock import ArchiveLock
from agentphone_async.archive.observer import IsolatedObserver, Observer
from agentphone_async.archive.options import RunOptions, Scope, SidecarWriter
from agentphone_async.archive.prefetch import GivenCalls, Prefetcher
from agentphone_async.archive.report import Report
from agentphone_async.archive.run import Run
from agentphone_async.archive.selection import Selection
from agentphone_async.archive.settings_file import (
    keep_marks,
    load_settings,
    remember,
    resolved,
    restore_marks,
)
from agentphone_async.client import AsyncAgentPhone
from agentphone_async.errors import ArchiveLockedError, ConfigurationError, DestinationError
from agentphone_async.models import Call
from agentphone_async.protocol.display import printable
from agentphone_async.sinks.disk import refuse_unwritable
from agentphone_async.sinks.local import Fsync


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


class Archive:
    """Recordings in a folder, with a catalog of what is there and what is still missing.

    Running it again, for the same or an overlapping range, fetches only what is missing. After a
    crash at any moment, each file under its final name is whole, and the next run continues.

    Args:
        folder: where it is, or will be; files in it are private to the user (0600, 0700).
        files: where its files lie; in ``folder`` by default, which then holds catalog and lock
            only.
        now: the wall clock, for the ages of calls.
        monotonic: seconds, for how long things take.
        sleep: goes with ``monotonic``.
        free: bytes free in a folder.
    """

    def __init__(
        self,
        folder: str | Path,
        files: Files | None = None,
        *,
        now: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        free: Callable[[Path], int] = free_space,
    ) -> None:
        self.folder = Path(folder)
        files = files or LocalFiles(self.folder)
        self._environment = Environment(self.folder, files, now, monotonic, sleep, free)
        self._run: Run | None = None
        self._at_work = False
        self._stopped: tuple[str, str] | None = None

    def __repr__(self) -> str:
        return f"<Archive {os.fspath(self.folder)!r}>"

    @property
    def files(self) -> Files:
        """Where its files lie."""
        return self._environment.files

    def stop(self, reason: str = "interrupted", line: str = "it was interrupted") -> None:
        """End the run gently; to be called in its event loop's thread, for instance on SIGINT.

        No further work is begun; what is under way gets ``RunOptions.stop_grace`` seconds and is
        then dropped; the run returns with its report. Before a run, it ends that at once.
        """
        self._stopped = self._stopped or (reason, line)
        if self._run is not None:
            self._run.stop(reason, line)

    async def run(
        self,
        client: AsyncAgentPhone,
        selection: Selection | None = None,
        options: RunOptions | None = None,
        *,
        observer: Observer | None = None,
        sidecar_writers: Sequence[SidecarWriter] = (),
        calls: Iterable[Call] | AsyncIterable[Call] | None = None,
    ) -> Report:
        """List all calls, and download the recordings of those that are selected and missing.

        Whatever the selection's days, calls that an earlier run left as not ready or failed are
        asked for again if its filters let them pass. What becomes of single calls is counted;
        exceptions mean that the run is broken. Nothing is made in the folder before the first
        page of calls has arrived.

        Args:
            client: an open client with an API key.
            selection: which calls; all by default.
            options: how; see `RunOptions`.
            observer: told how it goes; cannot disturb it.
            sidecar_writers: what else is written beside recordings.
            calls: these instead of the account's list, as for one of several shards. Such a run
                is none that ``since_last`` resumes from.

        Returns:
            The counts, also of a run that was stopped or whose list broke off.

        Raises:
            ConfigurationError: ``since_last``, and no run was complete so far.
            ArchiveLockedError: another run is at work here.
            CatalogError: it is somebody else's, damaged, too new, or was replaced meanwhile.
            DestinationError: the disk is full, read-only or not permitted. What was written into
                the catalog before is on the disk, and nothing partial is left.
            AuthenticationError, PermissionDeniedError: the API key was refused.
            AgentPhoneError: not even the first page of calls could be fetched.
        """
        listing = client.calls.list() if calls is None else GivenCalls(calls)
        with self._alone():
            there = self._look(dry=bool(options and options.dry_run))
            options = resolved(options or RunOptions(), load_settings(self.folder))
            scope = await self._scope(client, selection or Selection(), options, there=there)
            if calls is not None:
                scope = replace(scope, recent=False, covers=False)
            async with aclosing(Prefetcher(listing, recent=scope.recent)) as prefetcher:
                self._run = run = Run(
                    self._environment,
                    client,
                    prefetcher,
                    scope,
                    options,
                    IsolatedObserver(observer),
                    () if options.dry_run else sidecar_writers,
                )
                await prefetcher.open()
                if self._stopped is not None and not run.stopped:
                    run.stop(*self._stopped)
                if run.stopped and prefetcher.empty_handed:
                    return run.report
                return await self._with_list(run, client, there=there)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if self._at_work:
            raise RuntimeError("this archive is at work already")
        self._at_work = True
        try:
            yield
        finally:
            if self._run is not None:
                self._run.close()
            self._run = self._stopped = None
            self._at_work = False

    async def _with_list(self, run: Run, client: AsyncAgentPhone, *, there: bool) -> Report:
        options = run.options
        if options.dry_run:
            opened = Catalog.open(self.folder, write=False) if there else Catalog.in_memory()
            async with await opened as catalog:
                return await run.go(catalog)
        lock = ArchiveLock(self.folder)
        try:
            await lock.wait(options.wait_lock, self._environment.sleep, lambda: run.stopped)
        except ArchiveLockedError:
            if run.stopped:
                return run.report
            raise
        with lock:
            async with await Catalog.open(self.folder) as catalog:
                await resume(self.folder, catalog)
                if not there:
                    await catalog.transaction(restore_marks, self.folder)
                remember(self.folder, options)
                account = _account(await catalog.transaction(scope_key), client)
                report = await run.go(catalog, account)
                durable = options.fsync is not Fsync.OFF
                await keep_marks(self.folder, catalog, durable=durable)
                return report

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

    async def _scope(
        self, client: AsyncAgentPhone, selection: Selection, options: RunOptions, *, there: bool
    ) -> Scope:
        """What the run is about, as far as earlier runs of the same account tell."""
        now = self._environment.now()
        covered = full = None
        if there:
            async with await Catalog.open(self.folder, write=False) as catalog:
                key = await catalog.run(known_scope_key)
                account = None if key is None else _account(key, client)
                covered = await catalog.run(last_covered, selection, account)
                full = await catalog.run(last_full_listing, account)
        if options.since_last:
            selection = _since_last(selection, options, covered)
        recent = (
            not options.full_list
            and not options.dry_run
            and selection.since is not None
            and full is not None
            and now - full < options.full_list_every
        )
        return Scope(selection, now, recent=recent)


def _since_last(selection: Selection, options: RunOptions, covered: datetime | None) -> Selection:
    if covered is None:
        raise ConfigurationError(
            "there is no complete run of this archive, with this API key, base URL and these "
            "filters, to resume from; give a date first, such as --since 7d"
        )
    if covered == BEGINNING:
        return replace(selection, since=None)
    since = covered - options.overlap
    if selection.until is not None and since >= selection.until:
        since = selection.until - options.overlap
    return replace(selection, since=since)


def _account(key: bytes, client: AsyncAgentPhone) -> str:
    settings = client.settings
    return scope_of(key, settings.base_url, settings.api_key, settings.sub_account)
