"""What is left of a catalog that is lost or torn: its rows, the index, and each call's JSON.

Nothing that is recovered is taken at its word: what it claims of files is compared with them.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TypeVar

from pydantic import ValidationError

from agentphone_async.archive.catalog.calls import store_calls
from agentphone_async.archive.catalog.database import in_transaction
from agentphone_async.archive.catalog.paths import path_of_row
from agentphone_async.archive.catalog.recordings import store_recordings, store_sidecars
from agentphone_async.archive.catalog.rows import (
    RecordingRow,
    SidecarRow,
    id_from_text,
    id_to_text,
    raw_text,
)
from agentphone_async.archive.catalog.settings import hash_key, known_hash_key
from agentphone_async.archive.files.evidence import Indexed, IndexedCall, indexed
from agentphone_async.archive.files.on_disk import files_below, size_of
from agentphone_async.archive.files.sidecar_files import (
    METADATA,
    TRANSCRIPT,
    TRANSCRIPT_TEXT,
    sha256_of,
)
from agentphone_async.archive.names import stem_of
from agentphone_async.archive.settings_file import load_settings, restore_marks
from agentphone_async.errors import CatalogError
from agentphone_async.models import Call
from agentphone_async.protocol.recording import ALL_EXTENSIONS
from agentphone_async.recordings.naming import hashed_id, safe_component
from agentphone_async.sinks.disk import destination_errors
from agentphone_async.sinks.erased import Tombstones

T = TypeVar("T")

_TABLES = (
    "settings", "calls", "runs", "recordings", "sidecars", "pending", "absent", "erased",
    "accepted",
)  # fmt: skip

_WITHOUT_CALLS = """
    INSERT OR IGNORE INTO calls (id, raw, first_seen, last_seen)
    SELECT call_id, json_object('id', call_id), seen, seen FROM (
        SELECT call_id, updated AS seen FROM recordings
        UNION ALL SELECT call_id, updated FROM sidecars
        UNION ALL SELECT call_id, since FROM pending
        UNION ALL SELECT call_id, since FROM absent)
