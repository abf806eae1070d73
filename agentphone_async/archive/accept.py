"""Findings of `verify` that somebody has judged harmless, so that it can be clean again.

What is accepted is one finding about one file with the bytes that it has now: when anything else
becomes wrong with it, that is told as before. Blocking functions are for the catalog's thread.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.opening import check_readable
from agentphone_async.archive.catalog.paths import CatalogConnection
from agentphone_async.archive.catalog.recordings import files_of_calls
from agentphone_async.archive.catalog.rows import CatalogFile, id_to_text, stamp
from agentphone_async.archive.files.on_disk import examine
from agentphone_async.archive.hasher import Finding, Hasher
from agentphone_async.archive.lock import ArchiveLock
from agentphone_async.errors import DestinationError

_BATCH = 200


async def accept(
    dest: str | Path, call_ids: Iterable[str], *, wait_lock: float = 0.0
) -> list[Finding]:
    """Look at all files of some calls, and accept what is wrong with them; returns that.

    Raises:
        CatalogError: there is no archive, or its catalog cannot be used.
        ArchiveLockedError: a run is at work here.
    """
    folder = Path(dest)
    check_readable(folder)  # no archive, no lock file
    ids = list(dict.fromkeys(call_ids))
    found: list[Finding] = []
    lock = ArchiveLock(folder)
    await lock.wait(wait_lock, asyncio.sleep)
    with lock:
        async with await Catalog.open(folder) as catalog:
            for start in range(0, len(ids), _BATCH):
                batch = ids[start : start + _BATCH]
                files: Sequence[CatalogFile] = await catalog.run(files_of_calls, batch)
                findings = await catalog.run(_check, folder, files)
                await catalog.transaction(_accept, folder, findings, datetime.now(UTC))
                found += findings
    return found


def accepted(connection: sqlite3.Connection) -> dict[str, tuple[str, str]]:
    """What was accepted, by path: the kind of finding, and the hash of what was there."""
    rows = connection.execute("SELECT path, kind, sha256 FROM accepted")
    return {path: (kind, sha256) for path, kind, sha256 in rows}


def fingerprint(folder: Path, finding: Finding) -> str:
    """SHA-256 of what lies at a finding's place; empty if nothing does that can be read."""
    try:
        found = examine(folder, finding.path)
    except DestinationError:
        return ""
    return "" if found is None else found.sha256


def _check(_: CatalogConnection, folder: Path, files: Sequence[CatalogFile]) -> list[Finding]:
    return Hasher(folder).check(files).findings


def _accept(
    connection: CatalogConnection, folder: Path, findings: Sequence[Finding], now: datetime
) -> None:
    connection.executemany(
        "INSERT INTO accepted (path, call_id, kind, sha256, accepted) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (path) DO UPDATE SET kind = excluded.kind, sha256 = excluded.sha256, "
        "accepted = excluded.accepted",
        [
            (
                finding.path.as_posix(),
                id_to_text(finding.file.call_id),
                finding.kind,
                fingerprint(folder, finding),
                stamp(now),
            )
            for finding in findings
            if finding.file is not None
        ],
    )
