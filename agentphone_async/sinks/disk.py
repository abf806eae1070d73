"""The few things that are done to a disk, each blocking, each safe on its own."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import stat
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from agentphone_async.errors import DestinationError
from agentphone_async.protocol.display import printable

if TYPE_CHECKING:
    from agentphone_async.protocol.recording import Chunk

T = TypeVar("T")

FILE_MODE = 0o600
FOLDER_MODE = 0o700

_MOST_BUFFERS = 1024  # IOV_MAX on Linux, the BSDs and macOS
_FEW_FILES = 8  # from so many on, one syncfs beats an fsync for each
_PAUSE = 0.05  # seconds between two looks for a file descriptor
NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE})
"""What an error's number is when too many files are open; the disk has no part in it."""
_NO_LINKS = frozenset(
    {
        errno.EPERM,
        errno.ENOTSUP,
        errno.EOPNOTSUPP,
        errno.ENOSYS,
        errno.EMLINK,
        errno.EINVAL,
        errno.EIO,  # rclone mount; a disk that is failing does not rename, either
    }
)
_CANNOT_SYNC = frozenset(
    {
        errno.EINVAL,
        errno.ENOTSUP,
        errno.EACCES,
    }  # network file systems; folders that hide their list
)
_CAN_LOOK = os.access in os.supports_follow_symlinks  # without an exception for what is absent
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_CLOSE_ON_EXEC = getattr(os, "O_CLOEXEC", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_TO_SYNC = os.O_RDWR if sys.platform == "win32" else os.O_RDONLY

_ADVICE = {
    errno.ENOSPC: "the disk is full; make room and run again",
    errno.EDQUOT: "the disk quota is used up; make room and run again",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "no permission; check owner and mode",
    errno.EPERM: "not permitted; check owner and mode",
    errno.ENAMETOOLONG: "the path is too long; choose a shorter destination",
    errno.ENOENT: "it is not there",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "it is in the way; move it or choose another destination",
    errno.ELOOP: "a symbolic link is in the way; it is not followed",
    errno.EMFILE: "no file descriptor is left; raise 'ulimit -n' or transfer fewer at a time",
    errno.ENFILE: "no file descriptor is left on this machine; close other programs",
    errno.EIO: "the disk reports an error; check it before you continue",
}


class destination_errors:  # noqa: N801 - used like a function; a generator takes five times as long
    """Turn an OSError inside the block into a `DestinationError` that names the path."""

    __slots__ = ("_path",)

    def __init__(self, path: str | Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, OSError):
            raise destination_error(error, self._path) from error


def destination_error(error: OSError, path: str | Path) -> DestinationError:
    """The error of ours for one of the operating system's."""
    shown = printable(os.fspath(path), 300)
    reason = _ADVICE.get(error.errno or 0) or printable(error.strerror or str(error), 120)
    return DestinationError(
        f"cannot write to {shown}: {reason}", errno=error.errno, filename=os.fspath(path)
    )


def make_folder(top: Path, below: PurePosixPath) -> list[Path]:
    """Make ``top`` and the folders below it, private; refuse links and files on the way.

    ``top`` itself may be a symbolic link, since the user chose it; nothing below it may.

    Returns:
        The folders that were not there before.
    """
    made = [] if os.path.isdir(top) else _make_with_parents(top)  # noqa: PTH112 - hot
    path = top
    for part in below.parts:
        path = path / part
        with suppress(FileExistsError):
            path.mkdir(mode=FOLDER_MODE)
            made.append(path)
        if not stat.S_ISDIR(path.lstat().st_mode):
            link = path.is_symlink()
            raise OSError(errno.ELOOP if link else errno.ENOTDIR, "not a folder", str(path))
    return made


def _make_with_parents(path: Path) -> list[Path]:
    try:
        path.mkdir(mode=FOLDER_MODE)
    except FileNotFoundError:
        if path.parent == path:
            raise
        made = _make_with_parents(path.parent)  # `parents=True` would not make them private
        path.mkdir(mode=FOLDER_MODE, exist_ok=True)
        return [*made, path]
    except FileExistsError:
        if not path.is_dir():
            raise
        return []
    return [path]


def refuse_unwritable(folder: Path) -> None:
    """Look whether files can be made in a folder, or in the nearest one above that is there.

    Raises:
        DestinationError: they cannot; it says why.
    """
    nearest = folder
    while not os.path.lexists(nearest) and nearest.parent != nearest:
        nearest = nearest.parent
    with destination_errors(folder):
        if not nearest.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if hasattr(os, "statvfs") and os.statvfs(nearest).f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def is_there(path: str) -> bool:
    """Whether a name is taken, be it by a link that leads nowhere."""
    if _CAN_LOOK:
        return os.access(path, os.F_OK, follow_symlinks=False)
    return os.path.lexists(path)


def _open(path: str, flags: int, *, links: bool = False) -> int:
    """Open a file; one behind a symbolic link only if ``links`` may be followed."""
    flags |= _BINARY | _CLOSE_ON_EXEC | (0 if links else _NO_LINK)
    try:
        return os.open(path, flags, FILE_MODE)
    except OSError as error:
        if error.errno not in NO_DESCRIPTOR or _in_event_loop():
            raise
    time.sleep(_PAUSE)
    return patiently(lambda: os.open(path, flags, FILE_MODE))


create = partial(_open, flags=os.O_RDWR | os.O_CREAT | os.O_EXCL)
"""Create a new private file and return its descriptor."""

open_part = partial(_open, flags=os.O_RDWR | os.O_APPEND)
"""Open a file of ours to read it and to write behind its end; return its descriptor."""


def patiently(opening: Callable[[], T]) -> T:
    """Open something, for some seconds even when there is no descriptor left.

    Connections take descriptors, too; as they end, fewer are made, and there is room again. In the
    event loop that would be waited for in vain: it is where they end.
    """
    patience: float | None = None
    while True:
        try:
            return opening()
        except OSError as error:
            if error.errno not in NO_DESCRIPTOR or _in_event_loop():
                raise
            if patience is None:
                patience = time.monotonic() + 10.0
            elif time.monotonic() > patience:
                raise
        time.sleep(_PAUSE)


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def write_all(fd: int, chunks: Sequence[Chunk]) -> None:
    """Write all chunks, however many calls the system wants for that."""
    if len(chunks) == 1:
        written = os.write(fd, chunks[0])
        if written < len(chunks[0]):
            _write_rest(fd, memoryview(chunks[0])[written:])
        return
    for start in range(0, len(chunks), _MOST_BUFFERS):
        pending = chunks[start : start + _MOST_BUFFERS]
        left = sum(map(len, pending)) - _write_some(fd, pending)
        if left:
            _write_rest(fd, memoryview(b"".join(pending))[-left:])


def _write_some(fd: int, chunks: Sequence[Chunk]) -> int:
    if hasattr(os, "writev"):
        return os.writev(fd, chunks)
    return os.write(fd, b"".join(chunks))


def _write_rest(fd: int, rest: memoryview) -> None:
    while rest:
        rest = rest[os.write(fd, rest) :]


def sync_many(paths: Sequence[str], *, each: bool = False) -> None:
    """Force the bytes of closed files to the disk.

    A few, or ``each``, are synced one by one; many on one file system with a single ``syncfs``
    where there is one (Linux; it reports write-back errors since 5.8).
    """
    syncfs = None if each or len(paths) < _FEW_FILES else _syncfs
    for path in paths if syncfs is None else paths[:1]:
        fd = _open(path, _TO_SYNC)
        try:
            if syncfs is None:
                os.fsync(fd)
            elif syncfs(fd) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number), path)
        finally:
            os.close(fd)