"""
_BATCH = 256
_LARGEST_JSON = 16 * 1024 * 1024
_NAMED = re.compile(r"recording-(.+?)(?:\.v([2-9]|[1-9][0-9]+))?")
_TRANSCRIPT = re.compile(r"transcript-(.+)\.(json|txt)")
_LIKE_A_HASH = re.compile(r"[a-z2-7]{32}")


class Recovery:
    """Fills a new catalog with what can still be known, without a single recording being read.

    Args:
        folder: the archive.
        new: the catalog that is being made.
        now: the wall clock.
    """

    def __init__(self, folder: Path, new: sqlite3.Connection, now: datetime) -> None:
        self.folder = folder
        self.new = new
        self.now = now
        self.tombstones = Tombstones.load(folder)
        self.key: bytes | None = None
        self._torn = False

    def go(self, old: Path) -> int:
        """Take in everything; return how many rows came from the ``old`` catalog."""
        copied = self._copy_all(old)
        self._settings()
        self._write_each(indexed(self.folder), self._take_indexed)
        self.new.execute("CREATE TEMP TABLE named (name TEXT PRIMARY KEY, id TEXT NOT NULL)")
        self._write_each(self._json_of_calls(), self._take_call)
        self._name_all()
        self._write_each(self._transcripts(), self._take_sidecars)
        return copied

    def identity(self, path: PurePosixPath) -> tuple[str | None, int]:
        """Whose a recording is, and the version: by the JSON beside it, or by its name."""
        stem = stem_of(path)
        match = _NAMED.fullmatch(stem.name)
        query = "SELECT call_id FROM sidecars WHERE kind = ? AND path IN (?, ?)"
        beside = (METADATA, f"{stem}.json", f"{stem}.call.json")
        call_id = self._id_from(query, beside) or (match and self._call_named(match[1])) or None
        return call_id, int((match and match[2]) or 1)

    def _call_named(self, name: str) -> str | None:
        """The call that a name stands for; None if it may have been hashed, and none is known."""
        known = self._id_from("SELECT id FROM named WHERE name = ?", (name,))
        if known is not None or self.key is not None or _LIKE_A_HASH.fullmatch(name):
            return known
        return name if safe_component(name) == name else None

    def _id_from(self, query: str, values: tuple[str, ...]) -> str | None:
        row = self.new.execute(query, values).fetchone()
        return None if row is None else id_from_text(str(row[0]))

    # ---------------------------------------------------------------- the old catalog

    def _copy_all(self, path: Path) -> int:
        """Copy every row that can be read; the old catalog may be missing, or no database."""
        if not path.is_file() or not path.stat().st_size:
            return 0
        try:
            old = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        except sqlite3.Error:
            return 0
        self.new.execute("PRAGMA foreign_keys = OFF")
        try:
            copied = sum(self._copy(old, table, table) for table in _TABLES)
            copied += self._copy(old, "owed", "pending")  # as it was called in the first schema
        finally:
            old.close()
        # What stood on torn pages is made up for, as far as other rows need it.
        in_transaction(self.new, lambda: self.new.execute(_WITHOUT_CALLS))
        statement = "UPDATE recordings SET run = NULL WHERE run NOT IN (SELECT id FROM runs)"
        in_transaction(self.new, lambda: self.new.execute(statement))
        self.new.execute("PRAGMA foreign_keys = ON")
        return copied

    def _copy(self, old: sqlite3.Connection, there: str, table: str) -> int:
        """Copy what both schemas have; a row whose path leads out of the archive is left out."""
        known = _columns(old, there)
        names = [name for name in _columns(self.new, table) if name in known]
        if not names:
            return 0
        insert = (
            f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) "  # noqa: S608 - tables of ours
            f"VALUES ({', '.join('?' * len(names))})"
        )
        copied = 0
        for rows in self._rows(old, there, names):
            kept = [row for row in rows if self._is_inside(dict(zip(names, row, strict=True)))]
            in_transaction(self.new, lambda kept=kept: self.new.executemany(insert, kept))  # type: ignore[misc]
            copied += len(kept)
        return copied

    def _is_inside(self, row: dict[str, object]) -> bool:
        """Whether a row does not name a file outside of the archive."""
        try:
            return row.get("path") is None or bool(path_of_row(self.new, str(row["path"])))
        except CatalogError:
            return False

    def _rows(
        self, old: sqlite3.Connection, table: str, names: list[str]
    ) -> Iterator[list[tuple[object, ...]]]:
        """Batches of rows, up to the first page that is torn."""
        query = f"SELECT {', '.join(names)} FROM {table}"  # noqa: S608 - tables of ours
        try:
            cursor = old.execute(query)
            while rows := cursor.fetchmany(_BATCH):
                yield rows
        except sqlite3.Error:
            self._torn = True

    # ---------------------------------------------------------------- what lies beside

    def _settings(self) -> None:
        beside = load_settings(self.folder).hash_key
        self.key = known_hash_key(self.new)
        if self.key is None and beside is not None:
            self.key = in_transaction(self.new, lambda: hash_key(self.new, beside))
        in_transaction(self.new, self._marks)

    def _marks(self) -> None:
        """Resume from what the old catalog's runs have seen, if it still knows what they left."""
        if self._torn:
            self.new.execute("UPDATE runs SET complete = 0, covered_until = NULL")
        seen = "SELECT 1 FROM runs WHERE covered_until IS NOT NULL LIMIT 1"
        if self.new.execute(seen).fetchone() is None:
            restore_marks(self.new, self.folder)

    def _write_each(self, items: Iterable[T], take: Callable[[list[T]], None]) -> None:
        waiting = iter(items)
        while batch := list(itertools.islice(waiting, _BATCH)):
            in_transaction(self.new, lambda batch=batch: take(batch))  # type: ignore[misc]

    def _take_indexed(self, rows: list[Indexed]) -> None:
        for row in rows:
            if isinstance(row, IndexedCall):
                self._store_call(row.call, row.last_seen)
            elif not self._is_taken(row):
                if isinstance(row, RecordingRow):
                    store_recordings(self.new, [row])
                elif size_of(self.folder, row.path) == row.size:
                    store_sidecars(self.new, [row])

    def _store_call(self, call: Call, seen: datetime) -> None:
        """Take in a call that the old catalog does not know."""
        query = "SELECT 1 FROM calls WHERE id = ?"
        if self.new.execute(query, (id_to_text(call.id),)).fetchone() is None:
            store_calls(self.new, [(call, raw_text(call.raw))], seen)

    def _is_taken(self, row: RecordingRow | SidecarRow) -> bool:
        """Whether the old catalog knows it, or has another file at its place."""
        if isinstance(row, RecordingRow):
            query = "SELECT 1 FROM recordings WHERE (call_id = ? AND version = ?) OR path = ?"
            values: tuple[object, ...] = (id_to_text(row.call_id), row.version, str(row.path))
        else:
            query = "SELECT 1 FROM sidecars WHERE (call_id = ? AND kind = ?) OR path = ?"
            values = (id_to_text(row.call_id), row.kind, str(row.path))
        return self.new.execute(query, values).fetchone() is not None

    def _json_of_calls(self) -> Iterator[tuple[Call, SidecarRow]]:
        """Calls whose JSON lies in the archive, under a name that is theirs."""
        for path in files_below(self.folder, (".json",)):
            if _TRANSCRIPT.fullmatch(path.name) and not path.name.endswith(".call.json"):
                continue
            data = _read(self.folder / path)
            call = None if data is None else _call(data)
            if data is not None and call is not None and self._is_theirs(path, call):
                yield call, self._sidecar(call.id, METADATA, path, data)

    def _sidecar(self, call_id: str, kind: str, path: PurePosixPath, data: bytes) -> SidecarRow:
        return SidecarRow(call_id, kind, path, len(data), sha256_of(data), self.now)

    def _is_theirs(self, path: PurePosixPath, call: Call) -> bool:
        """Whether a JSON file of a call is one that we have written beside its recording."""
        stem = path.name.removesuffix(".json").removesuffix(".call")
        if any(name in stem for name in self._names(call.id)):
            return True
        places = (path.parent / f"{stem}{ending}" for ending in ALL_EXTENSIONS)
        return any(size_of(self.folder, place) is not None for place in places)

    def _take_call(self, found: list[tuple[Call, SidecarRow]]) -> None:
        for call, sidecar in found:
            if not self.tombstones.covers(call.id):
                self._store_call(call, self.now)
                self._take_sidecars([sidecar])

    def _name_all(self) -> None:
        """Remember what stands for each known call in names."""
        ids = self.new.execute("SELECT id FROM calls UNION SELECT call_id FROM recordings")
        texts = [str(text) for (text,) in ids]

        def write() -> None:
            for text in texts:
                names = [(name, text) for name in self._names(id_from_text(text))]
                self.new.executemany("INSERT OR IGNORE INTO named VALUES (?, ?)", names)

        in_transaction(self.new, write)

    def _names(self, call_id: str) -> list[str]:
        plain = [safe_component(call_id)]
        return plain if self.key is None else [*plain, hashed_id(call_id, self.key)]

    def _transcripts(self) -> Iterator[SidecarRow]:
        for path in files_below(self.folder, (".json", ".txt")):
            match = _TRANSCRIPT.fullmatch(path.name)
            if match is None:
                continue
            call_id = self._call_named(match[1])
            data = None if call_id is None else _read(self.folder / path)
            if call_id is not None and data is not None:
                kind = TRANSCRIPT if match[2] == "json" else TRANSCRIPT_TEXT
                yield self._sidecar(call_id, kind, path, data)

    def _take_sidecars(self, rows: list[SidecarRow]) -> None:
        store_sidecars(self.new, [row for row in rows if not self._is_taken(row)])


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    """The columns of a table; none if there is no such table, or nothing can be read."""
    try:
        return [str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")]
    except sqlite3.Error:
        return []


def _read(path: Path) -> bytes | None:
    """A file's bytes; None if it is too large to be one of ours."""
    with destination_errors(path):
        if os.lstat(path).st_size > _LARGEST_JSON:
            return None
        return path.read_bytes()


def _call(data: bytes) -> Call | None:
    try:
        return Call.from_json(json.loads(data))
    except (ValueError, TypeError, ValidationError, RecursionError):
        return None
