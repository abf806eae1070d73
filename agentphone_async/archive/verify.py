"""Is an archive what its catalog says? Every byte is read again."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeVar

from agentphone_async.archive.accept import accepted, fingerprint
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.recordings import files_after, known_paths
from agentphone_async.archive.catalog.rows import CatalogFile
from agentphone_async.archive.files.on_disk import walk
from agentphone_async.archive.hasher import Checked, Finding, Hasher
from agentphone_async.archive.report import MOST_KEPT
from agentphone_async.archive.settings_file import load_settings
from agentphone_async.sinks.threads import FilePool

__all__ = ["Finding", "Verifier", "VerifyReport", "verify"]

T = TypeVar("T")

_FILES_A_HOP = 64
_BYTES_A_HOP = 32 * 1024 * 1024
_ROWS = 1024

Progress = Callable[[int, int], None]
"""Told how many more files and bytes were checked."""


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

    def forget_exposed(self) -> None:
        """What others may read is meant for them."""
        self.exposed = 0
        self.exposed_paths.clear()

    def add(self, finding: Finding) -> None:
        """Count a finding."""
        setattr(self, finding.kind, getattr(self, finding.kind) + 1)
        _keep(self.findings, [finding])

    def add_checked(self, checked: Checked) -> None:
        """Count a batch of files; its findings are for `add`."""
        self.checked += checked.files
        self.bytes += checked.bytes
        self.exposed += len(checked.exposed)
        _keep(self.exposed_paths, checked.exposed)


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
        CatalogError: there is no archive, or its catalog cannot be used.
    """
    folder = Path(dest)
    async with await Catalog.open(folder, write=False) as catalog:
        verifier = Verifier(folder, catalog, threads=threads, progress=progress)
        async with aclosing(verifier.findings()) as findings:
            async for finding in findings:
                if found is not None:
                    found(finding)
    return verifier.report


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
        self._accepted: dict[str, tuple[str, str]] = {}
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
                self.report.forget_exposed()  # others are meant to read it
            self.report.seconds = time.monotonic() - began
            pool.close()

    async def _known(self, pool: FilePool) -> AsyncGenerator[Finding]:
        """Hash what the catalog knows; results come in the order of paths."""
        self._accepted = await self._catalog.run(accepted)
        hasher = Hasher(self._folder)
        under_way: deque[asyncio.Task[Checked]] = deque()
        try:
            async with aclosing(self._hops()) as hops:
                async for hop in hops:
                    under_way.append(asyncio.create_task(pool.run(hasher.check, hop)))
                    if len(under_way) > 2 * self._threads:
                        for finding in self._taken(await under_way[0]):
                            yield finding
                        under_way.popleft()
            while under_way:
                for finding in self._taken(await under_way[0]):
                    yield finding
                under_way.popleft()
        finally:
            hasher.stop()
            if under_way:
                await asyncio.wait(under_way)

    def _taken(self, checked: Checked) -> list[Finding]:
        self.report.add_checked(checked)
        self._progress(checked.files, checked.bytes)
        findings = [one for one in checked.findings if not self._is_accepted(one)]
        self.report.accepted += len(checked.findings) - len(findings)
        return findings

    def _is_accepted(self, finding: Finding) -> bool:
        """Whether somebody has judged just this harmless before."""
        known = self._accepted.get(finding.path.as_posix())
        return known is not None and known == (finding.kind, fingerprint(self._folder, finding))

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
        try:
            while (seen := await pool.run(next, parts, None)) is not None:
                report.leftovers += len(seen.leftovers)
                report.aside += len(seen.aside)
                report.exposed += len(seen.exposed)
                _keep(report.leftover_paths, seen.leftovers)
                _keep(report.aside_paths, seen.aside)
                _keep(report.exposed_paths, seen.exposed)
                for folder, reason in seen.unreadable:
                    yield Finding("unreadable", folder, reason)
                sayable = [path for path in seen.paths if _is_text(path)]
                known = await self._catalog.run(known_paths, sayable) if sayable else set()
                for path in seen.paths:
                    if path not in known:
                        yield Finding("unknown", PurePosixPath(path), "not in the catalog")
        finally:
            parts.close()


def _is_text(path: str) -> bool:
    """Whether a name is text; the catalog knows no others."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _keep(kept: list[T], news: Sequence[T]) -> None:
    kept += news[: MOST_KEPT - len(kept)]
