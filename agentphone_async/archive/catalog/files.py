"""The catalog seen as a list of files, in the order of their paths. For `Catalog.read`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from agentphone_async.archive.catalog.rows import ON_DISK, id_from_text, stamp

_LAST = "\U0010ffff"  # sorts behind every path
_MARKS = ",".join(f"'{state}'" for state in sorted(ON_DISK))


@dataclass(frozen=True, slots=True)
class CatalogFile:
    """A file that the catalog knows of.

    Attributes:
        path: relative to the archive.
        size: bytes; None if it never was on the disk.
        sha256: in hexadecimal, likewise.
        call_id: whose it is.
        kind: ``recording``, or a sidecar's kind.
        version: of a recording; 0 for sidecars.
        state: of a recording; ``archived`` for sidecars.
        note: a recording's last error; why it is suspect or lost.
    """

    path: PurePosixPath
    size: int | None
    sha256: str | None
    call_id: str
    kind: str
    version: int
    state: str
    note: str | None


def files_after(
    connection: sqlite3.Connection, after: str = "", limit: int = 1000
) -> list[CatalogFile]:
    """The next files in the order of their paths; go on with the last path as text."""
    rows = connection.execute(
        "SELECT path, size, sha256, call_id, 'recording', version, state, last_error "
        "FROM recordings WHERE path > ?1 "
        "UNION ALL SELECT path, size, sha256, call_id, kind, 0, 'archived', NULL "
        "FROM sidecars WHERE path > ?1 ORDER BY path LIMIT ?2",
        (after, limit),
    )
    return [_file(row) for row in rows]


def known_paths(connection: sqlite3.Connection, paths: Sequence[str]) -> set[str]:
    """Those of some paths, at most a few hundred, that the catalog knows."""
    marks = ",".join("?" * len(paths))
    rows = connection.execute(
        f"SELECT path FROM recordings WHERE path IN ({marks}) "  # noqa: S608 - marks only
        f"UNION ALL SELECT path FROM sidecars WHERE path IN ({marks})",
        (*paths, *paths),
    )
    return {path for (path,) in rows}


def files_in(
    connection: sqlite3.Connection, folder: PurePosixPath, after: str = "", limit: int = 2000
) -> list[tuple[str, str]]:
    """The next files right in a folder that are on the disk: names and SHA-256, by name."""
    prefix = "" if folder == PurePosixPath() else folder.as_posix() + "/"
    end = prefix[:-1] + "0" if prefix else _LAST  # "0" is the character behind "/"
    rows = connection.execute(
        "SELECT substr(path, ?3), sha256 FROM recordings WHERE path > ?1 AND path < ?2 "  # noqa: S608
        f"AND state IN ({_MARKS}) AND sha256 IS NOT NULL AND instr(substr(path, ?3), '/') = 0 "
        "UNION ALL SELECT substr(path, ?3), sha256 FROM sidecars WHERE path > ?1 AND path < ?2 "
        "AND instr(substr(path, ?3), '/') = 0 ORDER BY 1 LIMIT ?4",
        (prefix + after, end, len(prefix) + 1, limit),
    )
    return [(name, sha256) for name, sha256 in rows]


def folders_changed(
    connection: sqlite3.Connection, since: datetime | None
) -> Callable[[sqlite3.Connection], set[PurePosixPath]]:
    """A function that gives, bit by bit, the folders of files whose rows changed since then.

    None is the beginning of time. The function is for `Catalog.read`, too, on the same catalog;
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
        return {PurePosixPath(folder) for folder in found}

    return more


_FOLDERS = 20_000
"""Folders that are kept in mind at once."""


def get_setting(connection: sqlite3.Connection, name: str) -> str | None:
    """A setting of the catalog as text; None if it was never set."""
    row = connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def set_setting(connection: sqlite3.Connection, name: str, value: str) -> None:
    """Keep a setting in the catalog (needs `Catalog.write`)."""
    connection.execute(
        "INSERT INTO settings (name, value) VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def _file(row: Sequence[Any]) -> CatalogFile:
    path, size, sha256, call_id, kind, version, state, note = row
    return CatalogFile(
        PurePosixPath(path), size, sha256, id_from_text(call_id), kind, version, state, note
    )
