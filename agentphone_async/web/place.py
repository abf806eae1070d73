"""The files of an archive as `serve` reads them: in a folder, or as objects in a bucket.

A path comes from the catalog, which may be somebody else's work. It is followed only if it stays
within the archive, and no link is.
"""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Protocol

from agentphone_async.archive.bucket.store import OURS
from agentphone_async.archive.catalog.paths import CatalogConnection
from agentphone_async.errors import DestinationError
from agentphone_async.sinks.bucket import Bucket
from agentphone_async.sinks.threads import FilePool

STEP = 256 * 1024
"""Bytes that are sent at a time."""

AT_ONCE = 16
"""Requests to a store at a time."""

_WHOLE = 4 * 2**20
"""Bytes of an object that come in one request, even if only parts are wanted."""

Range = tuple[int, int]
"""Where bytes begin, and how many there are."""


class Opened(Protocol):
    """A file that is open.

    Attributes:
        size: bytes.
        is_far: each request takes a while.
    """

    size: int
    is_far: bool

    def read(self, ranges: Sequence[Range]) -> list[bytes]:
        """Parts of it; blocking. What is beyond the end is left out."""

    def pieces(self, start: int, end: int) -> AsyncGenerator[bytes]:
        """From ``start`` to before ``end``, in steps."""

    def close(self) -> None:
        """Let it go."""


class Place(Protocol):
    """Where the files of an archive are."""

    at_once: int

    def open(self, path: str) -> Opened:
        """Open a file; blocking.

        Raises:
            CatalogError: the path leads out of the archive.
            DestinationError: there is no such file, or it is a link, or not a regular file.
        """


class Folder:
    """An archive in a folder.

    Args:
        folder: it.
        catalog: of it.
        pool: threads to read on.
    """

    at_once = 1

    def __init__(self, folder: Path, catalog: CatalogConnection, pool: FilePool) -> None:
        self._folder = folder
        self._catalog = catalog
        self._pool = pool

    def open(self, path: str) -> Opened:
        """See `Place`."""
        self._catalog.inside(path)
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        flags |= getattr(os, "O_NONBLOCK", 0)  # for pipes, which are refused below
        try:
            descriptor = os.open(self._folder / path, flags)
        except (OSError, ValueError) as error:
            raise DestinationError(
                f"a file of the archive cannot be read: {getattr(error, 'strerror', error)}",
                errno=getattr(error, "errno", None),
            ) from error
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise DestinationError("what the catalog names is not a file")
        return _File(descriptor, status.st_size, self._pool)


class _File:
    is_far = False

    def __init__(self, descriptor: int, size: int, pool: FilePool) -> None:
        self.size = size
        self._descriptor = descriptor
        self._pool = pool

    def read(self, ranges: Sequence[Range]) -> list[bytes]:
        return [os.pread(self._descriptor, count, start) for start, count in ranges]

    async def pieces(self, start: int, end: int) -> AsyncGenerator[bytes]:
        while start < end:
            count = min(STEP, end - start)
            piece = await self._pool.run(os.pread, self._descriptor, count, start)
            if not piece:
                return  # it was cut meanwhile; the length tells
            yield piece
            start += len(piece)

    def close(self) -> None:
        os.close(self._descriptor)


class Objects:
    """An archive in a bucket: what is played comes from the store as it is listened to."""

    at_once = AT_ONCE

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def open(self, path: str) -> Opened:
        """See `Place`."""
        parts = PurePosixPath(path).parts
        if not parts or path.startswith(("/", OURS)) or ".." in parts or "\0" in path:
            raise DestinationError("what the catalog names is not a file of the archive")
        head = self._bucket.head(path)
        if head is None:
            raise DestinationError("a file of the archive cannot be read: it is not in the bucket")
        return _Object(self._bucket, path, head.size)


class _Object:
    is_far = True

    def __init__(self, bucket: Bucket, path: str, size: int) -> None:
        self.size = size
        self._bucket = bucket
        self._path = path

    def read(self, ranges: Sequence[Range]) -> list[bytes]:
        if not self.size:
            return [b"" for _ in ranges]
        if self.size <= _WHOLE:
            body = self._part((0, self.size))
            return [body[start : start + count] for start, count in ranges]
        with ThreadPoolExecutor(min(AT_ONCE, len(ranges))) as pool:
            return list(pool.map(self._part, ranges))

    def _part(self, wanted: Range) -> bytes:
        start, count = wanted
        count = min(count, self.size - start)
        return self._bucket.read_range(self._path, start, count) if count > 0 else b""

    def pieces(self, start: int, end: int) -> AsyncGenerator[bytes]:
        return self._bucket.stream(self._path, start, end, STEP)

    def close(self) -> None:
        """Nothing is open."""
