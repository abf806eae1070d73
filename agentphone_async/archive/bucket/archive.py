"""An archive in a bucket: a run like any other, between bringing the cache up to date and sending.

While a run is in progress, what it has written down is sent every few seconds, so that a machine
that dies loses little; objects of which no manifest tells are found again by the next run.
"""

from __future__ import annotations

import contextlib
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Callable,
    Coroutine,
    Iterable,
    Sequence,
)
from dataclasses import replace
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, TypeVarTuple, Unpack

import anyio

from agentphone_async.archive.archive import Archive
from agentphone_async.archive.bucket.identity import no_archive
from agentphone_async.archive.bucket.objects import BucketFiles
from agentphone_async.archive.bucket.store import Store, default_cache
from agentphone_async.archive.observer import Observer
from agentphone_async.archive.options import RunOptions, SidecarWriter
from agentphone_async.archive.report import Report
from agentphone_async.archive.selection import Selection
from agentphone_async.client import AsyncAgentPhone
from agentphone_async.errors import DestinationError
from agentphone_async.models import Call
from agentphone_async.sinks.bucket import Bucket
from agentphone_async.sinks.threads import FilePool

EVERY = 5.0
"""Seconds after which what is new is sent."""

P = ParamSpec("P")
T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


@contextlib.asynccontextmanager
async def meanwhile(
    work: Callable[[Unpack[Arguments]], Coroutine[Any, Any, None]], *args: *Arguments
) -> AsyncGenerator[None]:
    """Do something else during a block. What fails in either ends both, and is raised as it is."""
    failure: Exception | None = None
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(work, *args)
            try:
                yield
            except Exception as error:  # noqa: BLE001 - raised below: a group would wrap it
                failure = error
            group.cancel_scope.cancel()
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    if failure is not None:
        raise failure


class BucketArchive:
    """Recordings as objects below one prefix; the catalog here is a cache of what manifests say.

    Any number of machines may work on one at once. Names are hashed, since keys of objects turn up
    in logs and bills, and a call's id is all that is needed to hear its recording.

    Args:
        where: a URL as for `ObjectSink.from_url`, or a bucket.
        cache: folder for the catalog; by default one in the user's folder for caches.
        hash_ids: False names objects by the calls' ids; only for an archive that is new.
        run: names this process's manifests; by default time and chance.
        shard: the part of the larger work ``run``, if it is one: the cache then has nothing else.
        settings: further ones of `Archive`, for tests.
    """

    def __init__(
        self,
        where: str | Bucket,
        cache: str | Path | None = None,
        *,
        hash_ids: bool = True,
        run: str | None = None,
        shard: int | None = None,
        **settings: Any,
    ) -> None:
        self.bucket = Bucket.from_url(where) if isinstance(where, str) else where
        self.cache = default_cache(self.bucket.url) if cache is None else Path(cache)
        self._store = Store(self.bucket, self.cache, run=run, shard=shard, hash_ids=hash_ids)
        self._files = BucketFiles(self.bucket, self.cache)
        self._archive = Archive(self.cache, self._files, **settings)
        self._failure: DestinationError | None = None
        self._thread: FilePool

    @property
    def folder(self) -> Path:
        """Where the catalog is on this machine: the cache."""
        return self.cache

    @property
    def files(self) -> BucketFiles:
        """What is in the bucket, as a run sees it."""
        return self._files

    def __repr__(self) -> str:
        return f"<BucketArchive {self.bucket.url}>"

    def stop(self, reason: str = "interrupted", line: str = "it was interrupted") -> None:
        """End the run gently; see `Archive.stop`."""
        self._archive.stop(reason, line)

    async def run(
        self,
        client: AsyncAgentPhone,
        selection: Selection | None = None,
        options: RunOptions | None = None,
        *,
        observer: Observer | None = None,
        sidecar_writers: Sequence[SidecarWriter] = (),
        calls: Iterable[Call] | AsyncIterable[Call] | None = None,
        ready: Callable[[], object] = lambda: None,
    ) -> Report:
        """Archive what is selected and missing, as `Archive.run` does.

        ``ready`` is called when the store has answered, and the API is going to be asked.

        Raises:
            DestinationError: the bucket cannot be used; the message says why.
            CatalogError: a manifest is damaged or newer than we are; or the cache is of another
                archive.
        """
        options = replace(options or RunOptions(), checksums=False)
        async with self.opened(make=not options.dry_run) as there:
            ready()
            run = self._archive.run(
                client,
                selection,
                options,
                observer=observer,
                sidecar_writers=sidecar_writers,
                calls=calls,
            )
            if not there or options.dry_run:
                return await run
            try:
                async with meanwhile(self._keep_sending):
                    report = await run
            finally:
                if self._failure is None:
                    await self.do(Store.push)
        if self._failure is not None:
            raise self._failure
        return report

    @contextlib.asynccontextmanager
    async def opened(self, *, make: bool = False) -> AsyncGenerator[bool]:
        """Bring the cache up to date; False if the archive is missing and must not be made."""
        self._thread = FilePool(1)
        self._failure = None
        try:
            yield await self._thread.run(self._open, make=make)
        finally:
            await self._thread.run(self._store.close)
            self._thread.close()
            self._files.close()

    @contextlib.asynccontextmanager
    async def opened_existing(self) -> AsyncGenerator[None]:
        """`opened`, for what needs an archive that is there.

        Raises:
            CatalogError: there is none.
        """
        async with self.opened() as there:
            if not there:
                raise no_archive(self.bucket.url)
            yield

    async def do(
        self, work: Callable[Concatenate[Store, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do something with the store, within `opened`, on the thread that it belongs to."""
        return await self._thread.run(work, self._store, *args, **kwargs)

    async def ask(self, work: Callable[..., T], *args: object) -> T:
        """Ask the cache, within `opened`."""
        return await self._thread.run(lambda: work(self._store.connection, *args))

    def _open(self, *, make: bool) -> bool:
        if not self._store.open(make=make):
            return False
        if self._store.pull():  # first, since it drops what was erased meanwhile
            self._files.unlikely = False
        if make:
            self._store.push()  # what a run that was killed has not sent
        return True

    async def _keep_sending(self) -> None:
        """Send what is new, until cancelled; if that fails, the run has to end."""
        while True:
            await anyio.sleep(EVERY)
            try:
                await self.do(Store.push)
            except DestinationError as error:
                self._failure = error
                self._archive.stop("destination", str(error))
                return
