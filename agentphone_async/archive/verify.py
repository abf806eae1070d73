"""Is an archive what its catalog says? Every byte is read again.

Hashing and reading release the interpreter's lock, and are done in large steps: so a few
threads keep the disk or all cores busy, whatever Python does meanwhile. Findings that somebody has
judged harmless (`accept`) are let pass.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.opening import check_readable
from agentphone_async.archive.catalog.paths import CatalogConnection
from agentphone_async.archive.catalog.recordings import (
    accepted,
    files_after,
    files_of_calls,
    known_paths,
    note_accepted,
)
from agentphone_async.archive.catalog.rows import ON_DISK, CatalogFile
from agentphone_async.archive.files.on_disk import examine, walk
from agentphone_async.archive.lock import ArchiveLock
from agentphone_async.archive.report import MOST_KEPT
from agentphone_async.archive.settings_file import load_settings
from agentphone_async.errors import DestinationError
from agentphone_async.protocol.display import printable
from agentphone_async.sinks.threads import FilePool

T = TypeVar("T")

_FILES_A_HOP = 64
_BYTES_A_HOP = 32 * 1024 * 1024
_ROWS = 1024
_NAMES_A_HOP = 500
_CALLS = 200
_STEP = 256 * 1024
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # somebody's fifo must not hold us up
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_HAS_MODES = sys.platform != "win32"

FindingKind = Literal["missing", "altered", "unreadable", "suspect", "unknown"]

Progress = Callable[[int, int], None]
"""Told how many more files and bytes were checked."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        kind: ``missing``; ``altered``, other bytes than were archived; ``unreadable``;
            ``suspect``, kept as it came although header and bytes disagree; ``unknown``, a file
            that the catalog does not know.
        path: relative to the archive.
        reason: what exactly, in a few words.
        file: what the catalog says of it; None for an unknown one.
    """

    kind: FindingKind
    path: PurePosixPath
    reason: str
    file: CatalogFile | None = None


@dataclass(slots=True)
class VerifyReport:
    """What was found; counts are of all, the lists hold the first 100.

    Attributes:
        checked: files that the catalog knows.
        bytes: bytes that were read.
        missing, altered, unreadable, suspect, unknown: findings by their kind.
        exposed: files and folders that others than their owner may read; no problem of the
            recordings', and to be mended with ``chmod -R go= DEST``.
        leftovers: partial files of runs under way or dead.
        aside: files that were put aside when others took their places.
        accepted: findings that `accept` was told to let pass.
        repaired: findings that `repair` has put right.
        seconds: how long it took.
        findings: what is wrong, repaired or not.
        exposed_paths, leftover_paths, aside_paths: examples.
    """

    checked: int = 0
    bytes: int = 0
    missing: int = 0
    altered: int = 0
    unreadable: int = 0
    suspect: int = 0
    unknown: int = 0
    exposed: int = 0
    leftovers: int = 0
    aside: int = 0
    accepted: int = 0
    repaired: int = 0
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)
    exposed_paths: list[PurePosixPath] = field(default_factory=list)
    leftover_paths: list[PurePosixPath] = field(default_factory=list)
    aside_paths: list[PurePosixPath] = field(default_factory=list)

    @property
    def problems(self) -> int:
        """How much was wrong, repaired or not."""
        return self.missing + self.altered + self.unreadable + self.suspect + self.unknown

    @property
    def remaining(self) -> int:
        """How much is wrong still."""
        return self.problems - self.repaired

    @property
    def clean(self) -> bool:
        """Whether the archive is what its catalog says, and holds nothing else."""
        return not self.remaining

    def add(self, finding: Finding) -> None:
        """Count a finding."""
        setattr(self, finding.kind, getattr(self, finding.kind) + 1)
        _keep(self.findings, [finding])

    def add_batch(self, batch: VerifyReport) -> None:
        """Count a batch of files; its findings are for `add`."""
        self.checked += batch.checked
        self.bytes += batch.bytes
        self.accepted += batch.accepted
        self.exposed += _keep(self.exposed_paths, batch.exposed_paths)


async def verify(
    dest: str | Path,
    *,
    threads: int | None = None,
    found: Callable[[Finding], None] | None = None,
    progress: Progress | None = None,
) -> VerifyReport:
    """Read everything in an archive again, and compare it with the catalog.

    Changes nothing, and may continue while a run is at work; files that run has just written may
    then be told as unknown. Memory does not grow with the archive.

    Args:
        dest: the archive.
        threads: how many read and hash; by default one for each core, and at least 2.
        found: told about every finding, as it is found, in the order of paths.
        progress: told how far it is.

    Raises:
        CatalogError: the archive is missing, or its catalog cannot be used.
    """
    folder = Path(dest)
    async with await Catalog.open(folder, write=False) as catalog:
        verifier = Verifier(folder, catalog, threads=threads, progress=progress)
        async with aclosing(verifier.findings()) as findings:
            async for finding in findings:
                if found is not None:
                    found(finding)
    return verifier.report


async def accept(
    dest: str | Path, call_ids: Iterable[str], *, wait_lock: float = 0.0
) -> list[Finding]:
    """Look at all files of some calls, and accept what is wrong with them; returns that.

    What is accepted is one finding about one file with the bytes that it has now: when anything
    else becomes wrong with it, that is told as before.

    Raises:
        CatalogError: the archive is missing, or its catalog cannot be used.
        ArchiveLockedError: a run is at work here.
    """
    folder = Path(dest)
    check_readable(folder)  # no archive, no lock file
    ids = list(dict.fromkeys(call_ids))
    found: list[Finding] = []

    def accept_some(connection: CatalogConnection, some: Sequence[str]) -> None:
        files = files_of_calls(connection, some)
        findings = Hasher(folder, {}).check(files).findings
        judged = [
            (file, one.kind, fingerprint(folder, one))
            for one in findings
            if (file := one.file) is not None
        ]
        note_accepted(connection, judged, datetime.now(UTC))
        found.extend(findings)

    lock = ArchiveLock(folder)
    await lock.wait(wait_lock, asyncio.sleep)
    with lock:
        async with await Catalog.open(folder) as catalog:
            for start in range(0, len(ids), _CALLS):
                await catalog.transaction(accept_some, ids[start : start + _CALLS])
    return found


def fingerprint(folder: Path, finding: Finding) -> str:
    """SHA-256 of what lies at a finding's place; empty if nothing does that can be read."""
    try:
        found = examine(folder, finding.path)
    except DestinationError:
        return ""
    return "" if found is None else found.sha256


