"""Sinks for whatever stores a recording in one step: an object store, a database, a service.

`StoreSink` does all but two things, and those are told by a subclass: whether a name is taken, and
how bytes are stored under one that is free. Small recordings wait in memory to be stored. Large
ones, and any when many wait, lie in a private temporary file and are stored from a map of it, so
that memory does not grow with them. What a dead process left of those is removed by the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import mmap
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias, TypeVar

import anyio

from agentphone_async.errors import DestinationError
from agentphone_async.protocol.recording import Chunk
from agentphone_async.sinks.checked import ask
from agentphone_async.sinks.disk import create, destination_errors, make_folder
from agentphone_async.sinks.interface import Body, Ready, Staged, Stored, Target, Upload
from agentphone_async.sinks.leftovers import sweep, temp_names
from agentphone_async.sinks.threads import FilePool
from agentphone_async.sinks.uploads import FileUpload, PartFile

AT_ONCE = 32
"""Recordings of one batch that are stored at the same time."""

HELD = 32 * 1024 * 1024
"""Bytes of staged recordings that may wait in memory; what is beyond that is spooled."""

TRIMMED = 8 * 1024 * 1024
"""Bytes; of larger maps, pages that were read are let go of again and again."""

_TRIM = 0.05
_CAN_TRIM = hasattr(mmap, "MADV_DONTNEED")

Data: TypeAlias = bytes | bytearray | mmap.mmap
T = TypeVar("T")


class StoreSink(ABC):
    """A sink of which a subclass tells two things: `has` and `create`.

    Both may be asked for many recordings at once. They raise `DestinationError` when the place
    itself fails; after that nothing more is stored.
    """

    @abstractmethod
    async def has(self, name: str) -> bool:
        """Whether this name is taken."""

    @abstractmethod
    async def create(self, name: str, data: Data, recording: Staged) -> bool:
        """Store bytes under a name, visible only when whole; False, and no change, if it is taken.

        Args:
            name: with ``/`` between its parts.
            data: bytes, or what can be written, hashed and sliced like them.
            recording: what they are: their size, SHA-256, and media type.
        """

    async def existing(self, targets: Sequence[Target]) -> list[PurePosixPath | None]:
        """For each target the name under which it is there already, or None."""
        await self._sink_ready()
        found: list[PurePosixPath | None] = [None] * len(targets)

        async def look(index: int) -> None:
            for name in targets[index].candidates():
                if await self._sink_has(str(name)):
                    found[index] = name
                    return

        await _each(len(targets), look)
        return found

    async def begin(self, target: Target) -> Upload:
        """Start a recording that comes in parts."""
        await self._sink_ready()
        file = await self._sink_pool.run(self._sink_spool.create)
        return FileUpload(self._sink_pool, file, target, self._sink_spool.discard)

    async def stage(self, body: Body) -> Staged:
        """Hash it in a thread; and spool it, unless there is room to keep a few like it."""
        await self._sink_ready()
        return await self._sink_pool.run(self._sink_write, body)

    async def publish(self, batch: Sequence[Ready]) -> list[Stored]:
        """Store them all; those that cannot be stored end everything, and none is half there."""
        await self._sink_ready()
        stored: list[Stored | None] = [None] * len(batch)

        async def put(index: int) -> None:
            stored[index] = await self._sink_publish(batch[index])

        try:
            await _each(len(batch), put)
        except DestinationError as error:
            self._sink_error = self._sink_error or error
            raise
        return [one for one in stored if one is not None]

    async def discard(self, ready: Ready) -> None:
        """Remove what was written of it."""
        if isinstance(ready, Staged):
            await self._sink_forget(ready.key)

    async def aclose(self) -> None:
        """Discard what was not published, and let the threads go."""
        self._sink_held.clear()
        try:
            if self._sink_spool:
                await self._sink_pool.run(self._sink_spool.discard_all)
        finally:
            if self._sink_own_pool:
                self._sink_pool.close()

    async def in_thread(self, work: Callable[..., T], *given: Any) -> T:
        """Run what blocks in a thread; a cancellation waits until it has ended."""
        return await self._sink_pool.run(work, *given)

    # Private, with names that no subclass takes by chance; `ObjectSink` has its own of some.

    _sink_own_pool = True
    _sink_error: DestinationError | None = None

    @cached_property
    def _sink_pool(self) -> FilePool:
        return FilePool()

    @cached_property
    def _sink_spool(self) -> Spool:
        return Spool()

    @cached_property
    def _sink_held(self) -> dict[str, Chunk]:
        return {}

    async def _sink_ready(self) -> None:
        """The first error counts for all that follows: nothing may look stored after it."""
        if self._sink_error is not None:
            raise self._sink_error

    async def _sink_has(self, name: str) -> bool:
        return await ask(self, "has", bool, name)

    async def _sink_store(self, data: Data, recording: Staged) -> Stored:
        target = recording.target.for_bytes(recording.sha256)
        name = target.named(recording.audio.media_type)
        new = await ask(self, "create", bool, str(name), data, recording, size=recording.size)
        return Stored(name, recording.size, recording.sha256, new)

    async def _sink_publish(self, ready: Ready) -> Stored:
        if isinstance(ready, Body):
            data = _joined(ready.chunks)
            sha256 = hashlib.sha256(data).hexdigest()
            recording = Staged(ready.target, ready.size, ready.audio, sha256, key="")
            return await self._sink_store(data, recording)
        try:
            held = self._sink_held.get(ready.key)
            if held is not None:
                return await self._sink_store(held, ready)
            mapped_file = await self._sink_pool.run(mapped, ready.key)
            with _trimming(mapped_file):
                return await self._sink_store(mapped_file, ready)
        finally:
            await self._sink_forget(ready.key)

    async def _sink_forget(self, key: str) -> None:
        if self._sink_held.pop(key, None) is None:
            await self._sink_pool.run(self._sink_spool.discard, key)

    def _sink_write(self, body: Body) -> Staged:
        """For a thread."""
        if sum(map(len, self._sink_held.values())) + body.size <= HELD:
            data = _joined(body.chunks)
            sha256, key = hashlib.sha256(data).hexdigest(), f"memory-{next(_numbers)}"
            self._sink_held[key] = data
            return Staged(body.target, body.size, body.audio, sha256, key)
        file = self._sink_spool.create()
        file.write(body.chunks)
        file.close()
        return Staged(body.target, body.size, body.audio, file.sha256, file.path)


_numbers = itertools.count()


class Spool:
    """A folder of private temporary files; it blocks.

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


def _joined(chunks: Sequence[Chunk]) -> Chunk:
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


@contextlib.contextmanager
def _trimming(data: bytes | mmap.mmap) -> Iterator[None]:
    """Let go of the pages of a large map while it is read: they count as this process's memory."""
    if len(data) <= TRIMMED or not isinstance(data, mmap.mmap) or not _CAN_TRIM:
        yield
        return
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []

    def trim() -> None:
        data.madvise(mmap.MADV_DONTNEED)
        timers[:] = [loop.call_later(_TRIM, trim)]

    timers.append(loop.call_later(_TRIM, trim))
    try:
        yield
    finally:
        timers[0].cancel()


async def _each(count: int, work: Callable[[int], Awaitable[None]]) -> None:
    """Await ``work(index)`` for each, a few at a time; raise the first error as it is."""
    indices = iter(range(count))

    async def worker() -> None:
        for index in indices:
            await work(index)

    if count == 1:
        await work(0)
        return
    try:
        async with anyio.create_task_group() as group:
            for _ in range(min(AT_ONCE, count) - 1):
                group.start_soon(worker)
            await worker()
    except BaseExceptionGroup as failures:
        first: BaseException = failures
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None
