"""What was erased leaves no trace in catalogs: not in old ones, nor in free pages and logs."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from agentphone_async.archive.catalog.opening import connected
from agentphone_async.archive.catalog.rows import id_from_text
from agentphone_async.archive.catalog.schema import FILE_NAME
from agentphone_async.sinks.disk import destination_errors
from agentphone_async.sinks.erased import Tombstones
from agentphone_async.sinks.threads import FilePool

_TABLES = {
    "pending": "call_id",
    "owed": "call_id",  # as it was called in the first schema
    "absent": "call_id",
    "accepted": "call_id",
    "sidecars": "call_id",
    "recordings": "call_id",
    "calls": "id",
}


def scrub_old(folder: Path) -> None:
    """Let catalogs that a rebuild kept aside forget what was erased since."""
    tombstones = Tombstones.load(folder)
    old = re.compile(rf"{re.escape(FILE_NAME)}\.old-[0-9]+")
    with destination_errors(folder):
        for path in sorted(folder.iterdir()):
            if old.fullmatch(path.name) and not path.is_symlink():
                _scrub(path, tombstones)


def _scrub(path: Path, tombstones: Tombstones) -> None:
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA secure_delete = ON").fetchall()
            for table, column in _TABLES.items():
                if not connection.execute(f"PRAGMA table_info({table})").fetchall():
                    continue
                query = f"SELECT DISTINCT {column} FROM {table}"  # noqa: S608 - names of ours
                ids = [row for row in connection.execute(query) if _covers(tombstones, row[0])]
                delete = f"DELETE FROM {table} WHERE {column} = ?"  # noqa: S608 - names of ours
                connection.executemany(delete, ids)
            connection.commit()
            connection.execute("VACUUM")
            connection.execute("PRAGMA journal_mode = DELETE").fetchall()
    except sqlite3.Error:
        # It is torn: nobody can tell what it still has of these calls.
        for ending in ("", "-wal", "-shm", "-journal"):
            Path(f"{path}{ending}").unlink(missing_ok=True)


def _covers(tombstones: Tombstones, text: object) -> bool:
    try:
        return tombstones.covers(id_from_text(str(text)))
    except ValueError:
        return False


async def compact(folder: Path) -> None:
    """Leave nothing of what was erased in the catalog's free pages, nor in its log."""

    def work() -> None:
        with connected(folder, write=True) as connection:
            connection.execute("PRAGMA secure_delete = ON").fetchall()
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    pool = FilePool(1)
    try:
        await pool.run(work)
    finally:
        pool.close()
