"""The catalog's recordings and the files beside them, in batches; also as one list of files.

Functions for `Catalog.run`; those that store are for `Catalog.transaction`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from operator import itemgetter
from pathlib import PurePosixPath
from typing import Any

from agentphone_async.archive.catalog.calls import ensure_calls
from agentphone_async.archive.catalog.paths import path_of_row, refuse_strays
from agentphone_async.archive.catalog.rows import (
    COLUMNS,
    NAMES,
    ON_DISK,
    PATH,
    SIDECAR_NAMES,
    CatalogFile,
    RecordingRow,
    SidecarRow,
    file_row,
    id_from_text,
    id_to_text,
    plain,
    recording_row,
    sidecar_row,
    stamp,
    stamp_or_none,
)

_LAST = "\U0010ffff"  # sorts behind every path
_MARKS = ",".join(f"'{state}'" for state in sorted(ON_DISK))
_CREATED = NAMES.index("created")
_in_order = itemgetter(NAMES.index("call_id"), NAMES.index("version"))
_TOP = PurePosixPath()
_FOLDERS = 20_000
"""Folders that are kept in mind at once."""

_SIDECAR = ", ".join(SIDECAR_NAMES)
_SETTERS = ", ".join(
    f"{name} = excluded.{name}" for name in NAMES if name not in {"call_id", "version", "created"}
)


def current_recordings(
    connection: sqlite3.Connection, ids: Sequence[str]
) -> dict[str, RecordingRow]:
    """The current version for each of these calls, at most a few hundred; the rest is missing."""
    rows = [recording_row(row, connection) for row in _current(connection, ids)]
    return {row.call_id: row for row in rows}  # a later version wins


def current_columns(
    connection: sqlite3.Connection, ids: Sequence[str]
) -> dict[str, tuple[Any, ...]]:
    """The same, as the columns of `COLUMNS`.

    In a run over 100,000 archived calls, making values of all rows would cost more than looking
    them up.
    """
    rows = {id_from_text(row[0]): row for row in _current(connection, ids)}
    refuse_strays(connection, [row[PATH] for row in rows.values() if row[PATH] is not None])
    return rows


def _current(connection: sqlite3.Connection, ids: Sequence[str]) -> sqlite3.Cursor:
    marks = ",".join("?" * len(ids))
    query = (
        f"SELECT {COLUMNS} FROM recordings WHERE call_id IN ({marks}) "  # noqa: S608 - marks
        "ORDER BY call_id, version"
    )
    return connection.execute(query, [id_to_text(call_id) for call_id in ids])


def store_recordings(connection: sqlite3.Connection, rows: Iterable[RecordingRow]) -> None:
    """Insert or update recordings, each by call and version; ``created`` stays as it was."""
    marks = ", ".join("?" * len(NAMES))
    query = (
        f"INSERT INTO recordings ({COLUMNS}) VALUES ({marks}) "  # noqa: S608 - names of ours
        f"ON CONFLICT (call_id, version) DO UPDATE SET {_SETTERS}"
    )
    values = sorted(map(_values, rows), key=_in_order)  # as the table has them, a third faster
    try:
        connection.executemany(query, values)
    except sqlite3.IntegrityError:  # a call that no list has shown, as in a rebuild
        ensure_calls(connection, {str(value[0]): str(value[_CREATED]) for value in values})
        connection.executemany(query, values)


def recordings_after(
    connection: sqlite3.Connection,
    after: tuple[str, int] | None = None,
    limit: int = 1000,
    *,
    states: Iterable[str] = (),
) -> list[RecordingRow]:
    """The next recordings, all versions, in the order of call ids and versions.

    Begin with ``after`` None and continue with id and version of the last row; at most ``limit``
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
    return [recording_row(row, connection) for row in rows]


def not_ready_in(
    connection: sqlite3.Connection, run: int, after: str | None = None, limit: int = 256
) -> list[str]:
    """Ids of calls that this run found not ready, in the order of their ids."""
    rows = connection.execute(
        "SELECT call_id FROM recordings WHERE state IN ('not_ready', 'failed', 'disputed') "
        "AND state = 'not_ready' AND run = ? AND call_id > ? "
        "ORDER BY call_id LIMIT ?",
        (run, "" if after is None else id_to_text(after), limit),
    )
    return [id_from_text(call_id) for (call_id,) in rows]


