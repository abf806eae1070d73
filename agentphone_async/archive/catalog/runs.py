"""The catalog's runs. For `Catalog.run`; what notes something is for `Catalog.transaction`."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
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
from agentphone_async.archive.catalog.settings import get_setting
from agentphone_async.archive.selection import Selection
from agentphone_async.protocol.recording import OVER_LIMIT

BEGINNING = datetime.min.replace(tzinfo=UTC)
"""Before every call."""

_TOP = PurePosixPath()

_COLUMNS = (
    "id, started, finished, since, until, status, direction, complete, covered_until, "
    "stop_reason, counts"
)


def begin_run(
    connection: sqlite3.Connection,
    selection: Selection,
    now: datetime,
    scope: str | None = None,
    listing: str = "full",
) -> int:
    """Note that a run begins, and return its number.

    Args:
        connection: of the catalog.
        selection: what it asks for.
        now: the wall clock.
        scope: whose list of calls it walks, as `settings.scope_of` says.
        listing: ``full``, or ``recent`` if it may stop early.
    """
    if scope is not None:  # runs of catalogs from before there were scopes
        connection.execute(
            "UPDATE runs SET scope = ? WHERE scope IS NULL "
            "AND NOT EXISTS (SELECT 1 FROM runs WHERE scope IS NOT NULL)",
            (scope,),
        )
    cursor = connection.execute(
        "INSERT INTO runs (id, started, since, until, status, direction, scope, listing) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            _number(connection),
            stamp(now),
            stamp_or_none(selection.since),
            stamp_or_none(selection.until),
            plain(_normal(selection.status)),
            plain(_normal(selection.direction)),
            scope,
            listing,
        ),
    )
    if cursor.lastrowid is None:
        raise AssertionError("an insert has a row id")
    return cursor.lastrowid


def _number(connection: sqlite3.Connection) -> int | None:
    """A number that no other machine gives to a run of this archive; None for the next one."""
    if get_setting(connection, "run_numbers") is None:
        return None
    return time.time_ns() // 1000


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
    listing: str = "full",
    seen_since: datetime | None = None,
) -> None:
    """Note how a run ended.

    Its folders are forgotten, unless they are ``unattended``: then the next run takes them over,
    and has done with them what this one had no time for. So it does with those that are
    ``untidy``, because partial files in them may be somebody's who is still alive. If the list was
    cut off, it was seen whole only ``seen_since`` then.
    """
    connection.execute(
        "UPDATE runs SET finished = ?, complete = ?, covered_until = ?, stop_reason = ?, "
        "counts = ?, listing = ? WHERE id = ?",
        (
            stamp(now),
            int(complete),
            stamp_or_none(covered_until) if complete else None,
            stop_reason,
            json.dumps(dict(counts)),
            listing,
            run,
        ),
    )
    if complete and seen_since is not None:
        connection.execute("UPDATE runs SET since = ? WHERE id = ?", (stamp(seen_since), run))
    if not unattended:
        connection.execute("DELETE FROM run_folders WHERE run = ?", (run,))
        use_folders(connection, run, untidy)


def last_covered(
    connection: sqlite3.Connection, selection: Selection, scope: str | None = None
) -> datetime | None:
    """Up to when runs have seen everything that they were asked for and these filters let through.

    A run counts if it walked the same list of calls (of the same account and base URL), and its
    filters let through at least as much: each was the same, or not set.

    Returns:
        As `covered_without_gap`; None if no run was complete.
    """
    rows = connection.execute(
        "SELECT since, covered_until FROM runs "
        "WHERE (status IS NULL OR lower(replace(status, '_', '-')) = ?) "
        "AND (direction IS NULL OR lower(replace(direction, '_', '-')) = ?) "
        "AND (scope = ? OR scope IS NULL)",
        (plain(_normal(selection.status)), plain(_normal(selection.direction)), scope),
    )
    spans = [Span(moment_or_none(since), moment_or_none(until)) for since, until in rows]
    if all(span.covered_until is None for span in spans):
        return None
    return covered_without_gap(spans)


@dataclass(frozen=True, slots=True)
class Span:
    """What one run was asked, and how far it has seen.

    Attributes:
        since: calls from here on were asked for; None for all that there ever were.
        covered_until: all of them up to here were seen; None if the run was not complete.
    """

    since: datetime | None
    covered_until: datetime | None


def covered_without_gap(spans: Iterable[Span]) -> datetime:
    """Up to when everything was seen that was ever asked for; `BEGINNING` if nothing is certain.

    What an incomplete run was asked, and no complete one has seen, is still pending; and what lies
    between two complete runs was seen by neither.
    """
    asked = [(span.since or BEGINNING, span.covered_until) for span in spans]
    mark = min((since for since, _ in asked), default=BEGINNING)
    seen = sorted((since, until) for since, until in asked if until is not None)
    for since, until in seen:
        if since > mark:
            break
        mark = max(mark, until)
    return mark


def last_full_listing(connection: sqlite3.Connection, scope: str | None) -> datetime | None:
    """When the last complete run began that walked the whole list of calls; None if none did."""
    (started,) = connection.execute(
        "SELECT max(started) FROM runs WHERE complete AND listing = 'full' "
        "AND (scope = ? OR scope IS NULL)",
        (scope,),
    ).fetchone()
    return moment_or_none(started)


def _normal(word: str | None) -> str | None:
    return None if word is None else word.strip().lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class Answers:
    """What the server said to the requests of one run.

    Attributes:
        fetched: recordings that came, or would have if the user allowed larger ones.
        absent: 404s that would be final, or disputed.
        failed: anything else.
    """

    fetched: int
    absent: int
    failed: int

    @property
    def is_incident(self) -> bool:
        """Whether so much was refused that the server is not to be believed."""
        asked = self.fetched + self.absent + self.failed
        return asked >= _INCIDENT_FROM and self.fetched * 10 <= asked


_INCIDENT_FROM = 10
"""Requests below which nothing is told from how many were refused."""


def answers_of(connection: sqlite3.Connection, run: int) -> Answers:
    """What the rows of a run say of the answers that it got."""
    counts = dict(
        connection.execute(
            "SELECT CASE WHEN state IN ('archived', 'suspect', 'empty') THEN 'fetched' "
            "WHEN state = 'failed' AND instr(last_error, ?) THEN 'fetched' "
            "WHEN state = 'failed' THEN 'failed' ELSE 'absent' END AS kind, count(*) "
            "FROM recordings WHERE run = ? AND attempts > 0 "
            "AND state NOT IN ('not_ready', 'erased') GROUP BY kind",
            (OVER_LIMIT, run),
        ).fetchall()
    )
    return Answers(counts.get("fetched", 0), counts.get("absent", 0), counts.get("failed", 0))


def reopen(connection: sqlite3.Connection, run: int, why: str) -> int:
    """Take back what a run has settled as absent; later runs ask again. Returns how many."""
    return connection.execute(
        "UPDATE recordings SET state = 'not_ready', last_error = ?, disputed = NULL, "
        "ask_after = NULL WHERE run = ? AND attempts > 0 "
        "AND state IN ('no_recording', 'disputed')",
        (why, run),
    ).rowcount


def reopen_of_dead(connection: sqlite3.Connection, run: int, why: str) -> None:
    """The same for runs that died, if what they met was an incident."""
    rows = connection.execute("SELECT id FROM runs WHERE finished IS NULL AND id <> ?", (run,))
    for (dead,) in rows.fetchall():
        if answers_of(connection, dead).is_incident:
            reopen(connection, dead, why)


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
