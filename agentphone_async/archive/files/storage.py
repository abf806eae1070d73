"""Where an archive's files lie, as a run sees it: a folder, or something like one."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import stat
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Protocol

from agentphone_async.archive.catalog.recordings import owners_of
from agentphone_async.archive.files import on_disk as files
from agentphone_async.archive.files.on_disk import Found
from agentphone_async.archive.options import Mode
from agentphone_async.protocol.recording import ALL_EXTENSIONS
from agentphone_async.sinks.disk import destination_errors, remove, sync_folder, sync_many
from agentphone_async.sinks.interface import Sink
from agentphone_async.sinks.leftovers import is_temp, sweep
from agentphone_async.sinks.local import Fsync, LocalSink
from agentphone_async.sinks.threads import FilePool

_MODES: dict[Mode, tuple[int, int]] = {"private": (0o600, 0o700), "group": (0o640, 0o2750)}
"""Of files and of folders."""

_NAMES_AT_ONCE = 400


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

    def untracked(
        self, connection: sqlite3.Connection, folder: PurePosixPath, wanted: Sequence[str]
    ) -> frozenset[str] | None:
        """Names of recordings in a folder that the catalog did not know when it was read.

        There are some after a kill between renaming and writing the rows, or when the catalog was
        lost. A folder is read once, when the first recording is to go there: asking the disk about
        each name would cost more than the catalog may. None if hardly any of the names that are
        ``wanted`` is likely to be there, and to read the folder takes longer than to fetch those.
        """

    def written_before(self, path: PurePosixPath, moment: float) -> bool:
        """Whether a file is older than a moment of `time.time`."""

    def make_durable(self, paths: Sequence[PurePosixPath]) -> None:
        """Force files that were found to stay."""

    def sweep(self, folder: PurePosixPath) -> int:
        """Remove partial files of dead runs from a folder; how many stay, maybe of live ones."""

    def sink(self, fsync: Fsync, mode: Mode = "private") -> Sink:
        """Where recordings are put, and who may read them there."""

    def beside(self, fsync: Fsync, pool: FilePool) -> Sink:
        """Where what lies beside recordings is put; it replaces what has its name."""

    def has(self, path: PurePosixPath, size: int) -> bool:
        """Whether a file that the catalog names is there, and has this size; on any thread."""

    def remove_if(self, path: PurePosixPath, sha256: str) -> None:
        """Remove a file if it has these bytes; fine if there is none; on any thread."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What a run needs of the world; tests have their own."""

    folder: Path
    files: Files
    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[object]]
    free: Callable[[Path], int]


class LocalFiles:
    """Files in a folder of this machine.

    Args:
        folder: their folder.
        inline: see `LocalSink`.
    """

    def __init__(self, folder: Path, *, inline: bool = False) -> None:
        self.root = folder
        self._inline = inline

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

    def untracked(
        self,
        connection: sqlite3.Connection,
        folder: PurePosixPath,
        wanted: Sequence[str],  # noqa: ARG002 - as for objects
    ) -> frozenset[str]:
        """See `Files`."""
        return frozenset(self._unknown(connection, folder))

    def _unknown(self, connection: sqlite3.Connection, folder: PurePosixPath) -> Iterator[str]:
        top = self.root / folder
        with destination_errors(top):
            try:
                entries = os.scandir(top)
            except (FileNotFoundError, NotADirectoryError):
                return
            with entries:
                names = (entry.name for entry in entries if entry.name.endswith(ALL_EXTENSIONS))
                while chunk := list(islice(names, _NAMES_AT_ONCE)):
                    paths = [(folder / name).as_posix() for name in chunk]
                    known = owners_of(connection, paths)
                    for name, path in zip(chunk, paths, strict=True):
                        if path not in known:
                            yield name

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
        with destination_errors(self.root):
            sync_many([os.fspath(self.root / path) for path in paths])
            for parent in {path.parent for path in paths}:
                sync_folder(self.root / parent)

    def sweep(self, folder: PurePosixPath) -> int:
        """See `Files`."""
        return sweep(self.root / folder)

    def sink(self, fsync: Fsync, mode: Mode = "private") -> Sink:
        """See `Files`."""
        modes = None if mode == "private" else modes_of(mode)
        return LocalSink(self.root, fsync=fsync, inline=self._inline, modes=modes)

    def beside(self, fsync: Fsync, pool: FilePool) -> Sink:
        """See `Files`."""
        return LocalSink(self.root, fsync=fsync, overwrite=True, pool=pool)

    def has(self, path: PurePosixPath, size: int) -> bool:
        """See `Files`."""
        return files.size_of(self.root, path) == size

    def remove_if(self, path: PurePosixPath, sha256: str) -> None:
        """See `Files`."""
        place = self.root / path
        with destination_errors(place):
            try:
                ours = hashlib.sha256(place.read_bytes()).hexdigest() == sha256
            except FileNotFoundError:
                return
        if ours:
            remove(os.fspath(place))


def free_space(folder: Path) -> int:
    """Bytes that are free for us on the file system where ``folder`` is or will be."""
    while not folder.exists() and folder.parent != folder:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def modes_of(mode: Mode) -> tuple[int, int]:
    """The modes of files and of folders; those of the umask as it is now."""
    if mode in _MODES:
        return _MODES[mode]
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask, 0o777 & ~mask


def share(top: Path, folders: Iterable[PurePosixPath], mode: Mode) -> None:
    """Let others have what is private so far, as the mode says; blocking.

    Recordings are opened to others as they get their names. This is for what lies beside them,
    and for what a run has left that was killed. Files that are not private (any more) are left as
    they are.
    """
    if mode == "private" or sys.platform == "win32":
        return
    for_file, for_folder = modes_of(mode)
    chosen = {PurePosixPath()}
    for folder in folders:
        chosen.update([folder, *folder.parents])
    for folder in sorted(chosen):
        with destination_errors(top / folder):
            _share(top / folder, for_file, for_folder)


def _share(folder: Path, for_file: int, for_folder: int) -> None:
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        return
    if not status.st_mode & 0o077:
        folder.chmod(for_folder)
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_temp(entry.name) or not entry.is_file(follow_symlinks=False):
                continue
            status = entry.stat(follow_symlinks=False)
            if not status.st_mode & 0o077 and status.st_uid == os.geteuid():
                Path(entry.path).chmod(for_file)
