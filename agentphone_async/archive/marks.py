"""Up to when everything was seen, beside the catalog: ``--since last`` outlives a lost catalog.

A lost catalog takes along which calls were still open, too. So what is kept reaches up to the
oldest of them only: what comes after a mark is asked for again, and what lies before it is settled.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime
from pathlib import Path

from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.rows import moment_or_none, stamp
from agentphone_async.archive.catalog.runs import BEGINNING, last_covered
from agentphone_async.archive.catalog.settings import keep_scope_key, known_scope_key
from agentphone_async.archive.selection import Selection
from agentphone_async.archive.settings_file import Mark, load_settings, update_settings


async def keep_marks(folder: Path, catalog: Catalog, *, durable: bool) -> None:
    """Write down what a run has changed.

    Raises:
        CatalogError, DestinationError: the catalog, or the disk, failed.
    """
    key = await catalog.run(known_scope_key)
    marks = await catalog.run(marks_of)
    update_settings(folder, durable=durable, scope_key=key, marks=tuple(marks))


def restore_marks(connection: sqlite3.Connection, folder: Path) -> None:
    """Let runs resume from what is kept; for a new catalog (needs a transaction)."""
    said = load_settings(folder)
    if said.scope_key is not None and known_scope_key(connection) in {None, said.scope_key}:
        keep_scope_key(connection, said.scope_key)
        connection.executemany(
            "INSERT INTO runs (started, finished, status, direction, complete, covered_until, "
            "counts, scope, listing) VALUES (?1, ?1, ?2, ?3, 1, ?1, '{}', ?4, 'recent')",
            [(one.until, one.status, one.direction, one.scope) for one in said.marks],
        )


def marks_of(connection: sqlite3.Connection) -> list[Mark]:
    """For each list of calls and each choice of filters, up to when nothing is left to be done."""
    kinds = connection.execute(
        "SELECT DISTINCT scope, status, direction FROM runs "
        "WHERE covered_until IS NOT NULL AND scope IS NOT NULL ORDER BY 1, 2, 3"
    ).fetchall()
    open_since = _open_since(connection) if kinds else None
    marks: list[Mark] = []
    for scope, status, direction in kinds:
        until = last_covered(connection, Selection(status=status, direction=direction), scope)
        if until is not None and open_since is not None:
            until = min(until, open_since)
        if until is not None and until > BEGINNING:
            marks.append(Mark(scope, status, direction, stamp(until)))
    return marks


def _open_since(connection: sqlite3.Connection) -> datetime | None:
    """When the oldest call began that is still to be asked for; None if there is none."""
    (oldest,) = connection.execute(
        "SELECT min(coalesce(started, ended, first_seen)) FROM calls WHERE id IN ("
        "SELECT call_id FROM recordings WHERE state IN ('not_ready', 'failed', 'disputed') "
        "UNION SELECT call_id FROM pending)"
    ).fetchone()
    return moment_or_none(oldest)
