"""What can still be read of a catalog that is lost or torn."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from agentphone_async.archive.catalog.database import in_transaction
from agentphone_async.archive.catalog.paths import path_of_row
from agentphone_async.errors import CatalogError

_TABLES = {
    "settings": "settings",
    "calls": "calls",
    "runs": "runs",
    "recordings": "recordings",
    "sidecars": "sidecars",
    "pending": "pending",
    "owed": "pending",  # as it was called in the first schema
}
"""Tables of old catalogs, and where their rows go."""

_WITHOUT_CALLS = """
    INSERT OR IGNORE INTO calls (id, raw, first_seen, last_seen)
    SELECT call_id, json_object('id', call_id), seen, seen FROM (
        SELECT call_id, updated AS seen FROM recordings
        UNION ALL SELECT call_id, updated FROM sidecars
        UNION ALL SELECT call_id, since FROM pending)
"""
_BATCH = 256


class Recovery:
    """Reads an old catalog as far as that goes; never writes it.

    Args:
        path: the old catalog; it may be missing, or no database at all.
    """

    def __init__(self, path: Path) -> None:
        self._connection: sqlite3.Connection | None = None
        if path.is_file() and path.stat().st_size:
            with suppress(sqlite3.Error):
                self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)

    @property
    def hashes_ids(self) -> bool:
        """Whether the archive's names may be hashed."""
        if self._connection is None:
            return False
        try:
            row = self._connection.execute(
                "SELECT 1 FROM settings WHERE name = 'hash_key'"
            ).fetchone()
        except sqlite3.Error:
            return False
        return row is not None

    def close(self) -> None:
        """Let go of the old catalog."""
        if self._connection is not None:
            self._connection.close()

    def copy_all(self, new: sqlite3.Connection) -> int:
        """Copy every row that can be read into a new catalog, and return how many there were.

        Nothing is taken at its word: what it claims of files is compared with them afterwards.
        """
        new.execute("PRAGMA foreign_keys = OFF")
        copied = sum(self._copy(old, table, new) for old, table in _TABLES.items())
        # What stood on torn pages is made up for, as far as other rows need it.
        in_transaction(new, lambda: new.execute(_WITHOUT_CALLS))
        runs = "SELECT id FROM runs"
        for statement in (
            f"UPDATE recordings SET run = NULL WHERE run NOT IN ({runs})",  # noqa: S608 - ours
            f"DELETE FROM run_folders WHERE run NOT IN ({runs})",  # noqa: S608 - ours
        ):
            in_transaction(new, lambda statement=statement: new.execute(statement))  # type: ignore[misc]
        new.execute("PRAGMA foreign_keys = ON")
        return copied

    def _copy(self, old: str, table: str, new: sqlite3.Connection) -> int:
        """Copy what both schemas have; a row whose path leads out of the archive is left out."""
        there = self._columns(old)
        names = [name for name in columns_of(new, table) if name in there]
        if not names:
            return 0
        insert = (
            f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) "  # noqa: S608 - tables of ours
            f"VALUES ({', '.join('?' * len(names))})"
        )
        place = names.index("path") if "path" in names else None
        copied = 0
        for rows in self._rows(old, names):
            sane = [row for row in rows if place is None or _is_sane(row[place])]
            in_transaction(new, lambda rows=sane: new.executemany(insert, rows))  # type: ignore[misc]
            copied += len(sane)
        return copied

    def _columns(self, table: str) -> list[str]:
        if self._connection is None:
            return []
        try:
            return columns_of(self._connection, table)
        except sqlite3.Error:
            return []

    def _rows(self, table: str, names: list[str]) -> Iterator[list[tuple[object, ...]]]:
        """Batches of rows, up to the first page that is torn."""
        if self._connection is None:
            return
        query = f"SELECT {', '.join(names)} FROM {table}"  # noqa: S608 - tables of ours
        with suppress(sqlite3.Error):
            cursor = self._connection.execute(query)
            while rows := cursor.fetchmany(_BATCH):
                yield rows


def columns_of(connection: sqlite3.Connection, table: str) -> list[str]:
    """The columns of a table; none if there is no such table."""
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def _is_sane(path: object) -> bool:
    if path is None:
        return True
    try:
        path_of_row(None, str(path))
    except CatalogError:
        return False
    return True
