"""The inbox: events of calls that ended, on the disk before their delivery is acknowledged.

One row a call, however often its event comes and under whatever delivery id: the id is not signed,
so nothing is decided by it. An event that says nothing new changes nothing; one that does (a
summary that came later) makes the call due again.

Deliveries that arrive together share one transaction, with ``synchronous = FULL``: what was
acknowledged survives a power cut.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from anyio.abc import AsyncResource

from agentphone_async.archive.catalog.database import in_transaction
from agentphone_async.errors import CatalogError, DestinationError
from agentphone_async.protocol.display import printable
from agentphone_async.sinks.disk import FILE_MODE, FOLDER_MODE, destination_errors
from agentphone_async.sinks.threads import FilePool
from agentphone_async.web import inbox_rows as rows
from agentphone_async.web.facts import Facts
from agentphone_async.web.inbox_rows import APPLICATION_ID, TABLES, VERSION, Delivery, Waiting
from agentphone_async.web.search import FILE_NAME as INDEX_NAME

T = TypeVar("T")

FILE_NAME = "inbox.sqlite3"
"""In the archive's folder, beside the catalog."""

KEPT = 7 * 86400.0
"""Seconds for which calls that are done are remembered, so that late copies change nothing."""


class InboxFullError(DestinationError):
    """The inbox could not keep an event; its sender is to try again."""


class Inbox(AsyncResource):
    """Made by `open`, closed by `aclose` or as an async context manager."""

    def __init__(self, path: Path, connection: sqlite3.Connection, thread: FilePool) -> None:
        self.path = path
        self.changed = asyncio.Event()
        self._connection = connection
        self._thread = thread
        self._pending: list[tuple[Delivery, asyncio.Future[bool]]] = []
        self._flushing: asyncio.Task[None] | None = None
        self._closed = False

    @classmethod
    async def open(cls, folder: Path) -> Inbox:
        """Open the inbox of the archive in ``folder``; it is made if there is none.

        Raises:
            CatalogError: it is not ours, damaged, newer than we are, or cannot be written.
            DestinationError: the folder cannot be made.
        """
        thread = FilePool(1)
        try:
            connection = await thread.run(_connect, folder, None)
        except BaseException:
            thread.close()
            raise
        if connection is None:
            raise RuntimeError("an inbox that may be made was not made")
        return cls(folder / FILE_NAME, connection, thread)

    async def aclose(self) -> None:
        """Finish what is being written, and close; fine also twice."""
        if self._closed:
            return
        self._closed = True
        if self._flushing is not None:
            await asyncio.wait([self._flushing])
        try:
            await self._thread.run(self._connection.close)
        finally:
            self._thread.close()

    async def add(self, call_id: str, facts: Facts, body_hash: bytes, now: float) -> bool:
        """Keep an event; when this returns, it is on the disk.

        Returns:
            Whether it was news.

        Raises:
            InboxFullError: it could not be kept, for instance because the disk is full.
        """
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._pending.append((Delivery(call_id, facts, body_hash, now), future))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush(), name="agentphone-inbox")
        return await future

    async def due(self, now: float, most: int, besides: Collection[str] = ()) -> list[Waiting]:
        """Calls to be looked at now, the longest due first, without those in ``besides``."""
        return await self._run(rows.due, now, most, frozenset(besides))

    async def is_due(self, now: float, *, fresh: bool = False) -> bool:
        """Whether a call is to be looked at now; with ``fresh``, one that never was."""
        return await self._run(partial(rows.is_due, fresh=fresh), now)

    async def next_due(self) -> float | None:
        """When the next call is to be looked at, in Unix time; None if none is waiting."""
        return await self._run(rows.next_due)

    async def of(self, call_ids: Sequence[str]) -> dict[str, Waiting]:
        """Of these calls, those that wait in the inbox."""
        return await self._run(rows.of, call_ids)

    async def later(self, call_ids: Sequence[str], due: float) -> None:
        """Look at these calls again, not before ``due``."""
        await self._run(rows.later, call_ids, due)

    async def done(self, waiting: Sequence[Waiting], state: str) -> None:
        """These calls need nothing more, unless news has come meanwhile."""
        await self._run(rows.done, waiting, state)

    async def drop(self, call_ids: Sequence[str]) -> None:
        """Forget these calls."""
        await self._run(rows.drop, call_ids)

    async def prune(self, now: float) -> None:
        """Forget what is done and older than `KEPT`."""
        await self._run(rows.prune, now - KEPT)

    async def waiting(self) -> tuple[int, float | None]:
        """How many calls wait, and since when the oldest does, in Unix time."""
        return await self._run(rows.waiting)

    async def _flush(self) -> None:
        while self._pending:
            batch, self._pending = self._pending, []
            try:
                news = await self._thread.run(self._guarded, rows.add, [item for item, _ in batch])
            except DestinationError as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(_not_kept(error))
            else:
                for (_, future), new in zip(batch, news, strict=True):
                    if not future.done():
                        future.set_result(new)
                if any(news):
                    self.changed.set()

    async def _run(self, work: Callable[..., T], *args: Any) -> T:
        return await self._thread.run(self._guarded, work, *args)

    def _guarded(self, work: Callable[..., T], *args: Any) -> T:
        try:
            return in_transaction(self._connection, partial(work, self._connection, *args))
        except sqlite3.Error as error:
            raise _error(error, self.path) from error


