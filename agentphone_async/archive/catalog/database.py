"""The catalog of an archive: what is known of calls, recordings and runs, in one SQLite file.

One connection on one thread of its own: the event loop never waits for the disk, and writes of this
process never meet. Work comes as plain functions that take the connection (`calls`, `recordings`,
`runs`, `settings`), a batch at a time. `Catalog.run` never writes; `Catalog.transaction` keeps all
or nothing. The catalog never claims more than the disk holds: callers write a row only after its
file is there for good.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from traceback import clear_frames
from typing import Any, Concatenate, ParamSpec, TypeVar

from anyio.abc import AsyncResource

from agentphone_async.archive.catalog.opening import (
    catalog_error,
    connect,
    disconnect,
    in_memory,
    path_of,
)
from agentphone_async.archive.catalog.paths import CatalogConnection
from agentphone_async.errors import CatalogError
from agentphone_async.protocol.display import printable
from agentphone_async.sinks.threads import FilePool

P = ParamSpec("P")
T = TypeVar("T")
Work = Callable[Concatenate[CatalogConnection, P], T]


class Catalog(AsyncResource):
    """An open catalog; made by `open`, closed by `aclose` or as an async context manager.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path, connection: CatalogConnection, thread: FilePool) -> None:
        self.path = path
        self._connection = connection
        self._thread = thread
        self._closed = False
        self._file = _file_of(path) if connection.writes else None
        connection.execute("PRAGMA query_only = ON")

    def __repr__(self) -> str:
        return f"<Catalog {self.path}>"

    @classmethod
    async def open(cls, folder: Path, *, write: bool = True) -> Catalog:
        """Open the catalog of the archive in ``folder``.

        Args:
            folder: the archive; made, as the catalog is, if it is to be written.
            write: False opens what is there for reading, also while a run writes.

        Raises:
            CatalogError: it is not ours, damaged, newer than we are, or not accessible; or there
                is none to be read.
            DestinationError: the folder cannot be made.
        """
        thread = FilePool(1)
        opened: list[CatalogConnection] = []
        try:
            await thread.run(lambda: opened.append(connect(folder, write=write)))
        except BaseException:  # it is open all the same, if this was cancelled meanwhile
            for connection in opened:
                disconnect(connection)
            thread.close()
            raise
        return cls(path_of(folder), opened[0], thread)

    @classmethod
    async def in_memory(cls) -> Catalog:
        """An empty catalog that leaves no trace."""
        thread = FilePool(1)
        return cls(Path(":memory:"), await thread.run(in_memory), thread)

    async def aclose(self) -> None:
        """Close it; fine at any time, also twice."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._thread.run(disconnect, self._connection)
        finally:
            self._thread.close()

    async def run(self, work: Work[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work(connection, …)`` on the catalog's thread; SQLite refuses it to write.

        Raises:
            CatalogError: SQLite failed; what else ``work`` raises passes.
        """
        return await self._thread.run(self._guarded, lambda db: work(db, *args, **kwargs))

    async def transaction(self, work: Work[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for work that writes: all of it is kept, or nothing."""
        return await self._thread.run(self._guarded, lambda db: self._write(db, work, args, kwargs))

    def _write(self, db: CatalogConnection, work: Callable[..., T], args: Any, kwargs: Any) -> T:
        db.execute("PRAGMA query_only = OFF")
        try:
            return in_transaction(db, lambda: self._checked(work(db, *args, **kwargs)))
        finally:
            db.execute("PRAGMA query_only = ON")

    def _checked(self, result: T) -> T:
        """Commit only to the catalog that everybody else sees.

        Raises:
            CatalogError: it was replaced or removed since it was opened.
        """
        if self._file is not None and _file_of(self.path) != self._file:
            shown = printable(os.fspath(self.path), 300)
            raise CatalogError(
                f"the catalog {shown} was replaced or removed while it was in use; what was "
                "fetched is on the disk: run again",
                filename=os.fspath(self.path),
            )
        return result

    def _guarded(self, work: Callable[[CatalogConnection], T]) -> T:
        try:
            return work(self._connection)
        except sqlite3.Error as error:
            raise catalog_error(error, self.path) from error
        except BaseException as error:
            # A query that is half read holds the file, and the error's frames would hold the query.
            clear_frames(error.__traceback__)
            raise


def _file_of(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - hot
    except OSError:
        return None
    return status.st_dev, status.st_ino


def in_transaction(connection: sqlite3.Connection, work: Callable[[], T]) -> T:
    """Run ``work`` so that all that it writes is kept, or nothing; for the catalog's thread."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work()
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has rolled back by itself
            connection.execute("ROLLBACK")
        raise
    return result
