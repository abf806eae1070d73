"""A folder on a local disk.

Order of things: the bytes are written aside under a name of this process, synced, linked to their
final name, and their folder is synced; only then `LocalSink.publish` returns. A whole batch takes
two thread hops, one for what keeps a core busy and one for what waits for the disk. Files are 0600
and folders 0700, because recordings are private. No symbolic link is followed inside the
destination.
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
from operator import attrgetter
from pathlib import Path, PurePosixPath

from agentphone_async.errors import DestinationError
from agentphone_async.protocol.recording import ALL_EXTENSIONS
from agentphone_async.sinks.disk import (
    NO_DESCRIPTOR,
    create,
    destination_error,
    destination_errors,
    is_there,
    link_or_replace,
    make_folder,
    remove,
    sync_folder,
    sync_many,
    write_all,
)
from agentphone_async.sinks.interface import Body, Ready, Staged, Stored, Target, Upload
from agentphone_async.sinks.leftovers import kept_names, sweep
from agentphone_async.sinks.threads import Disk, FilePool
from agentphone_async.sinks.uploads import LocalUpload, PartFile, take_part
from agentphone_async.sinks.whole import obstacle, whats_wrong


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

HICCUP = 0.02
"""Seconds beyond that which are forgiven: the process may not have been running."""

_USUAL = ALL_EXTENSIONS[:2]
_RARE = ALL_EXTENSIONS[2:]
_KEY = attrgetter("key")


class LocalSink:
    """Recordings as files below one folder.

    Args:
        folder: created, with its parents, when the first file comes.
        fsync: see `Fsync`.
        overwrite: whether a name that is taken is replaced; otherwise what is there stays.
        inline: whether nothing else runs in this event loop. Batches are then written and linked
            right in it, as long as the disk is quick: a thread would take longer to get hold of
            the interpreter lock, six times a file, than the disk takes. Syncing is never done
            there.
        pool: threads to write and hash on; one of its own if neither this nor ``disk`` is given.
        disk: shared with other sinks, and closed by who made it.
        modes: of files that have their names, and of folders that are made; private by default.
    """

    def __init__(
        self,
        folder: Path,
        *,
        fsync: Fsync = Fsync.BATCH,
        overwrite: bool = False,
        inline: bool = False,
        pool: FilePool | None = None,
        disk: Disk | None = None,
        modes: tuple[int, int] | None = None,
    ) -> None:
        self.folder = folder
        self._modes = modes
        self._fsync = fsync
        self._overwrite = overwrite
        self._inline = inline
        self._own_disk = disk is None
        self._disk = disk or Disk(pool)
        self._pool = self._disk.pool
        self._unpublished: dict[str, PartFile | None] = {}
        self._prefixes: dict[PurePosixPath, str] = {}

    async def existing(self, targets: Sequence[Target]) -> list[PurePosixPath | None]:
        """For each target the name under which it is there already, or None."""
        if self._inline:
            with self._watching(len(targets)):
                return self._existing(targets)
        return await self._pool.run(self._existing, targets)

    async def begin(self, target: Target) -> Upload:
        """Start a recording that comes in parts."""
        return await self._pool.run(self._begin, target)

    async def stage(self, body: Body) -> Staged:
        """Write and hash what is in memory, in one hop."""
        return await self._pool.run(self._write, body)

    async def publish(self, batch: Sequence[Ready]) -> list[Stored]:
        """Write and hash what is in memory; then sync, link, and sync the folders."""
        if self._inline:
            return await self._publish_inline(batch)
        staged = await self._pool.run(self._write_all, batch)
        return await self._disk.syncing.run(self._sync_and_link, staged)

    async def discard(self, ready: Ready) -> None:
        """Remove what was written of it."""
        if isinstance(ready, Staged):
            await self._pool.run(self._discard, ready.key)

    async def keep(self, upload: Upload, mark: str) -> None:
        """Give an upload up, but let its bytes lie for a later run."""
        if isinstance(upload, LocalUpload):
            await self._pool.run(self._keep, upload, mark)

    async def take_up(self, target: Target, mark: str) -> tuple[Upload, bytes] | None:
        """What an earlier run has kept of this very body; a hop only where there may be some."""
        prefix = os.path.join(self.folder, target.folder, "")  # noqa: PTH118 - as in `_look_at`
        noted = self._disk.rare.get(prefix)
        if noted is not None and kept_names("", target.stem)[1] not in noted:
            return None
        return await self._pool.run(self._take_up, target, mark)

    async def aclose(self) -> None:
        """Discard what was not published, and let the threads go."""
        try:
            if self._unpublished:
                await self._pool.run(self._discard_all)
        finally:
            if self._own_disk:
                self._disk.close()

    async def _publish_inline(self, batch: Sequence[Ready]) -> list[Stored]:
        """The same, with hops for nothing but syncing."""
        syncing = self._fsync is not Fsync.OFF
        try:
            with self._watching(len(batch)):
                staged = self._write_all(batch)
        except DestinationError as error:
            if error.errno not in NO_DESCRIPTOR:
                raise
            staged = await self._pool.run(self._write_all, batch)  # there one can wait for some
        if syncing:
            await self._disk.syncing.run(self._sync, staged)
        with self._watching(len(batch)):
            stored = list(map(self._link, staged))
        if syncing:
            await self._disk.syncing.run(self._sync_folders, staged)
        return stored

    @contextlib.contextmanager
    def _watching(self, files: int) -> Iterator[None]:
        """Do disk work in the loop, for the last time if the disk turns out to be slow."""
        began = time.perf_counter()
        yield
        if time.perf_counter() - began > HICCUP + files * QUICK:
            self._inline = False

    # What follows runs in threads, or in the loop if that is ours.

    def _existing(self, targets: Sequence[Target]) -> list[PurePosixPath | None]:
        """A destination that can be none is said here, before anything is fetched."""
        prefixes: dict[PurePosixPath, str] = {}
        there: list[PurePosixPath | None] = [None] * len(targets)
        try:
            if not stat.S_ISDIR(os.stat(self.folder).st_mode):  # noqa: PTH116 - one look
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            for number, target in enumerate(targets):
                prefix = prefixes.get(target.folder)
                if prefix is None:
                    prefix = prefixes[target.folder] = self._look_at(target.folder)
                there[number] = self._taken(target, prefix)
        except FileNotFoundError:
            pass  # nothing of it is there
        except OSError as error:
            raise destination_error(error, self.folder) from error
        return there

    def _taken(self, target: Target, prefix: str) -> PurePosixPath | None:
        """The name under which it is there; rare ones are looked for among those noted."""
        if target.extension is not None:
            names: Sequence[str] = target.file_names()
        else:
            names = [target.stem + _USUAL[0], target.stem + _USUAL[1]]
            if noted := self._disk.rare.get(prefix):
                names += [name for name in target.file_names() if name in noted]
        for name in names:
            if is_there(prefix + name) and whats_wrong(prefix + name) is None:
                return target.folder / name
        return None

    def _look_at(self, folder: PurePosixPath) -> str:
        """Read a folder that is there, if nobody has; how the paths in it begin.

        That is a string which a file name can follow: joining paths costs more than I/O.
        """
        prefix = self._prefixes.get(folder) or os.path.join(self.folder, folder, "")  # noqa: PTH118
        if prefix not in self._disk.rare and os.path.isdir(prefix):  # noqa: PTH112 - hot
            noted: set[str] = set()
            sweep(self.folder / folder, noted, _RARE)
            self._disk.rare[prefix] = noted
        return prefix

    def _create(self, folder: PurePosixPath) -> tuple[str, int]:
        try:
            prefix = self._prefixes.get(folder) or self._prepare(folder)
            temp = prefix + next(self._disk.names)
            fd = create(temp)
        except OSError as error:
            raise destination_error(error, self.folder) from error
        self._unpublished[temp] = None
        return temp, fd

    def _prepare(self, folder: PurePosixPath) -> str:
        """Make a folder, and read it, if nobody has; how the paths in it begin."""
        made = make_folder(self.folder, folder)
        if self._modes is not None:
            for path in made:
                path.chmod(self._modes[1])
        self._disk.made.update(made)
        prefix = self._prefixes[folder] = self._look_at(folder)
        return prefix

    def _discard(self, temp: str) -> None:
        file = self._unpublished.pop(temp, None)
        if file is not None:
            file.remove()
        else:
            remove(temp)

    def _begin(self, target: Target) -> LocalUpload:
        return self._upload(target, PartFile(*self._create(target.folder)))

    def _upload(self, target: Target, file: PartFile) -> LocalUpload:
        """In the thread: a caller who is cancelled never sees it."""
        self._unpublished[file.path] = file
        return LocalUpload(self._pool, file, target, self._discard, self._prefixes[target.folder])

    def _keep(self, upload: LocalUpload, mark: str) -> None:
        note = upload.keep(mark)
        if note is None:
            self._discard(upload.file.path)
            return
        prefix, name = os.path.split(note)
        self._disk.rare.setdefault(os.path.join(prefix, ""), set()).add(name)  # noqa: PTH118
        del self._unpublished[upload.file.path]

    def _take_up(self, target: Target, mark: str) -> tuple[LocalUpload, bytes] | None:
        prefix = self._look_at(target.folder)
        temp = prefix + next(self._disk.names)
        with destination_errors(temp):
            file = take_part(prefix, target.stem, mark, temp)
        if file is None:
            return None
        self._prefixes[target.folder] = prefix
        return self._upload(target, file), file.head

    def _discard_all(self) -> None:
        for temp in tuple(self._unpublished):
            self._discard(temp)

    def _write_all(self, batch: Sequence[Ready]) -> list[Staged]:
        staged = []
        for ready in batch:
            item = self._write(ready) if isinstance(ready, Body) else ready
            if item.target.name_if_changed is not None:
                item = self._renamed(item)
            staged.append(item)
        return staged

    def _renamed(self, staged: Staged) -> Staged:
        """Under the name that its bytes are to have."""
        target = staged.target.for_bytes(staged.sha256)
        with destination_errors(self.folder / target.folder):
            if target.folder not in self._prefixes:
                self._prepare(target.folder)
        return staged._replace(target=target)

    def _sync_and_link(self, staged: Sequence[Staged]) -> list[Stored]:
        self._sync(staged)
        stored = list(map(self._link, staged))
        self._sync_folders(staged)
        return stored

    def _sync(self, staged: Sequence[Staged]) -> None:
        if self._fsync is Fsync.OFF:
            return
        try:
            sync_many(list(map(_KEY, staged)), each=self._fsync is Fsync.EACH)
        except OSError as error:
            raise destination_error(error, self.folder) from error

    def _sync_folders(self, staged: Sequence[Staged]) -> None:
        if self._fsync is Fsync.OFF:
            return
        made = tuple(self._disk.made)
        folders: set[str] = set()
        for item in staged:
            folders.add(self._prefixes[item.target.folder])
        for path in made:
            folders.add(os.fspath(path.parent))
        try:
            for folder in folders:
                sync_folder(folder.rstrip("/") or folder)
        except OSError as error:
            raise destination_error(error, self.folder) from error
        # Only now: a batch beside this one relies on them, too.
        self._disk.made.difference_update(made)

    def _write(self, body: Body) -> Staged:
        digest = hashlib.sha256()
        for chunk in body.chunks:
            digest.update(chunk)
        temp, fd = self._create(body.target.folder)
        try:
            try:
                write_all(fd, body.chunks)
            finally:
                os.close(fd)
        except OSError as error:
            raise destination_error(error, temp) from error
        return Staged(body.target, body.size, body.audio, digest.hexdigest(), temp)

    def _link(self, staged: Staged) -> Stored:
        target = staged.target
        name = target.file_name(staged.audio.media_type)
        prefix = self._prefixes[target.folder]
        final = prefix + name
        blocked = None
        try:
            if target.mtime is not None:
                # Years that the file system cannot say, or a mount that keeps no times.
                with contextlib.suppress(OverflowError, OSError):
                    os.utime(staged.key, (target.mtime, target.mtime))
            if self._modes is not None:
                os.chmod(staged.key, self._modes[0])  # noqa: PTH101 - hot
            if self._overwrite:
                os.replace(staged.key, final)  # noqa: PTH105 - hot
                new = True
            else:
                new = link_or_replace(staged.key, final)
                if not new:
                    blocked = obstacle(final, staged.sha256)
        except OSError as error:
            raise destination_error(error, final) from error
        self._unpublished.pop(staged.key, None)
        if not name.endswith(_USUAL):
            self._disk.rare.setdefault(prefix, set()).add(name)
        return Stored(target.folder / name, staged.size, staged.sha256, new, blocked)
