"""The catalog's recordings, in batches. To be run by `Catalog.read` or `Catalog.write`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

from agentphone_async.archive.catalog.rows import (
    RecordingRow,
    SidecarRow,
    id_from_text,
    id_to_text,
    moment_of,
    plain,
    stamp,
)

_NAMES = (
    "call_id", "version", "state", "path", "size", "sha256", "media_type", "sample_rate",
    "channels", "duration", "etag", "attempts", "created", "updated", "last_error", "run",
)  # fmt: skip
COLUMNS = ", ".join(_NAMES)
"""In the order that `recording_row` takes."""

STATE, PATH, SIZE = (_NAMES.index(name) for name in ("state", "path", "size"))
"""Where these are in a row of `COLUMNS`."""

_SIDECAR = "call_id, kind, path, size, sha256, updated"
_SETTERS = ", ".join(
    f"{name} = excluded.{name}" for name in _NAMES if name not in {"call_id", "version", "created"}
)


def current_recordings(
    connection: sqlite3.Connection, ids: Sequence[str]
) -> dict[str, RecordingRow]:
    """The current version for each of these calls, at most a few hundred; the rest is missing."""
    rows = map(recording_row, _current(connection, ids))
    return {row.call_id: row for row in rows}  # a later version wins


def current_columns(
    connection: sqlite3.Connection, ids: Sequence[str]
) -> dict[str, tuple[Any, ...]]:
    """The same, as the columns of `COLUMNS`.

    In a run over 100,000 archived calls, making values of all rows would cost more than looking
    them up.
    """
    return {id_from_text(row[0]): row for row in _current(connection, ids)}


def _current(connection: sqlite3.Connection, ids: Sequence[str]) -> sqlite3.Cursor:
    marks = ",".join("?" * len(ids))
    query = (
        f"SELECT {COLUMNS} FROM recordings WHERE call_id IN ({marks}) "  # noqa: S608 - marks
        "ORDER BY call_id, version"
    )
    return connection.execute(query, [id_to_text(call_id) for call_id in ids])


def store_recordings(connection: sqlite3.Connection, rows: Iterable[RecordingRow]) -> None:
    """Insert or update recordings, each by call and version; ``created`` stays as it was."""
    marks = ", ".join("?" * len(_NAMES))
    connection.executemany(
        f"INSERT INTO recordings ({COLUMNS}) VALUES ({marks}) "  # noqa: S608 - names of ours
        f"ON CONFLICT (call_id, version) DO UPDATE SET {_SETTERS}",
        [_values(row) for row in rows],
    )


def recordings_after(
    connection: sqlite3.Connection,
    after: tuple[str, int] | None = None,
    limit: int = 1000,
    *,
    states: Iterable[str] = (),
) -> list[RecordingRow]:
    """The next recordings, all versions, in the order of call ids and versions.

    Begin with ``after`` None and go on with id and version of the last row; at most ``limit``
    rows, only of these ``states`` if any are given.
    """
    wanted = tuple(states)
    condition = f"AND state IN ({','.join('?' * len(wanted))}) " if wanted else ""
    start = ("", 0) if after is None else (id_to_text(after[0]), after[1])
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM recordings WHERE (call_id, version) > (?, ?) "  # noqa: S608
        f"{condition}ORDER BY call_id, version LIMIT ?",
        (*start, *wanted, limit),
    )
    return [recording_row(row) for row in rows]


def not_ready_in(
    connection: sqlite3.Connection, run: int, after: str | None = None, limit: int = 256
) -> list[str]:
    """Ids of calls that this run found not ready, in the order of their ids."""
    rows = connection.execute(
        "SELECT call_id FROM recordings WHERE state = 'not_ready' AND run = ? AND call_id > ? "
        "ORDER BY call_id LIMIT ?",
        (run, "" if after is None else id_to_text(after), limit),
    )
    return [id_from_text(call_id) for (call_id,) in rows]


def owner_of(connection: sqlite3.Connection, path: PurePosixPath) -> RecordingRow | None:
    """The recording that is at a path, as far as the catalog knows."""
    row = connection.execute(
        f"SELECT {COLUMNS} FROM recordings WHERE path = ?",  # noqa: S608 - names of ours
        (path.as_posix(),),
    ).fetchone()
    return None if row is None else recording_row(row)


def owners_of(connection: sqlite3.Connection, paths: Sequence[str]) -> dict[str, str]:
    """The calls whose recordings are at these paths, at most about a thousand of them."""
    marks = ",".join("?" * len(paths))
    query = f"SELECT path, call_id FROM recordings WHERE path IN ({marks})"  # noqa: S608 - marks
    return {path: id_from_text(call_id) for path, call_id in connection.execute(query, paths)}


def versions_of(connection: sqlite3.Connection, call_id: str) -> dict[int, RecordingRow]:
    """All versions of a call's recording."""
    rows = map(recording_row, _current(connection, [call_id]))
    return {row.version: row for row in rows}