def forget(folder: Path, call_ids: Sequence[str]) -> int:
    """Remove what the inbox has of these calls; blocking. Returns how many it had.

    The index of `serve` goes as a whole: it has what was said, and can be made again.

    Raises:
        CatalogError: the inbox cannot be written.
        DestinationError: the index cannot be removed.
    """
    for suffix in ("", "-wal", "-shm") if call_ids else ():
        index = folder / (INDEX_NAME + suffix)
        with destination_errors(index):
            index.unlink(missing_ok=True)
    path = folder / FILE_NAME
    if not path.exists():
        return 0
    connection = _connect(folder, path)
    if connection is None:
        return 0
    try:
        return in_transaction(connection, partial(rows.drop, connection, call_ids))
    except sqlite3.Error as error:
        raise _error(error, path) from error
    finally:
        connection.close()


def _not_kept(error: DestinationError) -> InboxFullError:
    return InboxFullError(error.message, errno=error.errno, filename=error.filename)


def _error(error: sqlite3.Error, path: Path) -> CatalogError:
    shown, said = printable(os.fspath(path), 300), printable(str(error), 120)
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        line = f"cannot write the inbox {shown}: the disk is full; make room"
    elif code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        line = f"the inbox {shown} is damaged ({said}); move it away and start again"
    else:
        line = f"the inbox {shown} cannot be used: {said}; check owner, mode and disk"
    return CatalogError(line, filename=os.fspath(path))


def _connect(folder: Path, there: Path | None) -> sqlite3.Connection | None:
    path = folder / FILE_NAME
    if there is None:
        with destination_errors(folder):
            folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE_MODE))
    try:
        connection = sqlite3.connect(
            path, timeout=30, isolation_level=None, check_same_thread=False
        )
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise _error(error, path) from error
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    shown = printable(os.fspath(path), 300)
    if application not in {0, APPLICATION_ID}:
        raise CatalogError(f"{shown} belongs to another program; move it away")
    if version > VERSION:
        raise CatalogError(
            f"{shown} has schema {version}, and this version of agentphone-async knows {VERSION} "
            "at most; update agentphone-async"
        )
    with suppress(sqlite3.OperationalError):  # without shared memory maps it stays as it is
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    if version == 0:
        in_transaction(connection, partial(_make, connection))


def _make(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version:
        return  # another process was faster
    for statement in TABLES.split(";\n"):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
