"""The catalog's calls: looked up and written in batches. To be run by `Catalog.read` or `write`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from agentphone_async.archive.catalog.rows import (
    CallRow,
    id_from_text,
    id_to_text,
    moment_of,
    moment_or_none,
    plain,
    raw_text,
    stamp,
    stamp_or_none,
)
from agentphone_async.models import Call

RENEWED = timedelta(days=7)
"""How old ``last_seen`` of an unchanged call may grow: rewriting 100,000 rows in each run to say
that nothing happened would cost more than the run."""

_COLUMNS = "id, raw, started, ended, status, direction, duration, first_seen, last_seen"


def changed_calls(
    connection: sqlite3.Connection, calls: Sequence[Call], now: datetime
) -> tuple[list[tuple[Call, str]], set[str]]:
    """Which of these calls are new, changed or due to be renewed; reads only.

    Returns:
        The calls to be stored, each with its JSON text; and the ids of those that the catalog
        knew, with other contents.
    """
    marks = ",".join("?" * len(calls))
    found: dict[str, tuple[str, str]] = {
        id_: (raw, seen)
        for id_, raw, seen in connection.execute(
            f"SELECT id, raw, last_seen FROM calls WHERE id IN ({marks})",  # noqa: S608 - marks
            [id_to_text(call.id) for call in calls],
        )
    }
    oldest = stamp(now - RENEWED)
    store: list[tuple[Call, str]] = []
    changed: set[str] = set()
    for call in calls:
        raw = raw_text(call.raw)
        known = found.get(id_to_text(call.id))
        if known is None or known[0] != raw or known[1] < oldest:
            store.append((call, raw))
            if known is not None and known[0] != raw:
                changed.add(call.id)
    return store, changed


def store_calls(
    connection: sqlite3.Connection, calls: Iterable[tuple[Call, str]], now: datetime
) -> None:
    """Insert or update calls; each with its JSON text."""
    seen = stamp(now)
    connection.executemany(
        f"INSERT INTO calls ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608
        "ON CONFLICT (id) DO UPDATE SET raw = excluded.raw, started = excluded.started, "
        "ended = excluded.ended, status = excluded.status, direction = excluded.direction, "
        "duration = excluded.duration, last_seen = excluded.last_seen",
        [
            (
                id_to_text(call.id),
                raw,
                stamp_or_none(call.started_at),
                stamp_or_none(call.ended_at),
                plain(call.status),
                plain(call.direction),
                call.duration_seconds,
                seen,
                seen,
            )
            for call, raw in calls
        ],
    )


def get_calls(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, CallRow]:
    """The calls of these ids, at most a few hundred; those that are not known are missing."""
    marks = ",".join("?" * len(ids))
    query = f"SELECT {_COLUMNS} FROM calls WHERE id IN ({marks})"  # noqa: S608 - marks only
    rows = connection.execute(query, [id_to_text(call_id) for call_id in ids])
    return {row.id: row for row in map(call_row, rows)}


def calls_after(
    connection: sqlite3.Connection, after: str | None = None, limit: int = 1000
) -> list[CallRow]:
    """The next calls in the order of their ids; start with None, go on with the last id."""
    query = f"SELECT {_COLUMNS} FROM calls WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608
    start = "" if after is None else id_to_text(after)
    return [call_row(row) for row in connection.execute(query, (start, limit))]


def call_row(row: Sequence[object]) -> CallRow:
    """A `CallRow` from the columns of the table, in their order."""
    id_, raw, started, ended, status, direction, duration, first, last = row
    return CallRow(
        id=id_from_text(str(id_)),
        raw=str(raw),
        started=moment_or_none(_text(started)),
        ended=moment_or_none(_text(ended)),
        status=_text(status),
        direction=_text(direction),
        duration=float(duration) if isinstance(duration, int | float) else None,
        first_seen=moment_of(str(first)),
        last_seen=moment_of(str(last)),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)