def open_calls(
    connection: sqlite3.Connection,
    scope: str | None,
    now: datetime,
    after: str | None = None,
    limit: int = 256,
) -> list[str]:
    """Ids of calls that runs of a scope have left open, and may ask for now, in their order."""
    rows = connection.execute(
        "SELECT call_id FROM (SELECT call_id, run FROM recordings "
        "WHERE state IN ('not_ready', 'failed', 'disputed') AND coalesce(ask_after, '') <= ?1 "
        "UNION SELECT call_id, NULL FROM pending) AS open LEFT JOIN runs ON runs.id = open.run "
        "WHERE call_id > ?2 AND (runs.scope IS NULL OR runs.scope = ?3) "
        "GROUP BY call_id ORDER BY call_id LIMIT ?4",
        (stamp(now), "" if after is None else id_to_text(after), scope, limit),
    )
    return [id_from_text(call_id) for (call_id,) in rows]


def owner_of(connection: sqlite3.Connection, path: PurePosixPath) -> RecordingRow | None:
    """The recording that is at a path, as far as the catalog knows."""
    row = connection.execute(
        f"SELECT {COLUMNS} FROM recordings WHERE path = ?",  # noqa: S608 - names of ours
        (path.as_posix(),),
    ).fetchone()
    return None if row is None else recording_row(row, connection)


def owners_of(connection: sqlite3.Connection, paths: Sequence[str]) -> dict[str, str]:
    """The calls whose recordings are at these paths, at most about a thousand of them."""
    marks = ",".join("?" * len(paths))
    query = f"SELECT path, call_id FROM recordings WHERE path IN ({marks})"  # noqa: S608 - marks
    return {path: id_from_text(call_id) for path, call_id in connection.execute(query, paths)}


def versions_of(connection: sqlite3.Connection, call_id: str) -> dict[int, RecordingRow]:
    """All versions of a call's recording."""
    rows = [recording_row(row, connection) for row in _current(connection, [call_id])]
    return {row.version: row for row in rows}


def store_sidecars(connection: sqlite3.Connection, rows: Iterable[SidecarRow]) -> None:
    """Insert or update files beside recordings, each by call and kind."""
    rows = list(rows)
    ensure_calls(connection, {id_to_text(row.call_id): stamp(row.updated) for row in rows})
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
    return [sidecar_row(row, connection) for row in rows]


def count_states(connection: sqlite3.Connection) -> dict[str, int]:
    """How many recordings, all versions, are in each state."""
    return dict(
        connection.execute("SELECT state, count(*) FROM recordings GROUP BY state").fetchall()
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
        stamp_or_none(row.disputed),
        stamp_or_none(row.ask_after),
    )


def files_after(
    connection: sqlite3.Connection, after: str = "", limit: int = 1000
) -> list[CatalogFile]:
    """The next files in the order of their paths; continue with the last path as text."""
    rows = connection.execute(
        "SELECT path, size, sha256, call_id, 'recording', version, state, last_error "
        "FROM recordings WHERE path > ?1 "
        "UNION ALL SELECT path, size, sha256, call_id, kind, 0, 'archived', NULL "
        "FROM sidecars WHERE path > ?1 ORDER BY path LIMIT ?2",
        (after, limit),
    )
    return [file_row(row, connection) for row in rows]


def files_of_calls(connection: sqlite3.Connection, ids: Sequence[str]) -> list[CatalogFile]:
    """All files of some calls, at most a few hundred."""
    marks = ",".join("?" * len(ids))
    texts = [id_to_text(one) for one in ids]
    rows = connection.execute(
        "SELECT path, size, sha256, call_id, 'recording', version, state, last_error "  # noqa: S608
        f"FROM recordings WHERE path IS NOT NULL AND call_id IN ({marks}) "
        "UNION ALL SELECT path, size, sha256, call_id, kind, 0, 'archived', NULL "
        f"FROM sidecars WHERE call_id IN ({marks}) ORDER BY path",
        (*texts, *texts),
    )
    return [file_row(row, connection) for row in rows]


def known_paths(connection: sqlite3.Connection, paths: Sequence[str]) -> set[str]:
    """Those of some paths, at most a few hundred, that the catalog knows."""
    marks = ",".join("?" * len(paths))
    rows = connection.execute(
        f"SELECT path FROM recordings WHERE path IN ({marks}) "  # noqa: S608 - marks only
        f"UNION ALL SELECT path FROM sidecars WHERE path IN ({marks})",
        (*paths, *paths),
    )
    return {path for (path,) in rows}


