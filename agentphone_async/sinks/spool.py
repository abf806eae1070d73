"""Private temporary files for recordings that are too large to wait in memory.

All functions block, and are for threads. What a dead process left is removed by the next one.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from agentphone_async.errors import DestinationError
from agentphone_async.sinks.disk import create, destination_errors, make_folder, remove, write_all
from agentphone_async.sinks.leftovers import sweep, temp_names

if TYPE_CHECKING:
    from agentphone_async.protocol.recording import Chunk


class Spool:
    """A folder of such files.

    Args:
        folder: by default one of this user's among the system's temporary files.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or Path(tempfile.gettempdir()) / f"agentphone-spool-{_user()}"
        self._names = temp_names()
        self._files: dict[str, SpoolFile] = {}
        self._swept = False

    def __bool__(self) -> bool:
        """Whether any file is there."""
        return bool(self._files)

    def create(self) -> SpoolFile:
        """A new, empty file, which only this user can read."""
        with destination_errors(self.folder):
            if not self._swept:
                make_folder(self.folder, PurePosixPath())
                _refuse_foreign(self.folder)
                sweep(self.folder)
                self._swept = True
            path = os.fspath(self.folder / next(self._names))
            file = self._files[path] = SpoolFile(path, create(path))
        return file

    def discard(self, path: str) -> None:
        """Remove a file; fine if it is gone already."""
        file = self._files.pop(path, None)
        if file is not None:
            with contextlib.suppress(DestinationError):  # the file goes anyway
                file.close()
            remove(path)

    def discard_all(self) -> None:
        """Remove every file."""
        for path in tuple(self._files):
            self.discard(path)


class SpoolFile:
    """One file, written from its beginning to its end, and hashed on the way.

    Attributes:
        path: where it is.
        size: bytes so far.
    """

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self.size = 0
        self._fd: int | None = fd
        self._digest = hashlib.sha256()
        self._error: DestinationError | None = None

    @property
    def sha256(self) -> str:
        """Of the bytes so far, in hexadecimal."""
        return self._digest.hexdigest()

    def write(self, chunks: Sequence[Chunk]) -> None:
        """Add bytes to the end. After a failure, only failing is left: bytes are missing."""
        if self._error is not None:
            raise self._error
        if self._fd is None:
            raise ValueError("this upload is over")
        try:
            with destination_errors(self.path):
                write_all(self._fd, chunks)
        except DestinationError as error:
            self._error = error
            raise
        for chunk in chunks:
            self._digest.update(chunk)
            self.size += len(chunk)

    def close(self) -> None:
        """Declare it whole; fine if it was done before.

        Raises:
            DestinationError: a write has failed before, or this does.
        """
        if self._fd is not None:
            fd, self._fd = self._fd, None
            with destination_errors(self.path):
                os.close(fd)
        if self._error is not None:
            raise self._error


def mapped(path: str) -> bytes | mmap.mmap:
    """A file's bytes, read as they are needed; the map outlives the file's name."""
    with destination_errors(path), open(path, "rb") as file:  # noqa: PTH123 - hot
        if os.fstat(file.fileno()).st_size == 0:
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else "files"


def _refuse_foreign(folder: Path) -> None:
    """The system's folder for temporary files is everybody's; ours in it has to be ours."""
    status = folder.lstat()
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o077):
        raise DestinationError(
            f"{folder} can be read by others; remove it, or set TMPDIR to a folder of yours",
            filename=os.fspath(folder),
        )