class Hasher:
    """Compares files with their rows, on any number of threads.

    Args:
        folder: the archive.
        let_pass: what `accepted` gives.

    Attributes:
        stopped: set it, and `check` returns soon, with what it has.
    """

    def __init__(self, folder: Path, let_pass: Mapping[str, tuple[str, str]]) -> None:
        self._folder = folder
        self._let_pass = let_pass
        self.stopped = False

    def check(self, files: Sequence[CatalogFile]) -> VerifyReport:
        """Read and compare a batch; all its findings are in the list, and not counted."""
        batch = VerifyReport()
        for file in files:
            if self.stopped:
                break
            batch.checked += 1
            wrong = self._wrong(file, batch)
            if wrong is None:
                continue
            finding = Finding(wrong[0], file.path, wrong[1], file)
            known = self._let_pass.get(file.path.as_posix())
            if known is not None and known == (finding.kind, fingerprint(self._folder, finding)):
                batch.accepted += 1
            else:
                batch.findings.append(finding)
        return batch

    def _wrong(self, file: CatalogFile, batch: VerifyReport) -> tuple[FindingKind, str] | None:
        path = os.path.join(self._folder, file.path)  # noqa: PTH118 - hot
        try:
            fd = os.open(path, _FLAGS)
            try:
                return self._compare(file, fd, batch)
            finally:
                os.close(fd)
        except (FileNotFoundError, NotADirectoryError):
            was_lost = file.state not in ON_DISK and file.note
            return "missing", was_lost or "gone"
        except OSError as error:
            if os.path.islink(path):  # noqa: PTH114 - a string already
                return "altered", "a symbolic link now"
            return "unreadable", printable(error.strerror or str(error), 100)

    def _compare(
        self, file: CatalogFile, fd: int, batch: VerifyReport
    ) -> tuple[FindingKind, str] | None:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return "altered", "no regular file any more"
        if _HAS_MODES and status.st_mode & 0o077:
            batch.exposed_paths.append(file.path)
        if status.st_size != file.size:
            return "altered", f"{status.st_size} bytes instead of {file.size}"
        digest = hashlib.sha256()
        while chunk := os.read(fd, min(status.st_size + 1, _STEP)):
            digest.update(chunk)
            batch.bytes += len(chunk)
            if self.stopped:
                return None
        if digest.hexdigest() != file.sha256:
            return "altered", "other bytes than were archived"
        if file.state == "suspect":
            return "suspect", file.note or "header and bytes disagree"
        return None


