"""Private temporary files for recordings that are too large to wait in memory.

All functions block, and are for threads. What a dead process left is removed by the next one.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path, PurePosixPath

from agentphone_async.errors import DestinationError
from agentphone_async.sinks.disk import create, destination_errors, make_folder
from agentphone_async.sinks.leftovers import sweep, temp_names
from agentphone_async.sinks.uploads import PartFile


class Spool:
    """A folder of such files.

    Args:
        folder: by default one of this user's among the system's temporary files.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or Path(tempfile.gettempdir()) / f"agentphone-spool-{_user()}"
        self._names = temp_names()
        self._files: dict[str, PartFile] = {}
        self._swept = False

    def __bool__(self) -> bool:
        """Whether any file is there."""
        return bool(self._files)

    def create(self) -> PartFile:
        """A new, empty file, which only this user can read."""
        with destination_errors(self.folder):
            if not self._swept:
                make_folder(self.folder, PurePosixPath())
                _refuse_foreign(self.folder)
                sweep(self.folder)
                self._swept = True
            path = os.fspath(self.folder / next(self._names))
            file = self._files[path] = PartFile(path, create(path))
        return file

    def discard(self, path: str) -> None:
        """Remove a file; fine if it is gone already."""
        file = self._files.pop(path, None)
        if file is not None:
            file.remove()

    def discard_all(self) -> None:
        """Remove every file."""
        for path in tuple(self._files):
            self.discard(path)


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
