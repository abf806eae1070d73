"""The catalog of an archive: what is known of calls, recordings and runs, in one SQLite file.

SQLite in WAL mode, one connection on one thread of its own: the event loop never waits for the
disk, and writes of this process never meet. Work comes as plain functions that take the connection
(`calls`, `recordings`, `runs`), a batch at a time. The catalog never claims more than the disk
holds: callers write a row only after its file is there for good.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

from agentphone_async.archive.catalog.connection import catalog_error, connect, in_memory, path_of
from agentphone_async.sinks.threads import FilePool

P = ParamSpec("P")
T = TypeVar("T")
Work = Callable[Concatenate[sqlite3.Connection, P], T]


class Catalog:
    """An open catalog; made by `open`, closed by `aclose` or as an async context manager.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, thread: FilePool) -> None:
        self.path = path
        self._connection = connection
        self._thread = thread
        self._closed = False

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
        opened: list[sqlite3.Connection] = []
        try:
            await thread.run(lambda: opened.append(connect(folder, write=write)))
        except BaseException:  # it is open all the same, if this was cancelled meanwhile
            for connection in opened:
                connection.close()
            thread.close()
            raise
        return cls(path_of(folder), opened[0], thread)

    @classmethod
    async def in_memory(cls) -> Catalog:
        """An empty catalog that leaves no trace."""
        thread = FilePool(1)
        return cls(Path(":memory:"), await thread.run(in_memory), thread)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close it; fine at any time, also twice."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._thread.run(self._connection.close)
        finally:
            self._thread.close()

    async def read(self, work: Work[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work(connection, …)`` on the catalog's thread.

        Raises:
            CatalogError: SQLite failed; what else ``work`` raises passes.
        """
        return await self._thread.run(self._guarded, lambda db: work(db, *args, **kwargs))

    async def write(self, work: Work[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The same in one transaction: all of it is kept, or nothing."""
        return await self._thread.run(
            self._guarded, lambda db: in_transaction(db, lambda: work(db, *args, **kwargs))
        )

    def _guarded(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return work(self._connection)
        except sqlite3.Error as error:
            raise catalog_error(error, self.path) from error


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
