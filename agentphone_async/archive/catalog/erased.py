"""What the catalog has of erased calls: what there was, and when it went; never whose it was.

For `Catalog.run`; what erases or notes is for `Catalog.transaction`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from agentphone_async.archive.catalog.rows import id_to_text, moment_of, stamp
from agentphone_async.archive.catalog.settings import get_setting, set_setting

UNWRITTEN = "erased_in"
"""The setting that holds the folders whose sums and index are to be written after an erasure."""

TABLES = {
    "sidecars": "call_id",
    "pending": "call_id",
    "absent": "call_id",
    "accepted": "call_id",
    "recordings": "call_id",
    "calls": "id",
}
"""All that tells of calls, and by which column; rows that others refer to go last."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased of one call: numbers of files, their bytes, and the folders they were in."""

    recordings: int
    sidecars: int
    others: int
    bytes: int
    folders: Sequence[PurePosixPath] = ()


@dataclass(frozen=True, slots=True)
class ErasedRow:
    """An entry of the audit; counts are None where a lost catalog took them along."""

    hash: str
    erased: datetime
    reason: str
    recordings: int | None
    sidecars: int | None
    others: int | None
    bytes: int | None


def erase_rows(
    connection: sqlite3.Connection,
    ids: Sequence[str],
    audit: Mapping[str, Erased],
    reason: str,
    now: datetime,
) -> None:
    """Delete all rows of some calls, and note what there was; ``audit`` has it by hashed id."""
    texts = [(id_to_text(one),) for one in ids]
    for table, column in TABLES.items():
        connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", texts)  # noqa: S608
    connection.executemany(
        "INSERT INTO erased (hash, erased, reason, recordings, sidecars, others, bytes) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (hash) DO UPDATE SET "
        "recordings = coalesce(recordings, 0) + excluded.recordings, "
        "sidecars = coalesce(sidecars, 0) + excluded.sidecars, "
        "others = coalesce(others, 0) + excluded.others, "
        "bytes = coalesce(bytes, 0) + excluded.bytes",
        [
            (hashed, stamp(now), reason, one.recordings, one.sidecars, one.others, one.bytes)
            for hashed, one in audit.items()
        ],
    )
    folders = set(json.loads(get_setting(connection, UNWRITTEN) or "[]"))
    folders.update(folder.as_posix() for one in audit.values() for folder in one.folders)
    set_setting(connection, UNWRITTEN, json.dumps(sorted(folders)))


def erased_hashes(connection: sqlite3.Connection) -> set[str]:
    """The hashed ids of all calls whose erasure was done."""
    return {str(one) for (one,) in connection.execute("SELECT hash FROM erased")}


def note_erased(connection: sqlite3.Connection, hashes: Iterable[str], now: datetime) -> None:
    """Note calls that were erased, of which a lost catalog does not know what there was."""
    connection.executemany(
        "INSERT OR IGNORE INTO erased (hash, erased, reason) VALUES (?, ?, 'forget')",
        [(one, stamp(now)) for one in hashes],
    )


def erased_after(
    connection: sqlite3.Connection, after: tuple[str, str] = ("", ""), limit: int = 500
) -> list[ErasedRow]:
    """The next entries by time; continue with the last one's time, as text, and its hash."""
    rows = connection.execute(
        "SELECT hash, erased, reason, recordings, sidecars, others, bytes FROM erased "
        "WHERE (erased, hash) > (?, ?) ORDER BY erased, hash LIMIT ?",
        (*after, limit),
    )
    return [ErasedRow(row[0], moment_of(row[1]), *row[2:]) for row in rows]
