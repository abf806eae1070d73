"""What `verify` finds, fetched again; what was wrong is kept aside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

from agentphone_async.archive.catalog.database import Catalog, connect
from agentphone_async.archive.check.checker import Finding
from agentphone_async.archive.check.mender import Mended, Mender
from agentphone_async.archive.check.verify import Progress, Verifier, VerifyReport
from agentphone_async.archive.lock import ArchiveLock
from agentphone_async.client import AsyncAgentPhone
from agentphone_async.sinks.local import Fsync

_BATCH = 64


async def repair(
    dest: str | Path,
    client: AsyncAgentPhone,
    *,
    threads: int | None = None,
    transfers: int = 8,
    fsync: Fsync = Fsync.BATCH,
    wait_lock: float = 0.0,
    settled: Callable[[Mended], None] | None = None,
    progress: Progress | None = None,
) -> VerifyReport:
    """`verify`, and fetch again what is missing, altered, unreadable or suspect.

    Nothing is put aside before its replacement has arrived whole: a bad ``x.wav`` then becomes
    ``x.wav.altered-`` and the beginning of its SHA-256 (or ``.suspect-``). Where the server has
    other bytes than were archived, those become the recording, and ``settled`` says so; earlier
    versions are only ever replaced by the very same bytes. Unknown files are left alone.

    Args:
        dest: the archive.
        client: an open client; recordings need no API key, transcripts do.
        threads: how many read and hash.
        transfers: how many are fetched at a time.
        fsync: when bytes are forced to the disk.
        wait_lock: seconds to wait for a run that is at work here.
        settled: told what became of every finding.
        progress: told how far it is.

    Returns:
        The report; ``remaining`` says how much is wrong still.

    Raises:
        CatalogError: there is no archive, or its catalog cannot be used.
        ArchiveLockedError: a run is at work here.
        DestinationError: the disk failed.
    """
    folder = Path(dest)
    connect(folder, write=False).close()  # no archive, no lock file
    lock = ArchiveLock(folder)
    await lock.wait(wait_lock, asyncio.sleep)
    with lock:
        async with await Catalog.open(folder) as catalog:
            verifier = Verifier(folder, catalog, threads=threads, progress=progress)
            tell = settled or (lambda _mended: None)
            async with Mender(folder, catalog, client, transfers, fsync) as mender:
                await _mend_all(verifier, mender, tell)
    return verifier.report


async def _mend_all(verifier: Verifier, mender: Mender, tell: Callable[[Mended], None]) -> None:
    waiting: list[Finding] = []

    async def mend() -> None:
        for mended in await mender.mend(waiting):
            verifier.report.repaired += mended.repaired
            tell(mended)
        waiting.clear()

    async with aclosing(verifier.findings()) as findings:
        async for finding in findings:
            waiting.append(finding)
            if len(waiting) == _BATCH:
                await mend()
    await mend()
    await mender.finish()
