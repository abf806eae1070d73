"""Files beside recordings: written whole or not at all, and catalogued when they are there.

In every folder of an archive lies ``SHA256SUMS``, to be checked with ``sha256sum -c SHA256SUMS``.
The sums are the catalog's: nothing is read again. They cover recordings and what lies beside them.
With them goes the index (see `evidence`), from which a lost catalog is rebuilt.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sqlite3
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from anyio.abc import AsyncResource

from agentphone_async.archive.catalog.calls import raw_calls
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.paths import path_of_row
from agentphone_async.archive.catalog.recordings import (
    files_in,
    folders_changed,
    recordings_in,
    sidecars_in,
    sidecars_of,
    store_sidecars,
)
from agentphone_async.archive.catalog.rows import SidecarRow, moment_or_none, stamp
from agentphone_async.archive.catalog.settings import get_setting, set_setting
from agentphone_async.archive.files.evidence import (
    call_line,
    index_path,
    recording_line,
    sidecar_line,
    sums_in,
    sums_line,
)
from agentphone_async.archive.files.on_disk import size_of
from agentphone_async.archive.files.storage import Files, LocalFiles
from agentphone_async.archive.names import SUMS_NAME, key_of_names
from agentphone_async.protocol.recording import Audio
from agentphone_async.recordings.naming import hashed_id, safe_component
from agentphone_async.sinks.disk import destination_errors, remove
from agentphone_async.sinks.interface import Body, Target
from agentphone_async.sinks.local import Fsync
from agentphone_async.sinks.threads import FilePool

_MARK = "evidence_written"
_MARGIN = timedelta(hours=25)  # clocks are set back; looking twice costs little
_ROWS = 500
_IN_MEMORY = 8 * 1024 * 1024
_OUTSIDE = frozenset({"", ".", ".."})

METADATA = "metadata"
TRANSCRIPT = "transcript"
TRANSCRIPT_TEXT = "transcript_text"

Known = dict[tuple[str, str], SidecarRow]
"""What the catalog has beside recordings, by call id and kind."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A file to be written.

    Attributes:
        call_id: whose it is.
        kind: ``metadata``, ``transcript`` or ``transcript_text``.
        path: relative to the archive.
        body: its bytes.
    """

    call_id: str
    kind: str
    path: PurePosixPath
    body: bytes


class SidecarFiles(AsyncResource):
    """Writes files beside recordings, through a sink that replaces what is there.

    Opens the archive's catalog at the first use, beside the run's own connection: SQLite lets one
    writer in at a time. To be closed with `aclose`, or used as an async context manager.

    Args:
        folder: the archive.
        fsync: when bytes are forced to the disk; always before a file is visible, unless off.
        hash_ids: name files by the archive's keyed hash of the call id; an archive that has such
            names keeps to them.
        now: the wall clock.
        catalog: one that is open already, and stays open.
        files: where they lie, if that is not ``folder``.

    Attributes:
        sink: where files are put.
        pool: threads for other file work.
        changed: folders in which something was written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        fsync: Fsync = Fsync.BATCH,
        hash_ids: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        catalog: Catalog | None = None,
        files: Files | None = None,
    ) -> None:
        self.folder = folder
        self._files = files or LocalFiles(folder)
        self.now = now
        self.changed: set[PurePosixPath] = set()
        self.pool = FilePool(2)
        self.sink = self._files.beside(fsync, self.pool)
        self._hash_ids = hash_ids
        self._key: bytes | None = None
        self._has_looked_for_key = False
        self._catalog = catalog
        self._owned = catalog is None
        self._opening = asyncio.Lock()

    async def aclose(self) -> None:
        """Let files and catalog go; fine at any time, also twice."""
        try:
            await self.sink.aclose()
            if self._catalog is not None and self._owned:
                await self._catalog.aclose()
        finally:
            self.pool.close()

    async def catalog(self) -> Catalog:
        """The archive's catalog, open.

        Raises:
            CatalogError: it cannot be used.
        """
        async with self._opening:
            if self._catalog is None:
                self._catalog = await Catalog.open(self.folder)
            if not self._has_looked_for_key:
                self._has_looked_for_key = True
                self._key = await key_of_names(self._catalog, hash_ids=self._hash_ids)
            return self._catalog

    def named(self, call_id: str) -> str:
        """What stands for a call id in names; after `known` or `catalog`."""
        return safe_component(call_id) if self._key is None else hashed_id(call_id, self._key)

    async def known(self, ids: Sequence[str]) -> Known:
        """What is there for these calls, at most a few hundred: in the catalog and on the disk.

        A file that is gone, or has another size than it should have, counts as not there.
        """
        catalog = await self.catalog()
        rows = await catalog.run(sidecars_of, ids)
        if not rows:
            return {}
        there = await self.pool.run(
            lambda: [row for row in rows if self._files.has(row.path, row.size)]
        )
        return {(row.call_id, row.kind): row for row in there}

    async def store(self, files: Sequence[Sidecar]) -> None:
        """Write files, and then their rows; what a call had under another name is removed.

        Raises:
            DestinationError: the disk failed; rows of files that are not there are not written.
        """
        if not files:
            return
        catalog = await self.catalog()
        old = await catalog.run(sidecars_of, sorted({file.call_id for file in files}))
        await self.sink.publish([body_of(file.path, [file.body]) for file in files])
        rows = [_row(file, self.now()) for file in files]
        await catalog.transaction(store_sidecars, rows)
        self.changed.update(file.path.parent for file in files)
        places = {(row.call_id, row.kind): row.path for row in rows}
        moved = [row for row in old if places.get((row.call_id, row.kind), row.path) != row.path]
        if moved:
            self.changed.update(row.path.parent for row in moved)
            await self.pool.run(self._remove, moved)

    def _remove(self, rows: Sequence[SidecarRow]) -> None:
        for row in rows:
            self._files.remove_if(row.path, row.sha256)

    # ---------------------------------------------------------------- sums and index

    async def finish_sums(self, folders: Iterable[PurePosixPath]) -> int:
        """Write the sums of these folders, and of all that have changed since the last time.

        Which these are the catalog tells, so that what a killed run had no time for is made up
        for by the next one.

        Raises:
            DestinationError: the disk or the catalog failed.
        """
        catalog = await self.catalog()
        began = self.now()
        done = {*folders, *self.changed}
        written = await self.write_sums(done)
        last = moment_or_none(await catalog.run(get_setting, _MARK))
        more = await catalog.run(folders_changed, None if last is None else last - _MARGIN)
        while found := await catalog.run(more):
            written += await self.write_sums(found - done)
            done = found
        await catalog.transaction(set_setting, _MARK, stamp(began))
        return written

    async def write_sums(self, folders: Iterable[PurePosixPath]) -> int:
        """Write the sums of these folders where they are not what they should be; tell how many.

        Raises:
            CatalogError: a link leads one of them out of the archive.
            DestinationError: the disk or the catalog failed.
        """
        catalog = await self.catalog()
        written = 0
        for folder in sorted(folders):
            both = (index_path(folder), folder / SUMS_NAME)
            await catalog.run(lambda db, both=both: [path_of_row(db, str(one)) for one in both])  # type: ignore[misc]
            kept = await self._kept(catalog, folder)
            await self._write(index_path(folder), partial(index_of, catalog, folder))
            sums = partial(sums_of, catalog, folder, kept)
            written += await self._write(folder / SUMS_NAME, sums)
        return written

    async def _kept(self, catalog: Catalog, folder: PurePosixPath) -> list[tuple[str, str]]:
        """Lines of files that are there although the catalog does not count on them.

        They may be all that is left to tell what such a file has to be.
        """
        top = self.folder / folder
        before = await self.pool.run(sums_in, top)
        if not before:
            return []
        names = set(before)
        after = ""
        while rows := await catalog.run(files_in, folder, after, _ROWS):
            after = rows[-1][0]
            names.difference_update(name for name, _ in rows)
        there = await self.pool.run(_regular, top, sorted(names))
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
        before = await self.pool.run(_sha256, self.folder / path, size)
        if before == digest.hexdigest() or (before is None and not size):
            return False
        if not size:  # an empty list would not pass for a list
            await self.pool.run(remove, os.fspath(self.folder / path))
        elif size <= _IN_MEMORY:
            await self.sink.publish([body_of(path, chunks)])
        else:
            await self._write_long(path, text)
        return True

    async def _write_long(
        self, path: PurePosixPath, text: Callable[[], AsyncGenerator[bytes]]
    ) -> None:
        """A folder of very many files: the text is made once more, not held in memory."""
        upload = await self.sink.begin(Target(path.parent, path.name, extension=""))
        try:
            async with aclosing(text()) as pieces:
                async for chunk in pieces:
                    await upload.write([chunk])
            staged = await upload.stage(Audio("text/plain"))
        except BaseException:
            await upload.abort()
            raise
        await self.sink.publish([staged])


def _row(file: Sidecar, now: datetime) -> SidecarRow:
    sha256 = sha256_of(file.body)
    return SidecarRow(file.call_id, file.kind, file.path, len(file.body), sha256, now)


def body_of(path: PurePosixPath, chunks: Sequence[bytes]) -> Body:
    """A file for a sink, under exactly this name."""
    target = Target(path.parent, path.name, extension="")
    return Body(target, chunks, sum(map(len, chunks)), Audio("text/plain"))


def sha256_of(body: bytes) -> str:
    """In hexadecimal."""
    return hashlib.sha256(body).hexdigest()


def pretty(raw: Mapping[str, Any]) -> bytes:
    """JSON for people: one field a line, keys in order, pure ASCII; equal for equal objects."""
    if raw and not any(isinstance(value, dict | list) for value in raw.values()):
        # The same as below, by the encoder in C: a run does this for every call that it lists.
        fields = json.dumps(raw, sort_keys=True, separators=(",\n  ", ": "))
        return f"{{\n  {fields[1:-1]}\n}}\n".encode("ascii")
    return (json.dumps(raw, sort_keys=True, indent=2) + "\n").encode("ascii")


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
