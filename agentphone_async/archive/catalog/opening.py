"""The catalog as a file: is it ours, and how may it be opened where it lies?

A catalog that is closed is one plain file, without a log beside it. While a run is at work, it logs
ahead (WAL), so that others may read meanwhile. Where that is not possible, because the file system
has no shared memory maps, it is held for the run alone; and where nothing can be written, it is
read as it is. The file is looked at before anything is changed.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agentphone_async.archive.catalog.migrate import migrate, read_older, refuse_newer
from agentphone_async.archive.catalog.paths import CatalogConnection
from agentphone_async.archive.catalog.schema import APPLICATION_ID, FILE_NAME
from agentphone_async.errors import CatalogError
from agentphone_async.protocol.display import printable
from agentphone_async.sinks.disk import FILE_MODE, FOLDER_MODE, destination_errors

BUSY_SECONDS = 30.0
"""How long a write waits for another process's transaction."""

_MAGIC = b"SQLite format 3\0"
REBUILD = "put it aside and run 'agentphone-async catalog rebuild'"
_FULL = frozenset({sqlite3.SQLITE_FULL})
_READ_ONLY = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})

_LACKING = frozenset(
    {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOLFS}
)
"""What SQLite says where a file system cannot do what it needs."""

_WAL_HEADER = b"\x02\x02"


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
        raise CatalogError(f"{shown} is not a file; move it away", filename=os.fspath(path))
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
            f"{shown} is not a catalog of ours, or its beginning is damaged; if the archive is "
            f"yours, {REBUILD}, otherwise choose another destination",
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
        if not write:
            return _for_reading(path)
        return _for_writing(path) if there else _made(path)


def disconnect(connection: CatalogConnection) -> None:
    """Close a connection; a catalog that was written becomes one plain file again.

    Not while others have it open: then the last of them leaves it so.
    """
    try:
        if connection.writes:
            with suppress(sqlite3.Error):
                connection.execute("PRAGMA query_only = OFF")
                connection.execute("PRAGMA busy_timeout = 0")
                connection.execute("PRAGMA journal_mode = DELETE")
    finally:
        connection.close()
        if connection.copy is not None:
            shutil.rmtree(connection.copy, ignore_errors=True)


def check_readable(folder: Path) -> None:
    """Open it for reading and close it again, before anything is written beside it.

    Raises:
        CatalogError: as `connect` does.
    """
    disconnect(connect(folder, write=False))


@contextmanager
def connected(folder: Path, *, write: bool) -> Iterator[CatalogConnection]:
    """`connect`, and `disconnect` at the end of the block."""
    connection = connect(folder, write=write)
    try:
        yield connection
    finally:
        disconnect(connection)


def in_memory() -> CatalogConnection:
    """An empty catalog that leaves no trace, for dry runs over a new archive."""
    connection = sqlite3.connect(
        ":memory:", isolation_level=None, check_same_thread=False, factory=CatalogConnection
    )
    migrate(connection, ":memory:")
    return connection


def _open(path: Path, query: str, *, alone: bool = False) -> CatalogConnection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{query}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,  # one thread uses it; another one may have to close it
        factory=CatalogConnection,
    )
    connection.folder = path.parent
    try:
        if alone:  # before anything looks into the file: a log is then kept without shared memory
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA cache_size = -16000")
    except BaseException:
        connection.close()
        raise
    return connection


# -------------------------------------------------------------------- to be written


def _for_writing(path: Path) -> CatalogConnection:
    _create(path)
    try:
        return _prepared(path, alone=False)
    except sqlite3.OperationalError as error:
        if _code(error) not in _LACKING:
            raise
    # No shared memory maps here, as on many network and FUSE file systems.
    return _prepared(path, alone=True)


def _made(path: Path) -> CatalogConnection:
    """A new catalog; a file system that loses what was just written to it is told from a disk.

    Raises:
        CatalogError: it is such a one; nothing is left there.
    """
    try:
        return _for_writing(path)
    except sqlite3.DatabaseError as error:
        if _code(error) not in _DAMAGED:
            raise
        for ending in ("", "-wal", "-shm", "-journal"):
            with suppress(OSError):
                Path(f"{path}{ending}").unlink()
        shown = printable(os.fspath(path.parent), 300)
        raise CatalogError(
            f"there can be no archive in {shown}: the file system gives other bytes back than "
            f"were written to a new catalog ({printable(str(error), 120)}); use another one, or "
            "mount this one otherwise",
            filename=os.fspath(path),
        ) from error


def _create(path: Path) -> None:
    with destination_errors(path):
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE_MODE))