def sync_folder(folder: str | Path) -> None:
    """Force a folder's entries to the disk, where folders can be synced at all."""
    if sys.platform == "win32":
        return
    try:
        fd = _open(os.fspath(folder), os.O_RDONLY, links=True)  # the destination itself may be one
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise


def link_or_replace(temp: str, final: str) -> bool:
    """Give a file its final name unless that is taken; the temporary name is gone afterwards.

    A hard link is the only portable way to rename without overwriting. Where there are none (FAT,
    some network file systems) the name is checked first, and the gap is a few microseconds.

    Returns:
        False if the name was taken.
    """
    try:
        os.link(temp, final, follow_symlinks=False)
    except FileExistsError:
        remove(temp)
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if is_there(final):
            remove(temp)
            return False
        _rename(temp, final)
        return True
    remove(temp)
    return True


def _rename(temp: str, final: str) -> None:
    """Rename; a mount that is busy uploading the file may say for a while that it is not there."""
    for pause in (0.05, 0.5, 2.0):
        try:
            os.rename(temp, final)  # noqa: PTH104 - strings all the way down here
        except FileNotFoundError:
            if not is_there(temp):
                raise
            time.sleep(pause)
        else:
            return
    os.rename(temp, final)  # noqa: PTH104


def remove(path: str) -> bool:
    """Remove a file if it is there. A disk that is failing already gets no second complaint."""
    try:
        os.unlink(path)  # noqa: PTH108 - strings all the way down here
    except OSError:
        return False
    return True


def _find_syncfs() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        function = ctypes.CDLL(None, use_errno=True).syncfs
    except (OSError, AttributeError):
        return None
    function.argtypes = [ctypes.c_int]
    function.restype = ctypes.c_int
    found: Callable[[int], int] = function
    return found


_syncfs = _find_syncfs()
