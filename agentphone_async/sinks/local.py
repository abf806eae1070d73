"""A folder on a local disk.

Order of things: the bytes are written aside under a name of this process, synced, renamed, and
their folder is synced; only then `LocalSink.publish` returns. A whole batch takes two thread hops,
one for what keeps a core busy and one for what waits for the disk. Files are 0600 and folders 0700,
because recordings are private. No symbolic link is followed inside the destination.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import hashlib
import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from agentphone_async.errors import DestinationError
from agentphone_async.protocol.recording import Audio
from agentphone_async.sinks.disk import (
    NO_DESCRIPTOR,
    TempNames,
    create,
    destination_errors,
    is_there,
    link_or_replace,
    make_folder,
    remove,
    sweep,
    sync_each,
    sync_folder,
    sync_many,
    write_all,
)
from agentphone_async.sinks.interface import Body, Ready, Staged, Stored, Target
from agentphone_async.sinks.threads import FilePool


class Fsync(enum.Enum):
    """When bytes are forced to the disk.

    ``BATCH``: once for all files that are published together, before any of them is visible.
    ``EACH``: for every file on its own. ``OFF``: whenever the system likes; a power cut may then
    leave empty or torn files under final names.
    """

    BATCH = "batch"
    EACH = "each"
    OFF = "off"


QUICK = 0.0005
"""Seconds a file; a disk that takes longer is slow, and its work is no longer done in the loop."""

SYNCING = 2
"""Batches that wait for the disk at the same time, in threads that no writing needs."""

HICCUP = 0.02
"""Seconds beyond that which are forgiven: the process may not have been running."""


class LocalSink:
    """Recordings as files below one folder.

    Args:
        folder: created, with its parents, when the first file comes.
        fsync: see `Fsync`.
        overwrite: whether a name that is taken is replaced; otherwise what is there stays.
        own_loop: whether nothing else runs in this event loop. Batches are then written and renamed
            right in it, as long as the disk is quick: a thread would take longer to get hold of
            the interpreter lock, six times a file, than the disk takes. Syncing is never done
            there.
        pool: threads to write and hash on; one of its own if not given.
    """

    def __init__(
        self,
        folder: Path,
        *,
        fsync: Fsync = Fsync.BATCH,
        overwrite: bool = False,
        own_loop: bool = False,
        pool: FilePool | None = None,
    ) -> None:
        self.folder = folder
        self._fsync = fsync
        self._overwrite = overwrite
        self._here = own_loop
        self._own_pool = pool is None
        self._pool = pool or FilePool()
        self._syncing = FilePool(SYNCING)
        self._names = TempNames()
        self._unpublished: set[str] = set()
        self._uploads: set[LocalUpload] = set()
        self._prefixes: dict[PurePosixPath, str] = {}
        self._made: set[Path] = set()

    async def existing(self, targets: Sequence[Target]) -> list[PurePosixPath | None]:
        """For each target the name under which it is there already, or None."""
        if self._here:
            with self._watching(len(targets)):
                return self._existing(targets)
        return await self._pool.run(self._existing, targets)

    async def begin(self, target: Target) -> LocalUpload:
        """Start a recording that comes in parts."""
        return await self._pool.run(self._begin, target)

    async def stage(self, body: Body) -> Staged:
        """Write and hash what is in memory, in one hop."""
        return await self._pool.run(self._write, body)

    async def publish(self, batch: Sequence[Ready]) -> list[Stored]:
        """Write and hash what is in memory; then sync, rename, and sync the folders."""
        if self._here:
            return await self._publish_here(batch)
        staged = await self._pool.run(self._named, batch)
        return await self._syncing.run(self._settle, staged)

    async def discard(self, ready: Ready) -> None:
        """Remove what was written of it."""
        if isinstance(ready, Staged):
            await self._pool.run(self._discard, ready.key)

    async def aclose(self) -> None:
        """Discard what was not published, and let the threads go."""
        try:
            if self._unpublished or self._uploads:
                await self._pool.run(self._discard_all)
        finally:
            self._syncing.close()
            if self._own_pool:
                self._pool.close()

    async def _publish_here(self, batch: Sequence[Ready]) -> list[Stored]:
        """The same, with hops for nothing but syncing."""
        syncing = self._fsync is not Fsync.OFF
        try:
            with self._watching(len(batch)):
                staged = self._named(batch)
        except DestinationError as error:
            if error.errno not in NO_DESCRIPTOR:
                raise
            staged = await self._pool.run(self._named, batch)  # there one can wait for some
        if syncing:
            await self._syncing.run(self._sync, staged)
        with self._watching(len(batch)):
            stored = [self._reveal(item) for item in staged]
        if syncing:
            await self._syncing.run(self._sync_folders, staged)
        return stored

    @contextlib.contextmanager
    def _watching(self, files: int) -> Iterator[None]:
        """Do disk work in the loop, for the last time if the disk turns out to be slow."""
        began = time.perf_counter()
        yield
        if time.perf_counter() - began > HICCUP + files * QUICK:
            self._here = False

    # What follows runs in threads, or in the loop if that is ours.

    def _existing(self, targets: Sequence[Target]) -> list[PurePosixPath | None]:
        with destination_errors(self.folder):
            self._check()
            prefixes = {folder: self._prefix(folder) for folder in {t.folder for t in targets}}
            return [_taken(target, prefixes[target.folder]) for target in targets]

    def _prefix(self, folder: PurePosixPath) -> str:
        """The folder as a string that a file name can follow: joining paths costs more than I/O."""
        return os.path.join(self.folder, folder, "")  # noqa: PTH118 - hot

    def _check(self) -> None:
        """A destination that can be none is said before anything is fetched."""
        try:
            mode = os.stat(self.folder).st_mode  # noqa: PTH116 - one look: another may be making it
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(mode):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))

    def _create(self, folder: PurePosixPath) -> tuple[str, int]:
        with destination_errors(self.folder):
            temp = self._prepare(folder) + self._names.next()
            fd = create(temp)
        self._unpublished.add(temp)
        return temp, fd

    def _prepare(self, folder: PurePosixPath) -> str:
        """Make a folder, if that was not done before; how the paths in it begin."""
        prefix = self._prefixes.get(folder)
        if prefix is None:
            self._made.update(make_folder(self.folder, folder))
            sweep(self.folder / folder)
            prefix = self._prefixes[folder] = self._prefix(folder)
        return prefix

    def _discard(self, temp: str) -> None:
        remove(temp)
        self._unpublished.discard(temp)

    def _begin(self, target: Target) -> LocalUpload:
        temp, fd = self._create(target.folder)
        upload = LocalUpload(self, target, temp, fd)
        self._uploads.add(upload)  # in the thread: a caller who is cancelled never sees it
        return upload

    def _discard_all(self) -> None:
        for upload in tuple(self._uploads):
            upload._abort()
        for temp in tuple(self._unpublished):
            self._discard(temp)

    def _named(self, batch: Sequence[Ready]) -> list[Staged]:
        return [self._with_name(ready) for ready in batch]

    def _settle(self, staged: Sequence[Staged]) -> list[Stored]:
        self._sync(staged)
        stored = [self._reveal(item) for item in staged]
        self._sync_folders(staged)
        return stored

    def _sync(self, staged: Sequence[Staged]) -> None:
        with destination_errors(self.folder):
            if self._fsync is Fsync.BATCH:
                sync_many([item.key for item in staged])
            elif self._fsync is Fsync.EACH:
                sync_each([item.key for item in staged])

    def _sync_folders(self, staged: Sequence[Staged]) -> None:
        if self._fsync is Fsync.OFF:
            return
        made = tuple(self._made)
        folders = {self.folder / folder for folder in {item.target.folder for item in staged}}
        with destination_errors(self.folder):
            for path in folders | {path.parent for path in made}:
                sync_folder(path)
        self._made.difference_update(made)  # only now: a batch beside this one relies on them, too

    def _with_name(self, ready: Ready) -> Staged:
        staged = self._write(ready) if isinstance(ready, Body) else ready
        target = staged.target.for_bytes(staged.sha256)
        if target is staged.target:
            return staged
        with destination_errors(self.folder / target.folder):
            self._prepare(target.folder)
        return replace(staged, target=target)

    def _write(self, body: Body) -> Staged:
        digest = hashlib.sha256()
        for chunk in body.chunks:
            digest.update(chunk)
        temp, fd = self._create(body.target.folder)
        with destination_errors(temp):
            try:
                write_all(fd, body.chunks)
            finally:
                os.close(fd)
        return Staged(body.target, body.size, body.audio, digest.hexdigest(), temp)

    def _reveal(self, staged: Staged) -> Stored:
        target = staged.target
        name = target.file_name(staged.audio.media_type)
        final = self._prefixes[target.folder] + name
        with destination_errors(final):
            if self._overwrite:
                os.replace(staged.key, final)  # noqa: PTH105 - hot
                new = True
            else:
                new = link_or_replace(staged.key, final)
        self._unpublished.discard(staged.key)
        return Stored(target.folder / name, staged.size, staged.sha256, new)


def _taken(target: Target, prefix: str) -> PurePosixPath | None:
    for name in target.file_names():
        if is_there(prefix + name):
            return target.folder / name
    return None


class LocalUpload:
    """A body that is written in parts; see `agentphone_async.sinks.interface.Upload`."""

    def __init__(self, sink: LocalSink, target: Target, temp: str, fd: int) -> None:
        self._sink = sink
        self._target = target
        self._temp = temp
        self._fd: int | None = fd
        self._digest = hashlib.sha256()
        self.size = 0

    async def write(self, chunks: Sequence[bytes]) -> None:
        """Write and hash, in one hop."""
        await self._sink._pool.run(self._write, chunks)

    async def restart(self) -> None:
        """Forget all bytes so far."""
        await self._sink._pool.run(self._restart)

    async def stage(self, audio: Audio) -> Staged:
        """Declare it whole and close it."""
        await self._sink._pool.run(self._close)
        return Staged(self._target, self.size, audio, self._digest.hexdigest(), self._temp)

    async def abort(self) -> None:
        """Remove what was written."""
        if self._fd is not None or self._temp in self._sink._unpublished:
            await self._sink._pool.run(self._abort)

    def _write(self, chunks: Sequence[bytes]) -> None:
        if self._fd is None:
            raise ValueError("this upload is over")
        with destination_errors(self._temp):
            write_all(self._fd, chunks)
        for chunk in chunks:
            self._digest.update(chunk)
            self.size += len(chunk)

    def _restart(self) -> None:
        if self._fd is None:
            raise ValueError("this upload is over")
        with destination_errors(self._temp):
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)
        self._digest = hashlib.sha256()
        self.size = 0

    def _abort(self) -> None:
        with contextlib.suppress(DestinationError):  # the file goes anyway
            self._close()
        self._sink._discard(self._temp)

    def _close(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            self._sink._uploads.discard(self)
            with destination_errors(self._temp):
                os.close(fd)