def store_sidecars(connection: sqlite3.Connection, rows: Iterable[SidecarRow]) -> None:
    """Insert or update files beside recordings, each by call and kind."""
    connection.executemany(
        "INSERT INTO sidecars (call_id, kind, path, size, sha256, updated) "
        "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (call_id, kind) DO UPDATE SET "
        "path = excluded.path, size = excluded.size, sha256 = excluded.sha256, "
        "updated = excluded.updated",
        [
            (id_to_text(r.call_id), r.kind, r.path.as_posix(), r.size, r.sha256, stamp(r.updated))
            for r in rows
        ],
    )


def sidecars_of(connection: sqlite3.Connection, ids: Sequence[str]) -> list[SidecarRow]:
    """The files beside the recordings of these calls, at most a few hundred."""
    marks = ",".join("?" * len(ids))
    where = f"WHERE call_id IN ({marks})"
    query = f"SELECT {_SIDECAR} FROM sidecars {where} ORDER BY call_id, kind"  # noqa: S608 - ours
    rows = connection.execute(query, [id_to_text(call_id) for call_id in ids])
    return [sidecar_row(row) for row in rows]


def sidecars_after(
    connection: sqlite3.Connection, after: tuple[str, str] | None = None, limit: int = 1000
) -> list[SidecarRow]:
    """The next files beside recordings; start with None, go on with the last id and kind."""
    start = ("", "") if after is None else (id_to_text(after[0]), after[1])
    rows = connection.execute(
        f"SELECT {_SIDECAR} FROM sidecars "  # noqa: S608 - names of ours
        "WHERE (call_id, kind) > (?, ?) ORDER BY call_id, kind LIMIT ?",
        (*start, limit),
    )
    return [sidecar_row(row) for row in rows]


def count_states(connection: sqlite3.Connection) -> dict[str, int]:
    """How many recordings, all versions, are in each state."""
    return dict(
        connection.execute("SELECT state, count(*) FROM recordings GROUP BY state").fetchall()
    )


def recording_row(row: Sequence[Any]) -> RecordingRow:
    """A `RecordingRow` from the columns of `COLUMNS`."""
    return RecordingRow(
        call_id=id_from_text(row[0]),
        version=row[1],
        state=row[2],
        path=None if row[3] is None else PurePosixPath(row[3]),
        size=row[4],
        sha256=row[5],
        media_type=row[6],
        sample_rate=row[7],
        channels=row[8],
        duration=row[9],
        etag=row[10],
        attempts=row[11],
        created=moment_of(row[12]),
        updated=moment_of(row[13]),
        last_error=row[14],
        run=row[15],
    )


def sidecar_row(row: Sequence[Any]) -> SidecarRow:
    """A `SidecarRow` from the table's columns, in their order."""
    return SidecarRow(
        id_from_text(row[0]), row[1], PurePosixPath(row[2]), row[3], row[4], moment_of(row[5])
    )


def _values(row: RecordingRow) -> tuple[object, ...]:
    return (
        id_to_text(row.call_id),
        row.version,
        row.state,
        None if row.path is None else row.path.as_posix(),
        row.size,
        row.sha256,
        plain(row.media_type),
        row.sample_rate,
        row.channels,
        row.duration,
        plain(row.etag),
        row.attempts,
        stamp(row.created),
        stamp(row.updated),
        plain(row.last_error),
        row.run,
    )
