"""What can still be read of a catalog that is lost or torn."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from agentphone_async.archive.catalog.database import in_transaction

_TABLES = ("settings", "calls", "recordings", "sidecars", "owed", "runs")
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
        return sum(self._copy(table, new) for table in _TABLES)

    def _copy(self, table: str, new: sqlite3.Connection) -> int:
        names = [row[1] for row in new.execute(f"PRAGMA table_info({table})")]
        insert = (
            f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) "  # noqa: S608 - tables of ours
            f"VALUES ({', '.join('?' * len(names))})"
        )
        copied = 0
        for rows in self._rows(table, names):
            in_transaction(new, lambda rows=rows: new.executemany(insert, rows))  # type: ignore[misc]
            copied += len(rows)
        return copied

    def _rows(self, table: str, names: list[str]) -> Iterator[list[tuple[object, ...]]]:
        """Batches of rows, up to the first page that is torn."""
        if self._connection is None:
            return
        query = f"SELECT {', '.join(names)} FROM {table}"  # noqa: S608 - tables of ours
        with suppress(sqlite3.Error):
            cursor = self._connection.execute(query)
            while rows := cursor.fetchmany(_BATCH):
                yield rows