def _prepared(path: Path, *, alone: bool) -> CatalogConnection:
    connection = _open(path, "mode=rw", alone=alone)
    try:
        if alone:
            connection.execute("PRAGMA journal_mode = DELETE")
            with suppress(OSError):  # of the attempt to log ahead; nobody else has the file now
                Path(f"{path}-shm").unlink()
        # The tables first, in rollback mode: application id and all are in the file from then on.
        migrate(connection, os.fspath(path))
        if not alone:
            _use_wal(connection)
        # Rows that a power cut takes are found again on disk; files without sync would not be.
        connection.execute(f"PRAGMA synchronous = {'FULL' if alone else 'NORMAL'}")
        connection.execute("PRAGMA foreign_keys = ON")
        for table in ("calls", "recordings", "runs"):
            connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchall()  # noqa: S608 - ours
    except BaseException:
        connection.close()
        raise
    connection.writes = True
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """Log ahead from now on.

    The switch needs the file for itself. If another process is just writing to it, SQLite fails at
    once, whatever its time-out, so the waiting is done here.
    """
    patience = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > patience:
                raise
        else:
            if mode != "wal":
                refused = sqlite3.OperationalError("no write-ahead log here")
                refused.sqlite_errorcode = sqlite3.SQLITE_PROTOCOL
                raise refused
            return
        time.sleep(0.01)


# -------------------------------------------------------------------- to be read


def _for_reading(path: Path) -> CatalogConnection:
    """Open it in the first way that works here, and leaves nothing behind."""
    failure: sqlite3.Error | None = None
    for query in _ways(path):
        try:
            return _readable(path, query)
        except sqlite3.OperationalError as error:
            if _code(error) not in {*_LACKING, *_READ_ONLY}:
                raise
            failure = failure or error
    try:
        return _copied(path)
    except OSError as error:
        raise failure or sqlite3.OperationalError(str(error)) from error


def _ways(path: Path) -> list[str]:
    pending = any(_is_filled(Path(f"{path}{ending}")) for ending in ("-wal", "-journal"))
    with path.open("rb") as file:
        logs_ahead = file.read(20)[18:20] == _WAL_HEADER
    writable = os.access(path.parent, os.W_OK) and os.access(path, os.W_OK)
    ways = ["mode=ro"]
    if logs_ahead and not pending:
        # A reader would leave an empty log behind; whoever may write takes it away again.
        ways = ["mode=rw", "mode=ro"] if writable else []
    if not pending:
        ways += ["mode=ro&immutable=1", "mode=ro&nolock=1&immutable=1"]
    return ways


def _is_filled(path: Path) -> bool:
    try:
        return path.lstat().st_size > 0
    except OSError:
        return False


def _readable(path: Path, query: str) -> CatalogConnection:
    connection = _open(path, query)
    try:
        read_older(connection, os.fspath(path))
        connection.execute("PRAGMA query_only = ON")
        connection.execute("SELECT 1 FROM recordings LIMIT 1").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def _copied(path: Path) -> CatalogConnection:
    """A copy, for a snapshot of a catalog that was at work and cannot be finished here."""
    copy = Path(tempfile.mkdtemp(prefix="agentphone-"))
    try:
        for ending in ("", "-wal", "-journal"):
            with suppress(FileNotFoundError):
                shutil.copyfile(f"{path}{ending}", copy / f"{path.name}{ending}")
        connection = _readable(copy / path.name, "mode=rw")
    except BaseException:
        shutil.rmtree(copy, ignore_errors=True)
        raise
    connection.folder = path.parent
    connection.copy = copy
    return connection


# -------------------------------------------------------------------- errors


def _code(error: sqlite3.Error) -> int:
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


@contextmanager
def catalog_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors inside the block into `CatalogError`, with advice."""
    try:
        yield
    except sqlite3.Error as error:
        raise catalog_error(error, path) from error


def catalog_error(error: sqlite3.Error, path: Path) -> CatalogError:
    """The error of ours for one of SQLite's."""
    code = _code(error)
    shown = printable(os.fspath(path), 300)
    said = printable(str(error), 120)
    if code in _FULL:
        line = f"cannot write the catalog {shown}: the disk is full; make room and run again"
    elif code in _READ_ONLY:
        line = f"the catalog {shown} may not be written; check owner, mode and file system"
    elif code in _DAMAGED:
        line = f"the catalog {shown} is damaged ({said}); {REBUILD}"
    elif code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        line = f"the catalog {shown} is held by another process; run again when it is done"
    elif code in _LACKING:
        line = (
            f"the catalog {shown} cannot be used here: {_lack(error) or said}; copy the archive "
            "to another file system, or mount this one otherwise"
        )
    else:
        line = f"the catalog {shown} cannot be used: {said}; check the disk, or {REBUILD}"
    return CatalogError(line, filename=os.fspath(path))


def _lack(error: sqlite3.Error) -> str | None:
    """What a file system does not have, by the name of SQLite's extended error."""
    name = getattr(error, "sqlite_errorname", None) or ""
    for part, lack in (
        ("SHM", "the file system has no shared memory maps"),
        ("MMAP", "the file system has no memory maps"),
        ("LOCK", "the file system has no file locks"),
        ("PROTOCOL", "the file system's locks do not work"),
        ("FSYNC", "the file system cannot force files to the disk"),
        ("NOLFS", "the file system cannot hold a file of this size"),
        ("READ", "the disk failed to read"),
        ("WRITE", "the file system cannot write inside of a file, or its disk failed to"),
    ):
        if part in name:
            return f"{lack} ({name})"
    return None
