"""What has changed in the cached catalog and is not in a manifest yet.

Triggers note the key of every row that is written; whatever writes it need not know that the
archive is in a bucket. A note is taken back when a manifest with the row is stored. After a kill
the notes are still there, and the next run on this machine continues with them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agentphone_async.archive.bucket.manifest import Row
from agentphone_async.archive.bucket.tables import NEVER, TABLES, Table
from agentphone_async.archive.catalog.rows import stamp

_SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS bucket_journal (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        tbl TEXT NOT NULL,
        k1  NOT NULL,
        k2
    )
    """,
    "CREATE TABLE IF NOT EXISTS bucket_parts (name TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID",
    """
    CREATE TABLE IF NOT EXISTS bucket_gone (
        tbl TEXT NOT NULL,
        k1  NOT NULL,
        k2  NOT NULL,          -- '' where the key has one column
        at  TEXT NOT NULL,
        PRIMARY KEY (tbl, k1, k2)
    ) WITHOUT ROWID
    """,
)


_EVENTS = (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD"))


@dataclass(frozen=True, slots=True)
class Changes:
    """Rows that are to be sent.

    Attributes:
        rows: as in a manifest.
        until: the last note that they answer.
    """

    rows: list[Row]
    until: int


def columns_of(connection: sqlite3.Connection, table: Table) -> dict[str, str]:
    """The columns that this version of the catalog has, and their types; none without the table."""
    found = connection.execute(f"PRAGMA table_info({table.name})")
    return {name: kind for _, name, kind, *_ in found}


def install(connection: sqlite3.Connection) -> None:
    """Make what the journal needs; fine if it is there."""
    for statement in _SCHEMA:
        connection.execute(statement)
    set_triggers(connection)


def set_triggers(connection: sqlite3.Connection) -> None:
    """Note changes from now on."""
    for table in TABLES:
        if not columns_of(connection, table):
            continue
        for event, row in _EVENTS[: 3 if table.deletable else 2]:
            second = f"{row}.{table.key[1]}" if len(table.key) > 1 else "NULL"
            connection.execute(
                f"CREATE TRIGGER IF NOT EXISTS {_trigger(table, event)} "  # noqa: S608 - ours
                f"AFTER {event} ON {table.name} BEGIN "
                "INSERT INTO bucket_journal (tbl, k1, k2) "
                f"VALUES ('{table.name}', {row}.{table.key[0]}, {second}); END"
            )


def drop_triggers(connection: sqlite3.Connection) -> None:
    """Note no changes, as while merging what others have noted."""
    for table in TABLES:
        for event, _ in _EVENTS:
            connection.execute(f"DROP TRIGGER IF EXISTS {_trigger(table, event)}")


def _trigger(table: Table, event: str) -> str:
    return f"bucket_{table.name}_{event.lower()}"


def waiting(connection: sqlite3.Connection) -> int:
    """How many notes there are, roughly: a row that changed twice counts twice."""
    (count,) = connection.execute("SELECT count(*) FROM bucket_journal").fetchone()
    return int(count)


def collect(connection: sqlite3.Connection, limit: int, now: datetime) -> Changes:
    """The next rows that are to be sent, as they are now."""
    notes = connection.execute(
        "SELECT max(seq), tbl, k1, k2 FROM "
        "(SELECT seq, tbl, k1, k2 FROM bucket_journal ORDER BY seq LIMIT ?) "
        "GROUP BY tbl, k1, k2 ORDER BY 1",
        (limit,),
    ).fetchall()
    by_table: dict[str, list[tuple[Any, Any]]] = {}
    for _, name, first, second in notes:
        by_table.setdefault(name, []).append((first, second))
    rows: list[Row] = []
    for table in TABLES:
        keys = by_table.get(table.name, [])
        for start in range(0, len(keys), 400):
            rows += _rows(connection, table, keys[start : start + 400], now)
    return Changes(rows, max((note[0] for note in notes), default=0))


def _rows(
    connection: sqlite3.Connection,
    table: Table,
    keys: Sequence[tuple[Any, Any]],
    now: datetime,
) -> list[Row]:
    columns = list(columns_of(connection, table))
    width = len(table.key)
    marks = ",".join(["(" + ",".join("?" * width) + ")"] * len(keys))
    found = connection.execute(
        f"SELECT {', '.join(columns)} FROM {table.name} "  # noqa: S608 - names of ours
        f"WHERE ({', '.join(table.key)}) IN (VALUES {marks})",
        [value for key in keys for value in key[:width]],
    )
    places = [columns.index(name) for name in table.key]
    rows: list[Row] = []
    missing = {key[:width] for key in keys} if table.deletable else set()
    for values in found:
        missing.discard(tuple(values[place] for place in places))
        rows.append(row_of(table, columns, values))
    rows += [
        {"gone": table.name, "key": list(key[:width]), "at": stamp(now)}
        for key in sorted(missing, key=repr)
    ]
    return rows


def everything(connection: sqlite3.Connection) -> Iterator[Row]:
    """All rows that manifests hold, and what is known to be gone."""
    for table in TABLES:
        columns = list(columns_of(connection, table))
        if columns:
            known = f"WHERE last_seen <> '{NEVER}' " if table.name == "calls" else ""
            found = connection.execute(
                f"SELECT {', '.join(columns)} FROM {table.name} {known}"  # noqa: S608 - ours
                f"ORDER BY {', '.join(table.key)}"
            )
            for values in found:
                yield row_of(table, columns, values)
    gone = connection.execute("SELECT tbl, k1, k2, at FROM bucket_gone ORDER BY 1, 2, 3")
    for name, first, second, at in gone:
        yield {"gone": name, "key": [first] if second == "" else [first, second], "at": at}


def row_of(table: Table, columns: Sequence[str], values: Sequence[Any]) -> Row:
    """A row as it stands in a manifest."""
    row = {"table": table.name}
    row.update(
        (name, value) for name, value in zip(columns, values, strict=True) if value is not None
    )
    return row


def sent(connection: sqlite3.Connection, changes: Changes, part: str) -> None:
    """Take notes back: a manifest with their rows is stored (within a transaction)."""
    connection.execute("DELETE FROM bucket_journal WHERE seq <= ?", (changes.until,))
    connection.execute("INSERT OR IGNORE INTO bucket_parts VALUES (?)", (part,))
    note_gone(connection, [row for row in changes.rows if "gone" in row])


def note_gone(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Remember rows of manifests which say that others are gone."""
    connection.executemany(
        "INSERT INTO bucket_gone (tbl, k1, k2, at) VALUES (?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET at = max(at, excluded.at)",
        map(_gone_values, rows),
    )


def _gone_values(row: Row) -> tuple[Any, ...]:
    """The values for ``bucket_gone`` of a row that says so."""
    key = ["" if value is None else value for value in [*row["key"], ""]]
    return row["gone"], key[0], key[1], row["at"]