class Verifier:
    """One pass over an archive; `report` is complete when `findings` has ended."""

    def __init__(
        self,
        folder: Path,
        catalog: Catalog,
        *,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.report = VerifyReport()
        self._folder = folder
        self._catalog = catalog
        self._threads = threads or max(2, os.cpu_count() or 2)
        self._progress = progress or (lambda _files, _bytes: None)

    async def findings(self) -> AsyncGenerator[Finding]:
        """What is wrong: first files that the catalog knows, then those that it does not."""
        began = time.monotonic()
        pool = FilePool(self._threads)
        try:
            for part in (self._known(pool), self._unknown(pool)):
                async with aclosing(part) as findings:
                    async for finding in findings:
                        self.report.add(finding)
                        yield finding
        finally:
            if load_settings(self._folder).mode in {"group", "umask"}:
                self.report.exposed = 0  # others are meant to read it
                self.report.exposed_paths.clear()
            self.report.seconds = time.monotonic() - began
            pool.close()

    async def _known(self, pool: FilePool) -> AsyncGenerator[Finding]:
        """Hash what the catalog knows; results come in the order of paths."""
        hasher = Hasher(self._folder, await self._catalog.run(accepted))
        under_way: deque[asyncio.Task[VerifyReport]] = deque()
        async with aclosing(self._hops()) as hops:
            try:
                hop = await anext(hops, None)
                while hop or under_way:
                    if hop:
                        under_way.append(asyncio.create_task(pool.run(hasher.check, hop)))
                        hop = await anext(hops, None)
                    if not hop or len(under_way) > 2 * self._threads:
                        batch = await under_way[0]
                        under_way.popleft()
                        self.report.add_batch(batch)
                        self._progress(batch.checked, batch.bytes)
                        for finding in batch.findings:
                            yield finding
            finally:
                hasher.stopped = True
                if under_way:
                    await asyncio.wait(under_way)

    async def _hops(self) -> AsyncGenerator[list[CatalogFile]]:
        """The catalog's files in portions for one trip to a thread."""
        after, hop, size = "", [], 0
        while rows := await self._catalog.run(files_after, after, _ROWS):
            after = rows[-1].path.as_posix()
            for file in rows:
                hop.append(file)
                size += file.size or 0
                if len(hop) >= _FILES_A_HOP or size >= _BYTES_A_HOP:
                    yield hop
                    hop, size = [], 0
        if hop:
            yield hop

    async def _unknown(self, pool: FilePool) -> AsyncGenerator[Finding]:
        """Look for what the catalog does not know."""
        report = self.report
        parts = walk(self._folder)
        while seen := await pool.run(list, islice(parts, _NAMES_A_HOP)):
            # Names that are no text are none that the catalog knows.
            texts = [path.encode("utf-8", "replace").decode() for _, path, _ in seen]
            known = await self._catalog.run(known_paths, texts)
            for kind, text, reason in seen:
                path = PurePosixPath(text)
                match kind:
                    case "unreadable":
                        yield Finding("unreadable", path, reason)
                    case "leftover":
                        report.leftovers += _keep(report.leftover_paths, [path])
                    case "aside":
                        report.aside += _keep(report.aside_paths, [path])
                    case "exposed":
                        report.exposed += _keep(report.exposed_paths, [path])
                    case _ if text not in known:
                        yield Finding("unknown", path, "not in the catalog")


def _keep(kept: list[T], news: Sequence[T]) -> int:
    """Keep the first hundred; how many came."""
    kept += news[: MOST_KEPT - len(kept)]
    return len(news)