def accepted(connection: sqlite3.Connection) -> dict[str, tuple[str, str]]:
    """What was accepted, by path: the kind of finding, and the hash of what was there."""
    rows = connection.execute("SELECT path, kind, sha256 FROM accepted")
    return {path: (kind, sha256) for path, kind, sha256 in rows}


def note_accepted(
    connection: sqlite3.Connection, found: Iterable[tuple[CatalogFile, str, str]], now: datetime
) -> None:
    """Accept what is wrong with files: the kind of finding, and the hash of what is there."""
    connection.executemany(
        "INSERT INTO accepted (path, call_id, kind, sha256, accepted) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (path) DO UPDATE SET kind = excluded.kind, sha256 = excluded.sha256, "
        "accepted = excluded.accepted",
        [
            (file.path.as_posix(), id_to_text(file.call_id), kind, sha256, stamp(now))
            for file, kind, sha256 in found
        ],
    )


def files_in(
    connection: sqlite3.Connection, folder: PurePosixPath, after: str = "", limit: int = 2000
) -> list[tuple[str, str]]:
    """The next files right in a folder that are on the disk: names and SHA-256, by name."""
    rows = connection.execute(
        "SELECT substr(path, ?3), sha256 FROM recordings WHERE path > ?1 AND path < ?2 "  # noqa: S608
        f"AND state IN ({_MARKS}) AND sha256 IS NOT NULL AND instr(substr(path, ?3), '/') = 0 "
        "UNION ALL SELECT substr(path, ?3), sha256 FROM sidecars WHERE path > ?1 AND path < ?2 "
        "AND instr(substr(path, ?3), '/') = 0 ORDER BY 1 LIMIT ?4",
        _span(folder, after, limit),
    )
    return [(name, sha256) for name, sha256 in rows]


def recordings_in(
    connection: sqlite3.Connection, folder: PurePosixPath, after: str = "", limit: int = 1000
) -> list[tuple[Any, ...]]:
    """The next recordings right in a folder that are on the disk, by name; all versions.

    Each is its name, and then its `COLUMNS`: values of all rows would cost more than the text
    that is made of them.
    """
    return connection.execute(
        f"SELECT substr(path, ?3), {COLUMNS} FROM recordings WHERE path > ?1 AND path < ?2 "  # noqa: S608
        f"AND state IN ({_MARKS}) AND instr(substr(path, ?3), '/') = 0 ORDER BY path LIMIT ?4",
        _span(folder, after, limit),
    ).fetchall()


def sidecars_in(
    connection: sqlite3.Connection, folder: PurePosixPath, after: str = "", limit: int = 1000
) -> list[tuple[Any, ...]]:
    """The next files beside recordings right in a folder, by name, likewise."""
    return connection.execute(
        f"SELECT substr(path, ?3), {_SIDECAR} FROM sidecars WHERE path > ?1 AND path < ?2 "  # noqa: S608
        "AND instr(substr(path, ?3), '/') = 0 ORDER BY path LIMIT ?4",
        _span(folder, after, limit),
    ).fetchall()


def _span(folder: PurePosixPath, after: str, limit: int) -> tuple[str, str, int, int]:
    """Where paths right in a folder begin and end, and how long their beginning is."""
    prefix = "" if folder == PurePosixPath() else folder.as_posix() + "/"
    end = prefix[:-1] + "0" if prefix else _LAST  # "0" is the character behind "/"
    return (prefix + after, end, len(prefix) + 1, limit)


def folders_changed(
    connection: sqlite3.Connection, since: datetime | None
) -> Callable[[sqlite3.Connection], set[PurePosixPath]]:
    """A function that gives, bit by bit, the folders of files whose rows changed since then.

    None is the beginning of time. The function is for `Catalog.run`, too, on the same catalog;
    an empty set is the end.
    """
    start = "" if since is None else stamp(since)
    cursor = connection.execute(
        "SELECT path FROM recordings WHERE updated >= ?1 AND path IS NOT NULL "
        "UNION ALL SELECT path FROM sidecars WHERE updated >= ?1",
        (start,),
    )

    def more(_: sqlite3.Connection) -> set[PurePosixPath]:
        found: set[str] = set()
        while len(found) < _FOLDERS and (rows := cursor.fetchmany(1000)):
            found.update(path.rpartition("/")[0] for (path,) in rows)
        return {
            path_of_row(connection, f"{folder}/x").parent if folder else _TOP for folder in found
        }

    return more
