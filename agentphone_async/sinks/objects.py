"""An object store as the place where recordings come to rest.

One recording is one create-only put: the store makes it visible whole, or not at all, so nothing
has to be renamed, and no multipart upload can be left open. Small recordings are put from memory.
Large ones, and any when many wait, lie in a private temporary file and are put from a map of it, so
that memory does not grow with them. Every object carries the SHA-256 of its bytes, which tells a
lost answer from somebody else's recording.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import mmap
import re
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import anyio

from agentphone_async.errors import DestinationError
from agentphone_async.protocol.display import printable
from agentphone_async.protocol.recording import Audio, Chunk
from agentphone_async.sinks.bucket import LARGEST_OBJECT, Bucket, Head
from agentphone_async.sinks.bucket_errors import BucketError
from agentphone_async.sinks.interface import Body, Ready, Staged, Stored, Target
from agentphone_async.sinks.spool import Spool, mapped
from agentphone_async.sinks.threads import FilePool
from agentphone_async.sinks.uploads import FileUpload

PUTS = 32
"""Requests of one batch at the same time."""

HELD = 32 * 1024 * 1024
"""Bytes of staged recordings that may wait in memory; what is beyond that is spooled."""

TRIMMED = 8 * 1024 * 1024
"""Bytes; of larger maps, pages that were read are let go of again and again."""

_TRIM = 0.05

_TRIES = 5
_PAUSE = 0.2
_MOST_VERSIONS = 1000
_VERSION = re.compile(r"\.v([1-9]\d*)$")
_CAN_TRIM = hasattr(mmap, "MADV_DONTNEED")
_WRITER = secrets.token_hex(8)  # tells what this process wrote from what others did


class ObjectSink:
    """Recordings as objects below one prefix.

    Args:
        bucket: where; see `from_url`.
        overwrite: whether a name that is taken is replaced. Otherwise other bytes than those that
            have the name become its next version: ``recording-x.v2.wav``.
        spool: folder for what is too large for memory; by default a private one of the system's.
        pool: threads to write and hash on; one of its own if not given.
    """

    def __init__(
        self,
        bucket: Bucket,
        *,
        overwrite: bool = False,
        spool: Path | None = None,
        pool: FilePool | None = None,
    ) -> None:
        self.bucket = bucket
        self._overwrite = overwrite
        self._spool = Spool(spool)
        self._own_pool = pool is None
        self._pool = pool or FilePool()
        self._held: dict[str, Chunk] = {}
        self._numbers = itertools.count()
        self._error: DestinationError | None = None

    def __repr__(self) -> str:
        return f"<ObjectSink {self.bucket.url}>"

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        overwrite: bool = False,
        allow_overwrite: bool = False,
        pool: FilePool | None = None,
    ) -> ObjectSink:
        """A sink for ``s3://bucket/prefix``, ``gs://…``, ``az://…``; nothing is sent yet.

        Args:
            url: where; credentials are found by obstore, in the environment or the machine's role.
            overwrite: see the class.
            allow_overwrite: use a store even if it ignores create-only puts.
            pool: see the class.

        Raises:
            ConfigurationError: the URL cannot work, or the extra is not installed.
        """
        bucket = Bucket.from_url(url, allow_overwrite=allow_overwrite)
        return cls(bucket, overwrite=overwrite, pool=pool)

    async def existing(self, targets: Sequence[Target]) -> list[PurePosixPath | None]:
        """For each target the name under which it is there already, or None."""
        await self._ready()
        found: list[PurePosixPath | None] = [None] * len(targets)

        async def look(index: int) -> None:
            for name in targets[index].candidates():
                if await self._head(str(name)) is not None:
                    found[index] = name
                    return

        await _each(len(targets), look)
        return found

    async def begin(self, target: Target) -> FileUpload:
        """Start a recording that comes in parts."""
        await self._ready()
        file = await self._pool.run(self._spool.create)
        return FileUpload(self._pool, file, target, self._spool.discard)

    async def stage(self, body: Body) -> Staged:
        """Hash it in a thread; and spool it, unless there is room to keep a few like it."""
        await self._ready()
        return await self._pool.run(self._write, body)

    async def publish(self, batch: Sequence[Ready]) -> list[Stored]:
        """Put them all; those that cannot be put end everything, and none is half there."""
        await self._ready()
        stored: list[Stored | None] = [None] * len(batch)

        async def put(index: int) -> None:
            stored[index] = await self._publish(batch[index])

        try:
            await _each(len(batch), put)
        except DestinationError as error:
            self._error = self._error or error
            raise
        return [one for one in stored if one is not None]

    async def discard(self, ready: Ready) -> None:
        """Remove what was written of it."""
        if isinstance(ready, Staged):
            await self._forget(ready.key)

    async def aclose(self) -> None:
        """Discard what was not published, and let the threads go."""
        self._held.clear()
        try:
            if self._spool:
                await self._pool.run(self._spool.discard_all)
        finally:
            if self._own_pool:
                self._pool.close()

    async def _ready(self) -> None:
        """The first error counts for all that follows: nothing may look stored after it."""
        if self._error is not None:
            raise self._error
        if not self.bucket.checked:
            try:
                await self._pool.run(self.bucket.prove)
            except DestinationError as error:
                self._error = error
                raise

    # ------------------------------------------------------------ one object

    async def _publish(self, ready: Ready) -> Stored:
        if ready.size > LARGEST_OBJECT:
            raise DestinationError(
                f"{self.bucket.url}: a recording of {ready.size} bytes is more than the "
                f"{LARGEST_OBJECT} that a store takes in one request; set --max-file-size",
                filename=self.bucket.url,
            )
        if isinstance(ready, Body):
            data = _joined(ready.chunks)
            return await self._put(ready, data, hashlib.sha256(data).hexdigest())
        try:
            held = self._held.get(ready.key)
            if held is not None:
                return await self._put(ready, held, ready.sha256)
            mapped_file = await self._pool.run(mapped, ready.key)
            with _trimming(mapped_file):
                return await self._put(ready, mapped_file, ready.sha256)
        finally:
            await self._forget(ready.key)

    async def _forget(self, key: str) -> None:
        if self._held.pop(key, None) is None:
            await self._pool.run(self._spool.discard, key)

    async def _put(self, ready: Ready, data: Any, sha256: str) -> Stored:
        target = ready.target.for_bytes(sha256)
        metadata = metadata_of(ready.audio, sha256)
        if self._overwrite:
            name = target.named(ready.audio.media_type)
            await self.bucket.put(str(name), data, metadata, mode="overwrite")
            return Stored(name, ready.size, sha256)
        name = target.named(ready.audio.media_type)
        for _ in range(_MOST_VERSIONS):
            there = await self._create_object(str(name), data, metadata)
            if there is None:
                return Stored(name, ready.size, sha256)
            if there.size == ready.size and await self._sha256(there) == sha256:
                # Ours after a lost answer; or another writer was faster with the same bytes.
                ours = there.metadata.get("writer") == _WRITER
                return Stored(name, ready.size, sha256, new=ours)
            if target.extension is not None:  # the whole name was chosen by the user
                return Stored(name, ready.size, sha256, new=False)
            target = next_version(target)
            name = target.named(ready.audio.media_type)
        raise DestinationError(
            f"{self.bucket.url}: {printable(str(name), 120)} and {_MOST_VERSIONS} versions of it "
            "are taken by other bytes",
            filename=self.bucket.url,
        )

    async def _create_object(self, path: str, data: Any, metadata: dict[str, str]) -> Head | None:
        """Put one object; return what has its name already, or None.

        "Taken" is believed only when something is there: a put that raced with a delete is
        answered so, too. Who may not list is told 403 of an object that is not there.
        """
        refused: BucketError | None = None
        for attempt in range(_TRIES):
            if await self.bucket.create(path, data, metadata):
                return None
            try:
                there = await self.bucket.head_async(path)
            except BucketError as error:
                if not error.refused:
                    raise
                refused, there = error, None
            if there is not None:
                return there
            await anyio.sleep(_PAUSE * attempt)
        raise refused or DestinationError(
            f"{self.bucket.url} says that {printable(path, 120)} is there, and then that it is "
            "not; try again later",
            filename=self.bucket.url,
        )

    async def _head(self, path: str) -> Head | None:
        try:
            return await self.bucket.head_async(path)
        except BucketError as error:
            if error.refused:  # without permission to list, so S3 says that it is not there
                return None
            raise

    async def _sha256(self, there: Head) -> str:
        said = there.metadata.get("sha256")
        if said is not None:
            return said
        return await self._pool.run(self.bucket.sha256, there.path)

    def _write(self, body: Body) -> Staged:
        """For a thread."""
        if sum(map(len, self._held.values())) + body.size <= HELD:
            data = _joined(body.chunks)
            sha256, key = hashlib.sha256(data).hexdigest(), f"memory-{next(self._numbers)}"
            self._held[key] = data
            return Staged(body.target, body.size, body.audio, sha256, key)
        file = self._spool.create()
        file.write(body.chunks)
        file.close()
        return Staged(body.target, body.size, body.audio, file.sha256, file.path)


def metadata_of(audio: Audio, sha256: str) -> dict[str, str]:
    """What an object says of itself: enough to catalogue it without reading its bytes."""
    known = {
        "Content-Type": audio.media_type,
        "sha256": sha256,
        "writer": _WRITER,
        "rate": audio.sample_rate,
        "channels": audio.channels,
        "seconds": audio.duration_seconds,
        "suspect": audio.suspect and audio.suspect.encode("ascii", "replace").decode()[:200],
    }
    return {name: str(value) for name, value in known.items() if value is not None}


def next_version(target: Target) -> Target:
    """The name for other bytes than those that have this one: ``x``, then ``x.v2``, ``x.v3``."""
    found = _VERSION.search(target.stem)
    if found is None:
        return target._replace(stem=f"{target.stem}.v2")
    return target._replace(stem=f"{target.stem[: found.start()]}.v{int(found[1]) + 1}")


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
            for _ in range(min(PUTS, count)):
                group.start_soon(worker)
    except BaseExceptionGroup as failures:
        first: BaseException = failures
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None
