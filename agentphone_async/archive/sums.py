"""``SHA256SUMS`` in every folder of an archive, to be checked with ``sha256sum -c SHA256SUMS``.

The sums are the catalog's: nothing is read again. They cover recordings and what lies beside them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path, PurePosixPath

from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.recordings import files_in, folders_changed
from agentphone_async.archive.catalog.rows import moment_or_none, stamp
from agentphone_async.archive.catalog.settings import get_setting, set_setting
from agentphone_async.archive.names import SUMS_NAME
from agentphone_async.archive.options import Placed
from agentphone_async.archive.sidecar_files import SidecarFiles, body_of
from agentphone_async.protocol.recording import Audio
from agentphone_async.sinks.disk import destination_errors, remove
from agentphone_async.sinks.interface import Target

_MARK = "sums_written"
_MARGIN = timedelta(hours=25)  # clocks are set back; looking twice costs little
_IN_MEMORY = 8 * 1024 * 1024
_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r"})


def sums_line(name: str, sha256: str) -> str:
    """One line as ``sha256sum`` writes it (GNU coreutils manual, "cksum common options").

    A name with a backslash or a line break is escaped, and its line begins with a backslash.
    """
    escaped = name.translate(_ESCAPES)
    mark = "" if escaped == name else "\\"
    return f"{mark}{sha256}  {escaped}\n"


class Sums:
    """Keeps every folder's ``SHA256SUMS`` as the catalog has it; a `Companion`.

    Which folders have changed is found out from the catalog, so that what a killed run had no
    time for is made up for by the next one.

    Attributes:
        written: files that were new or have changed.
    """

    def __init__(self, files: SidecarFiles) -> None:
        self._files = files
        self.written = 0

    async def process(self, calls: Sequence[Placed]) -> None:
        """Nothing is to be done before the end."""

    async def finish(self, folders: Sequence[PurePosixPath]) -> None:
        """Write the sums of these folders, and of all that have changed since the last time.

        Raises:
            DestinationError: the disk or the catalog failed.
        """
        catalog = await self._files.catalog()
        began = self._files.now()
        done = {*folders, *self._files.changed}
        await self.write(done)
        last = moment_or_none(await catalog.run(get_setting, _MARK))
        more = await catalog.run(folders_changed, None if last is None else last - _MARGIN)
        while found := await catalog.run(more):
            await self.write(found - done)
            done = found
        await catalog.transaction(set_setting, _MARK, stamp(began))

    async def write(self, folders: Iterable[PurePosixPath]) -> None:
        """Write the sums of these folders where they are not what they should be."""
        catalog = await self._files.catalog()
        for folder in sorted(folders):
            self.written += await self._write(catalog, folder)

    async def _write(self, catalog: Catalog, folder: PurePosixPath) -> bool:
        path = folder / SUMS_NAME
        chunks: list[bytes] = []
        size = 0
        digest = hashlib.sha256()
        async with aclosing(sums_of(catalog, folder)) as text:
            async for chunk in text:
                size += len(chunk)
                digest.update(chunk)
                if size <= _IN_MEMORY:
                    chunks.append(chunk)
        before = await self._files.pool.run(_sha256, self._files.folder / path, size)
        if before == digest.hexdigest() or (before is None and not size):
            return False
        if not size:  # an empty list would not pass for a list
            await self._files.pool.run(remove, os.fspath(self._files.folder / path))
        elif size <= _IN_MEMORY:
            await self._files.sink.publish([body_of(path, chunks)])
        else:
            await self._write_long(catalog, path)
        return True

    async def _write_long(self, catalog: Catalog, path: PurePosixPath) -> None:
        """A folder of very many files: the text is made once more, not held in memory."""
        sink = self._files.sink
        upload = await sink.begin(Target(path.parent, path.name, extension=""))
        try:
            async with aclosing(sums_of(catalog, path.parent)) as text:
                async for chunk in text:
                    await upload.write([chunk])
            staged = await upload.stage(Audio("text/plain"))
        except BaseException:
            await upload.abort()
            raise
        await sink.publish([staged])


async def sums_of(catalog: Catalog, folder: PurePosixPath) -> AsyncGenerator[bytes]:
    """What ``SHA256SUMS`` of a folder is to hold, in pieces."""
    after = ""
    while rows := await catalog.run(files_in, folder, after):
        after = rows[-1][0]
        yield "".join(sums_line(name, sha256) for name, sha256 in rows).encode()


def _sha256(path: Path, expected: int) -> str | None:
    """SHA-256 of what is there, if that has the expected size; "" for anything else."""
    with destination_errors(path):
        try:
            if path.stat().st_size != expected:
                return ""
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except (FileNotFoundError, NotADirectoryError):
            return None
