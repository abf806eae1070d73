"""The catalog's runs. For `Catalog.run`; what notes something is for `Catalog.transaction`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import PurePosixPath

from agentphone_async.archive.catalog.paths import path_of_row
from agentphone_async.archive.catalog.rows import (
    RunRow,
    moment_or_none,
    plain,
    run_row,
    stamp,
    stamp_or_none,
)
from agentphone_async.archive.selection.coverage import Span, covered_without_gap
from agentphone_async.archive.selection.selection import Selection

_TOP = PurePosixPath()

_COLUMNS = (
    "id, started, finished, since, until, status, direction, complete, covered_until, "
    "stop_reason, counts"
)


def begin_run(connection: sqlite3.Connection, selection: Selection, now: datetime) -> int:
    """Note that a run begins, and return its number."""
    cursor = connection.execute(
        "INSERT INTO runs (started, since, until, status, direction) VALUES (?, ?, ?, ?, ?)",
        (
            stamp(now),
            stamp_or_none(selection.since),
            stamp_or_none(selection.until),
            plain(selection.status),
            plain(selection.direction),
        ),
    )
    if cursor.lastrowid is None:
        raise AssertionError("an insert has a row id")
    return cursor.lastrowid


def finish_run(
    connection: sqlite3.Connection,
    run: int,
    now: datetime,
    *,
    complete: bool,
    covered_until: datetime | None,
    stop_reason: str | None,
    counts: Mapping[str, int],
    unattended: bool = False,
    untidy: Sequence[PurePosixPath] = (),
) -> None:
    """Note how a run ended.

    Its folders are forgotten, unless they are ``unattended``: then the next run takes them over,
    and has done with them what this one had no time for. So it does with those that are
    ``untidy``, because partial files in them may be somebody's who is still alive.
    """
    connection.execute(
        "UPDATE runs SET finished = ?, complete = ?, covered_until = ?, stop_reason = ?, "
        "counts = ? WHERE id = ?",
        (
            stamp(now),
            int(complete),
            stamp_or_none(covered_until) if complete else None,
            stop_reason,
            json.dumps(dict(counts)),
            run,
        ),
    )
    if not unattended:
        connection.execute("DELETE FROM run_folders WHERE run = ?", (run,))
        use_folders(connection, run, untidy)


def last_covered(connection: sqlite3.Connection, selection: Selection) -> datetime | None:
    """Up to when runs have seen everything that they were asked for and these filters let through.

    A run counts if its filters let through at least as much: each was the same, or not set.

    Returns:
        As `covered_without_gap`; None if no run was complete.
    """
    rows = connection.execute(
        "SELECT since, covered_until FROM runs "
        "WHERE (status IS NULL OR status = ?) AND (direction IS NULL OR direction = ?)",
        (plain(selection.status), plain(selection.direction)),
    )
    spans = [Span(moment_or_none(since), moment_or_none(until)) for since, until in rows]
    if all(span.covered_until is None for span in spans):
        return None
    return covered_without_gap(spans)


def runs(connection: sqlite3.Connection, limit: int = 100) -> list[RunRow]:
    """The latest runs, newest first."""
    query = f"SELECT {_COLUMNS} FROM runs ORDER BY id DESC LIMIT ?"  # noqa: S608 - names of ours
    return [run_row(row) for row in connection.execute(query, (limit,))]


def use_folders(connection: sqlite3.Connection, run: int, folders: Iterable[PurePosixPath]) -> None:
    """Note folders in which this run may leave partial files if it dies."""
    connection.executemany(
        "INSERT OR IGNORE INTO run_folders (run, folder) VALUES (?, ?)",
        [(run, folder.as_posix()) for folder in folders],
    )


def unfinished_folders(connection: sqlite3.Connection, run: int) -> list[PurePosixPath]:
    """Folders in which runs other than this one may have left partial files."""
    rows = connection.execute("SELECT DISTINCT folder FROM run_folders WHERE run <> ?", (run,))
    return [
        path_of_row(connection, f"{folder}/x").parent if folder != "." else _TOP
        for (folder,) in rows
    ]


def take_over(connection: sqlite3.Connection, run: int, folders: Sequence[PurePosixPath]) -> None:
    """These folders of other runs are this run's business now."""
    use_folders(connection, run, folders)
    connection.executemany(
        "DELETE FROM run_folders WHERE folder = ? AND run <> ?",
        [(folder.as_posix(), run) for folder in folders],
    )
