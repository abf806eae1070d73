"""``SHA256SUMS`` in every folder of an archive, to be checked with ``sha256sum -c SHA256SUMS``.

The sums are the catalog's: nothing is read again. They cover recordings and what lies beside them.
With them goes the index (see `evidence`), from which a lost catalog is rebuilt.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from datetime import timedelta
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from agentphone_async.archive.catalog.calls import raw_calls
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.paths import path_of_row
from agentphone_async.archive.catalog.recordings import (
    files_in,
    folders_changed,
    recordings_in,
    sidecars_in,
)
from agentphone_async.archive.catalog.rows import moment_or_none, stamp
from agentphone_async.archive.catalog.settings import get_setting, set_setting
from agentphone_async.archive.files.evidence import (
    call_line,
    index_path,
    recording_line,
    sidecar_line,
    sums_in,
)
from agentphone_async.archive.files.on_disk import size_of
from agentphone_async.archive.files.sidecar_files import SidecarFiles, body_of
from agentphone_async.archive.names import SUMS_NAME
from agentphone_async.archive.options import Placed
from agentphone_async.protocol.recording import Audio
from agentphone_async.sinks.disk import destination_errors, remove
from agentphone_async.sinks.interface import Target

_MARK = "evidence_written"
_MARGIN = timedelta(hours=25)  # clocks are set back; looking twice costs little
_ROWS = 500
_IN_MEMORY = 8 * 1024 * 1024
_OUTSIDE = frozenset({"", ".", ".."})
_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r"})


def sums_line(name: str, sha256: str) -> str:
    """One line as ``sha256sum`` writes it (GNU coreutils manual, "cksum common options").

    A name with a backslash or a line break is escaped, and its line begins with a backslash.
    """
    escaped = name.translate(_ESCAPES)
    mark = "" if escaped == name else "\\"
    return f"{mark}{sha256}  {escaped}\n"


class Sums:
    """Keeps every folder's ``SHA256SUMS`` as the catalog has it; a `SidecarWriter`.

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
        """Write the sums of these folders where they are not what they should be.

        Raises:
            CatalogError: a link leads one of them out of the archive.
            DestinationError: the disk or the catalog failed.
        """
        catalog = await self._files.catalog()
        for folder in sorted(folders):
            both = (index_path(folder), folder / SUMS_NAME)
            await catalog.run(lambda db, both=both: [path_of_row(db, str(one)) for one in both])  # type: ignore[misc]
            kept = await self._kept(catalog, folder)
            await self._write(index_path(folder), partial(index_of, catalog, folder))
            sums = partial(sums_of, catalog, folder, kept)
            self.written += await self._write(folder / SUMS_NAME, sums)

    async def _kept(self, catalog: Catalog, folder: PurePosixPath) -> list[tuple[str, str]]:
        """Lines of files that are there although the catalog does not count on them.

        They may be all that is left to tell what such a file has to be.
        """
        top = self._files.folder / folder
        before = await self._files.pool.run(sums_in, top)
        if not before:
            return []
        names = set(before)
        after = ""
        while rows := await catalog.run(files_in, folder, after, _ROWS):
            after = rows[-1][0]
            names.difference_update(name for name, _ in rows)
        there = await self._files.pool.run(_regular, top, sorted(names))
        return [(name, before[name]) for name in there]

    async def _write(self, path: PurePosixPath, text: Callable[[], AsyncGenerator[bytes]]) -> bool:
        """Bring one file up to date; True if it was not. ``text`` gives what it is to hold."""
        chunks: list[bytes] = []
        size = 0
        digest = hashlib.sha256()
        async with aclosing(text()) as pieces:
            async for chunk in pieces:
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
            await self._write_long(path, text)
        return True

    async def _write_long(
        self, path: PurePosixPath, text: Callable[[], AsyncGenerator[bytes]]
    ) -> None:
        """A folder of very many files: the text is made once more, not held in memory."""
        sink = self._files.sink
        upload = await sink.begin(Target(path.parent, path.name, extension=""))
        try:
            async with aclosing(text()) as pieces:
                async for chunk in pieces:
                    await upload.write([chunk])
            staged = await upload.stage(Audio("text/plain"))
        except BaseException:
            await upload.abort()
            raise
        await sink.publish([staged])


async def sums_of(
    catalog: Catalog, folder: PurePosixPath, kept: Sequence[tuple[str, str]] = ()
) -> AsyncGenerator[bytes]:
    """What ``SHA256SUMS`` of a folder is to hold, in pieces; lines to be ``kept`` come last."""
    after = ""
    while rows := await catalog.run(files_in, folder, after, _ROWS):
        after = rows[-1][0]
        yield _lines(rows)
    if kept:
        yield _lines(kept)


async def index_of(catalog: Catalog, folder: PurePosixPath) -> AsyncGenerator[bytes]:
    """What the index of a folder is to hold, in pieces; each call comes before its files."""
    told: set[str] = set()
    for rows_in, line in ((recordings_in, recording_line), (sidecars_in, sidecar_line)):
        after = ""
        while piece := await catalog.run(_index_piece, rows_in, line, folder, after, told):
            after, text = piece
            yield text


def _index_piece(
    connection: sqlite3.Connection,
    rows_in: Callable[..., list[tuple[Any, ...]]],
    line: Callable[[str, Sequence[Any]], str],
    folder: PurePosixPath,
    after: str,
    told: set[str],
) -> tuple[str, bytes] | None:
    """The next lines, with the name that is the last in them; None at the end."""
    rows = rows_in(connection, folder, after, _ROWS)
    if not rows:
        return None
    news = {row[1] for row in rows} - told
    told |= news
    lines = [call_line(*call) for call in raw_calls(connection, list(news))]
    lines += [line(row[0], row[1:]) for row in rows]
    return rows[-1][0], "".join(lines).encode("ascii")


def _lines(rows: Sequence[tuple[str, str]]) -> bytes:
    text = "".join(sums_line(name, sha256) for name, sha256 in rows)
    return text.encode("utf-8", "surrogateescape")


def _regular(folder: Path, names: Sequence[str]) -> list[str]:
    """Those of some names that are files, there or further down."""
    plain = (name for name in names if _OUTSIDE.isdisjoint(name.split("/")) and "\0" not in name)
    return [name for name in plain if size_of(folder, name) is not None]


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
