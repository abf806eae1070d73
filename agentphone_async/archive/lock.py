"""One run at a time in an archive: an advisory lock that names its holder.

It spares two runs the same work and says who is at it. Nothing depends on it: where locks do not
work (some network file systems) two runs at once still leave a correct archive, since names are
published without overwriting and the catalog's transactions exclude each other.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from agentphone_async.errors import ArchiveLockedError
from agentphone_async.protocol.display import printable
from agentphone_async.sinks.disk import FILE_MODE, FOLDER_MODE, destination_error

_log = logging.getLogger("agentphone_async.archive")

LOCK_NAME = ".agentphone-lock"
"""In the archive's folder. It stays when the lock is released: removing it would be a race."""

POLL_SECONDS = 0.25

_TAKEN = frozenset({errno.EACCES, errno.EAGAIN, errno.EDEADLK})
_NO_LOCKS = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK, errno.EINVAL})


class ArchiveLock:
    """The lock of one archive; held until `release`, or until the process is gone.

    Args:
        folder: the archive; made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK_NAME
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take it, or say who has it; does not wait.

        Raises:
            ArchiveLockedError: another run holds it.
            DestinationError: the lock file cannot be made.
        """
        try:
            self.path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            fd = os.open(self.path, _FLAGS, FILE_MODE)
        except OSError as error:
            raise destination_error(error, self.path) from error
        try:
            _lock(fd)
        except OSError as error:
            holder = _read(fd)
            os.close(fd)
            if error.errno in _NO_LOCKS:
                return
            if error.errno not in _TAKEN:
                raise destination_error(error, self.path) from error
            shown = printable(os.fspath(self.path.parent), 300)
            raise ArchiveLockedError(
                f"another run is at work in {shown}: {holder or 'it does not say who it is'}; "
                "wait for it to end, or use --wait-lock",
                filename=os.fspath(self.path),
                holder=holder,
            ) from error
        self._fd = fd
        with suppress(OSError):  # a full disk must not stop a run that may only read
            _write(fd, _myself())

    def release(self) -> None:
        """Give it back; fine at any time, also twice."""
        fd, self._fd = self._fd, None
        if fd is not None:
            with suppress(OSError):
                _write(fd, "")
            os.close(fd)

    async def wait(
        self,
        seconds: float,
        sleep: Callable[[float], Awaitable[object]],
        stopped: Callable[[], bool] = lambda: False,
    ) -> Self:
        """`acquire`, trying for ``seconds`` by the given sleep, or until ``stopped`` is true.

        Raises:
            ArchiveLockedError: it is still held after that.
            DestinationError: the lock file cannot be made.
        """
        left = seconds
        while True:
            try:
                self.acquire()
                return self
            except ArchiveLockedError as error:
                if left <= 0 or stopped():
                    raise
                if left == seconds:
                    _log.info(
                        "%s; waiting up to %.0f s", error, seconds, extra={"seconds": seconds}
                    )
            pause = min(POLL_SECONDS, left)
            await sleep(pause)
            left -= pause

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def _myself() -> str:
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return f"process {os.getpid()} on {socket.gethostname()}, since {now}"


def _read(fd: int) -> str:
    with suppress(OSError):
        os.lseek(fd, 0, os.SEEK_SET)
        return printable(os.read(fd, 300).decode("utf-8", "replace").strip(), 200)
    return ""


def _write(fd: int, text: str) -> None:
    if os.fstat(fd).st_nlink > 1:
        return  # another name of somebody's file: it is locked, and left as it is
    os.ftruncate(fd, 0)
    os.lseek(fd, 0, os.SEEK_SET)
    os.write(fd, text.encode("utf-8", "replace"))


if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 30  # the locked byte lies behind the text, which others may then read

    def _lock(fd: int) -> None:
        os.lseek(fd, _FAR, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
