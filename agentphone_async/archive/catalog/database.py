"""The catalog of an archive: what is known of calls, recordings and runs, in one SQLite file.

One connection on one thread of its own: the event loop never waits for the disk, and writes of this
process never meet. Work comes as plain functions that take the connection (`calls`, `recordings`,
`runs`, `settings`), a batch at a time. `Catalog.run` never writes; `Catalog.transaction` keeps all
or nothing. The catalog never claims more than the disk holds: callers write a row only after its
file is there for good.

The file is looked at before anything is changed: is it ours, and may it be opened?
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from agentphone_async.archive.catalog.paths import CatalogConnection
from agentphone_async.archive.catalog.schema import (
    APPLICATION_ID,
    FILE_NAME,
    migrate,
    refuse_newer,
    version_of,
)
from agentphone_async.errors import CatalogError
from agentphone_async.protocol.display import printable
from agentphone_async.sinks.disk import FILE_MODE, FOLDER_MODE, destination_errors
from agentphone_async.sinks.threads import FilePool

P = ParamSpec("P")
T = TypeVar("T")
Work = Callable[Concatenate[CatalogConnection, P], T]

BUSY_SECONDS = 30.0
"""How long a write waits for another process's transaction."""

_MAGIC = b"SQLite format 3\0"
_REBUILD = "put it aside and run 'agentphone-async catalog rebuild'"
_FULL = frozenset({sqlite3.SQLITE_FULL})
_READ_ONLY = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})


class Catalog:
    """An open catalog; made by `open`, closed by `aclose` or as an async context manager.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path, connection: CatalogConnection, thread: FilePool) -> None:
        self.path = path
        self._connection = connection
        self._thread = thread
        self._closed = False
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
            return in_transaction(db, lambda: work(db, *args, **kwargs))
        finally:
            db.execute("PRAGMA query_only = ON")

    def _guarded(self, work: Callable[[CatalogConnection], T]) -> T:
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


def path_of(folder: Path) -> Path:
    """Where the catalog of an archive is."""
    return folder / FILE_NAME


def inspect(folder: Path) -> bool:
    """Whether there is a catalog; by reading the file's header, so that nothing is changed.

    Raises:
        CatalogError: it is somebody else's, damaged, newer than we are, or not accessible.
    """
    path = path_of(folder)
    shown = printable(os.fspath(path), 300)
    with destination_errors(path):
        try:
            status = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
    if not stat.S_ISREG(status.st_mode):
        raise CatalogError(f"{shown} is no file; move it away", filename=os.fspath(path))
    if status.st_size == 0:
        return False  # we were killed before the first page was written
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except OSError as error:
        raise CatalogError(
            f"cannot read the catalog {shown}: {error.strerror}; check owner and mode",
            errno=error.errno,
            filename=os.fspath(path),
        ) from error
    if not header.startswith(_MAGIC) or len(header) < 100:
        raise CatalogError(
            f"{shown} is no catalog of ours, or its beginning is damaged; if the archive is "
            f"yours, {_REBUILD}, otherwise choose another destination",
            filename=os.fspath(path),
        )
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise CatalogError(
            f"{shown} belongs to another program; choose another destination, or move it away",
            filename=os.fspath(path),
        )
    refuse_newer(int.from_bytes(header[60:64], "big"), shown)
    return True


def connect(folder: Path, *, write: bool) -> CatalogConnection:
    """Open the catalog of an archive, made and migrated if it is to be written.

    The file is 0600 from its first moment, since it holds call ids; SQLite gives its
    write-ahead log the same mode.

    Raises:
        CatalogError: as `inspect`; or there is none, and it is only to be read.
    """
    path = path_of(folder)
    there = inspect(folder)
    if not there and not write:
        raise CatalogError(
            f"there is no archive in {printable(os.fspath(folder), 300)}: it has no {FILE_NAME}",
            filename=os.fspath(folder),
        )
    if write and there and not os.access(path, os.W_OK):
        raise CatalogError(
            f"the catalog {printable(os.fspath(path), 300)} may not be written; check owner and "
            "mode",
            filename=os.fspath(path),
        )
    with catalog_errors(path):
        if write:
            _create(path)
        mode = "rw" if write else "ro"
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,  # one thread uses it; another one may have to close it
            factory=CatalogConnection,
        )
        connection.folder = folder
        try:
            _prepare(connection, path, write=write)
        except BaseException:
            connection.close()
            raise
        return connection


def in_memory() -> CatalogConnection:
    """An empty catalog that leaves no trace, for dry runs over a new archive."""
    connection = sqlite3.connect(
        ":memory:", isolation_level=None, check_same_thread=False, factory=CatalogConnection
    )
    migrate(connection, ":memory:")
    return connection


def _create(path: Path) -> None:
    with destination_errors(path):
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE_MODE))


def _prepare(connection: sqlite3.Connection, path: Path, *, write: bool) -> None:
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA cache_size = -16000")
    if not write:
        refuse_newer(version_of(connection), os.fspath(path))
        connection.execute("SELECT 1 FROM recordings LIMIT 1").fetchall()
        return
    # The tables first, in rollback mode: application id and all are in the file from then on.
    migrate(connection, os.fspath(path))
    _use_wal(connection)
    # Rows that a power cut takes are found again on disk; files without sync would not be.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    for table in ("calls", "recordings", "runs"):
        connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchall()  # noqa: S608 - ours


def _use_wal(connection: sqlite3.Connection) -> None:
    """Log ahead from now on.

    The switch needs the file for itself. If another process is just writing to it, SQLite fails at
    once, whatever its time-out, so the waiting is done here.
    """
    patience = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > patience:
                raise
        else:
            return
        time.sleep(0.01)


@contextmanager
def catalog_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors inside the block into `CatalogError`, with advice."""
    try:
        yield
    except sqlite3.Error as error:
        raise catalog_error(error, path) from error


def catalog_error(error: sqlite3.Error, path: Path) -> CatalogError:
    """The error of ours for one of SQLite's."""
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    shown = printable(os.fspath(path), 300)
    said = printable(str(error), 120)
    if code in _FULL:
        line = f"cannot write the catalog {shown}: the disk is full; make room and run again"
    elif code in _READ_ONLY:
        line = f"the catalog {shown} may not be written; check owner, mode and file system"
    elif code in _DAMAGED:
        line = f"the catalog {shown} is damaged ({said}); {_REBUILD}"
    elif code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        line = f"the catalog {shown} is held by another process; run again when it is done"
    else:
        line = f"the catalog {shown} cannot be used: {said}; check the disk, or {_REBUILD}"
    return CatalogError(line, filename=os.fspath(path))
