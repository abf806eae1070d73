"""Where an archive's files lie, as a run sees it: a folder, or something like one."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from agentphone_async.archive import files
from agentphone_async.archive.files import Found, Untracked
from agentphone_async.sinks.disk import remove, sweep
from agentphone_async.sinks.interface import Sink
from agentphone_async.sinks.local import Fsync, LocalSink


class Files(Protocol):
    """What a run asks of the place where files lie; paths are relative to it.

    All methods but `sink` may block: they are called on the catalog's thread.

    Attributes:
        root: what the paths in outcomes begin with.
    """

    @property
    def root(self) -> Path:
        """What the paths in outcomes begin with."""

    def size_of(self, path: PurePosixPath | str) -> int | None:
        """Bytes of a file; None if there is none."""

    def examine(self, path: PurePosixPath, call_id: str) -> Found | None:
        """Read a file and judge it; None if there is none."""

    def quarantine(self, path: PurePosixPath) -> PurePosixPath:
        """Rename a file that is not what it should be, and return its new name."""

    def remove(self, path: PurePosixPath) -> None:
        """Remove a file."""

    def untracked(self, connection: sqlite3.Connection, folder: PurePosixPath) -> frozenset[str]:
        """Names of recordings in a folder that the catalog does not know."""

    def written_before(self, path: PurePosixPath, moment: float) -> bool:
        """Whether a file is older than a moment of `time.time`."""

    def make_durable(self, paths: Sequence[PurePosixPath]) -> None:
        """Force files that were found to stay."""

    def sweep(self, folder: PurePosixPath) -> int:
        """Remove partial files of dead runs from a folder; how many stay, maybe of live ones."""

    def sink(self, fsync: Fsync, *, inline: bool) -> Sink:
        """Where recordings are put."""

    def free(self) -> int:
        """Bytes that may still be written."""


class LocalFiles:
    """Files in a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self.root = folder

    def size_of(self, path: PurePosixPath | str) -> int | None:
        """See `Files`."""
        return files.size_of(self.root, path)

    def examine(self, path: PurePosixPath, call_id: str) -> Found | None:
        """See `Files`."""
        return files.examine(self.root, path, call_id)

    def quarantine(self, path: PurePosixPath) -> PurePosixPath:
        """See `Files`."""
        return files.quarantine(self.root, path)

    def remove(self, path: PurePosixPath) -> None:
        """See `Files`."""
        remove(os.fspath(self.root / path))

    def untracked(self, connection: sqlite3.Connection, folder: PurePosixPath) -> frozenset[str]:
        """See `Files`."""
        return Untracked(self.root).in_folder(connection, folder)

    def written_before(self, path: PurePosixPath, moment: float) -> bool:
        """See `Files`."""
        try:
            status = (self.root / path).lstat()
            # A recording's time of modification is that of its call.
            return max(status.st_mtime, status.st_ctime) < moment
        except OSError:
            return False

    def make_durable(self, paths: Sequence[PurePosixPath]) -> None:
        """See `Files`."""
        files.make_durable(self.root, paths)

    def sweep(self, folder: PurePosixPath) -> int:
        """See `Files`."""
        return sweep(self.root / folder)

    def sink(self, fsync: Fsync, *, inline: bool) -> Sink:
        """See `Files`."""
        return LocalSink(self.root, fsync=fsync, inline=inline)

    def free(self) -> int:
        """See `Files`."""
        return free_space(self.root)


def free_space(folder: Path) -> int:
    """Bytes that are free for us on the file system where ``folder`` is or will be."""
    while not folder.exists() and folder.parent != folder:
        folder = folder.parent
    return shutil.disk_usage(folder).free
