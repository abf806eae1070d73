"""The index of `serve`: calls in columns that can be filtered, and words that can be searched.

One SQLite file, made from the catalog and the files beside recordings; it may be deleted at any
time. Full-text search is SQLite's FTS5, or LIKE where SQLite was built without it.

Calls are numbered by the moments at which they began. So whatever is asked for, the newest that
match are found by going through one list from its end, and the search stops at a full page.

Blocking. What reads and what writes use a connection each, for one thread each.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agentphone_async.archive.catalog.database import in_transaction
from agentphone_async.sinks.disk import FILE_MODE
from agentphone_async.web.words import (
    escaped,
    is_number,
    match_of,
    pattern_of,
    snippet,
    words_of,
)

FILE_NAME = "search.sqlite3"
"""In the archive's folder, if that can be written."""

APPLICATION_ID = int.from_bytes(b"APsx", "big")
VERSION = 3
PAGE = 100

_PREFIXES = "2 3 4 5"
"""Lengths of beginnings of words that have an index of their own: a common one is found as fast as
a word. Longer ones are those of few words."""

_LAST_NUMBER = 9 * 10**15
"""What JavaScript still counts exactly (2**53)."""

_FIRST_DATED = 10**14
"""Numbers below this, which is in 1973, are of calls without a known beginning."""

_MOST_SEARCHED = 100_000

_TABLES = """
CREATE TABLE calls (
    id         INTEGER PRIMARY KEY,   -- what the page calls it: microseconds since 1970, about
    call_id    TEXT NOT NULL UNIQUE,
    started    TEXT NOT NULL,         -- as in the catalog; '' where unknown
    direction  TEXT, from_number TEXT, to_number TEXT,
    status     TEXT, state TEXT, seconds REAL,
    path       TEXT, media_type TEXT,
    transcript TEXT, event TEXT,      -- paths
    wanted     TEXT NOT NULL,         -- SHA-256 of both
    indexed    TEXT,                  -- the same, of what is in the index
    summary    TEXT, sentiment TEXT, successful INTEGER
);
CREATE INDEX calls_filters ON calls
    (started, id, direction, state, seconds, from_number, to_number);
CREATE INDEX calls_to_index ON calls (id) WHERE indexed IS NOT wanted;
CREATE TABLE settings (name TEXT NOT NULL PRIMARY KEY, value TEXT) WITHOUT ROWID
"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COLUMNS = (
    "call_id", "started", "direction", "from_number", "to_number", "status", "state", "seconds",
    "path", "media_type", "transcript", "event", "wanted",
)  # fmt: skip
_NAMES = (
    "id", "started", "direction", "from_number", "to_number", "status", "state", "seconds",
    "summary", "sentiment", "successful", "has_audio",
)  # fmt: skip
_SHOWN = ", ".join(
    {
        "has_audio": "path IS NOT NULL",
        "summary": "substr(summary, 1, 300)",
        **{name: f"substr({name}, 1, 80)" for name in ("from_number", "to_number", "sentiment")},
    }.get(name, name)
    for name in _NAMES
)
"""A page of calls stays small, whatever somebody has put into one."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for; None is anything.

    Attributes:
        text: words that were said, all of them; or digits of a number.
        since, until: moments as the catalog writes them; ``until`` is not included.
        number: digits that are in either number.
        least, most: seconds.
        before: ``(started, id)`` of the last call on the page before.
    """

    text: str | None = None
    since: str | None = None
    until: str | None = None
    number: str | None = None
    direction: str | None = None
    state: str | None = None
    least: float | None = None
    most: float | None = None
    before: tuple[str, int] | None = None


class Index:
    """An open index; to be closed.

    Args:
        path: the file; one that is not an index of this version is replaced.
        full_text: False does without FTS5.

    Attributes:
        full_text: whether FTS5 is used.
    """

    def __init__(self, path: Path, *, full_text: bool = True) -> None:
        self.path = path
        self._connection = _open(path)
        self.full_text = full_text and _has_fts5(self._connection)
        wanted = f"{APPLICATION_ID}.{VERSION}.{self.full_text}"
        if self.setting("made") != wanted:
            self._recreate()
            self.keep_setting("made", wanted)
        self._reader = _open(path)

    def close(self) -> None:
        """Fine also twice."""
        self._reader.close()
        self._connection.close()

    def setting(self, name: str) -> str | None:
        """A setting; None if it was never set."""
        with suppress(sqlite3.OperationalError):
            row = self._connection.execute(
                "SELECT value FROM settings WHERE name = ?", (name,)
            ).fetchone()
            return None if row is None else row[0]
        return None

    def keep_setting(self, name: str, value: str) -> None:
        """Keep a setting."""
        self._connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))

    # ---------------------------------------------------------------- writing

    def store(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Calls that are new or have changed."""
        columns = ("id", *_COLUMNS)
        names, values = ", ".join(columns), ", ".join(f":{name}" for name in columns)
        updates = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[1:])
        put = (
            f"INSERT INTO calls ({names}) VALUES ({values}) "  # noqa: S608 - ours
            f"ON CONFLICT (call_id) DO UPDATE SET {updates}"
        )

        def store() -> None:
            for row in rows:
                self._connection.execute(put, {**row, "id": self._number_of(row)})

        in_transaction(self._connection, store)

    def _number_of(self, row: Mapping[str, Any]) -> int:
        """The call's number: it has one, or gets one by its beginning."""
        known = self._connection.execute(
            "SELECT id, started FROM calls WHERE call_id = ?", (row["call_id"],)
        ).fetchone()
        if known is not None:
            if known[1] == row["started"]:
                return int(known[0])
            self._remove([(known[0],)])  # it began at another moment than was thought
        number = _number_by(row["started"])
        end = number + 1_000_000 if number >= _FIRST_DATED else _FIRST_DATED
        taken = "SELECT 1 FROM calls WHERE id = ?"
        if self._connection.execute(taken, (number,)).fetchone() is not None:
            (number,) = self._connection.execute(
                "SELECT max(id) + 1 FROM calls WHERE id < ?", (end,)
            ).fetchone()
        return number

    def keep_only(self, call_ids: set[str]) -> int:
        """Forget all other calls; how many there were."""
        known = self._connection.execute("SELECT id, call_id FROM calls")
        gone = [(row_id,) for row_id, call_id in known if call_id not in call_ids]
        if gone:
            in_transaction(self._connection, lambda: self._remove(gone))
        return len(gone)

    def _remove(self, gone: Sequence[tuple[int]]) -> None:
        self._connection.executemany("DELETE FROM words WHERE rowid = ?", gone)
        self._connection.executemany("DELETE FROM calls WHERE id = ?", gone)

    def to_index(self, most: int) -> list[tuple[int, str | None, str | None, str]]:
        """Calls whose words are to be read: id, paths of transcript and event, their sums."""
        return self._connection.execute(
            "SELECT id, transcript, event, wanted FROM calls WHERE indexed IS NOT wanted "
            "ORDER BY id DESC LIMIT ?",
            (most,),
        ).fetchall()

    def put_words(self, texts: Sequence[Text]) -> None:
        """What was said in calls."""

        def put() -> None:
            ids = [(text.id,) for text in texts]
            self._connection.executemany("DELETE FROM words WHERE rowid = ?", ids)
            self._connection.executemany(
                "INSERT INTO words (rowid, said, summary) VALUES (?, ?, ?)",
                [(text.id, text.said, text.summary or "") for text in texts if text.has_words],
            )
            self._connection.executemany(
                "UPDATE calls SET indexed = ?, summary = ?, sentiment = ?, successful = ? "
                "WHERE id = ?",
                [(t.wanted, t.summary, t.sentiment, t.successful, t.id) for t in texts],
            )

        in_transaction(self._connection, put)

    # ---------------------------------------------------------------- reading

    def count(self) -> tuple[int, int]:
        """How many calls there are, and of how many the words are still to be read."""
        (calls,) = self._reader.execute("SELECT count(*) FROM calls").fetchone()
        (left,) = self._reader.execute(
            "SELECT count(*) FROM calls WHERE indexed IS NOT wanted"
        ).fetchone()
        return calls, left

    def find(self, query: Query, most: int = PAGE) -> list[dict[str, Any]]:
        """The newest calls that match; with words, each with a snippet."""
        words = words_of(query.text)
        where, values = _conditions(query)
        if words:
            matching, values = self._matching(words, where, values, query.before)
        else:
            if query.before is not None:
                where, values = [*where, "(started, id) < (?, ?)"], [*values, *query.before]
            # Nothing is needed but the index of filters.
            matching = f"SELECT id FROM calls {_where(where)} ORDER BY started DESC, id DESC"  # noqa: S608
        rows = self._reader.execute(
            f"SELECT {_SHOWN} FROM calls "  # noqa: S608 - ours
            f"WHERE id IN ({matching} LIMIT {most}) ORDER BY started DESC, id DESC",
            values,
        )
        calls = [dict(zip(_NAMES, row, strict=True)) for row in rows]
        if words:
            texts, pattern = self._texts([call["id"] for call in calls]), pattern_of(words)
            for call in calls:
                call["snippet"] = snippet(texts.get(call["id"], ""), pattern)
        return calls

    def _matching(
        self,
        words: Sequence[str],
        where: Sequence[str],
        values: Sequence[Any],
        before: tuple[str, int] | None,
    ) -> tuple[str, list[Any]]:
        """The query for the numbers of calls in which words were said, the newest first."""
        conditions, found = ["words MATCH ?"], list[Any]([match_of(words)])
        if not self.full_text:
            conditions = [r"said || ' ' || words.summary LIKE ? ESCAPE '\'"] * len(words)
            found = [f"%{escaped(word)}%" for word in words]
        if before is not None:
            conditions.append("words.rowid < ?")
            found.append(before[1])
        if where:  # the plus: go through words, and not look for them in each call that is left
            conditions.append(f"+words.rowid IN (SELECT id FROM calls {_where(where)})")  # noqa: S608
        query = f"SELECT words.rowid FROM words {_where(conditions)} ORDER BY words.rowid DESC"  # noqa: S608
        return query, [*found, *values]

    def _texts(self, ids: Sequence[int]) -> dict[int, str]:
        rows = self._reader.execute(
            "SELECT rowid, said || ' ' || summary FROM words "
            "WHERE rowid IN (SELECT value FROM json_each(?))",
            (json.dumps(list(ids)),),
        )
        return {row_id: text[:_MOST_SEARCHED] for row_id, text in rows}

    def one(self, row_id: int) -> dict[str, Any] | None:
        """Everything about a call; None if there is none of that number."""
        names = ("id", *_COLUMNS, "summary", "sentiment", "successful")
        row = self._reader.execute(
            f"SELECT {', '.join(names)} FROM calls WHERE id = ?",  # noqa: S608 - ours
            (row_id,),
        ).fetchone()
        return None if row is None else dict(zip(names, row, strict=True))

    # ---------------------------------------------------------------- inside

    def _recreate(self) -> None:
        self._connection.close()
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        self._connection = _open(self.path)
        for statement in _TABLES.split(";\n"):
            self._connection.execute(statement)
        if self.full_text:
            self._connection.execute(
                "CREATE VIRTUAL TABLE words USING fts5 "
                "(said, summary, tokenize = 'unicode61 remove_diacritics 2', "
                f"prefix = '{_PREFIXES}')"
            )
        else:
            self._connection.execute("CREATE TABLE words (said TEXT, summary TEXT)")


@dataclass(frozen=True, slots=True)
class Text:
    """What was said in a call, and what its event told."""

    id: int
    wanted: str
    said: str = ""
    summary: str | None = None
    sentiment: str | None = None
    successful: bool | None = None

    @property
    def has_words(self) -> bool:
        """Whether there is anything to find."""
        return bool(self.said or self.summary)


def _open(path: Path) -> sqlite3.Connection:
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE_MODE))
    connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError:  # no shared memory maps here
        pass
    except sqlite3.DatabaseError:  # not a database: made again
        connection.close()
        path.unlink()
        return _open(path)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA cache_size = -32000")
    return connection


def _has_fts5(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("CREATE VIRTUAL TABLE temp.probe USING fts5 (x)")
        connection.execute("DROP TABLE temp.probe")
    except sqlite3.OperationalError:
        return False
    return True


def _number_by(started: str) -> int:
    """Microseconds since 1970; 1 where that is unknown."""
    try:
        moment = datetime.fromisoformat(started)
    except ValueError:
        return 1
    number = (moment - _EPOCH) // timedelta(microseconds=1)
    return min(number, _LAST_NUMBER) if number >= _FIRST_DATED else 1


def _where(conditions: Sequence[str]) -> str:
    return f"WHERE {' AND '.join(conditions)}" if conditions else ""


def _conditions(query: Query) -> tuple[list[str], list[Any]]:
    number = query.number or (query.text if is_number(query.text) else None)
    digits = re.sub(r"\D", "", number or "")
    like = f"%{digits}%"
    table: list[tuple[bool, str, list[Any]]] = [
        (query.since is not None, "started >= ?", [query.since]),
        (query.until is not None, "started <> '' AND started < ?", [query.until]),
        (bool(digits), "(from_number LIKE ? OR to_number LIKE ?)", [like, like]),
        (query.direction is not None, "direction = ?", [query.direction]),
        (query.state is not None, "state = ?", [query.state]),
        (query.least is not None, "seconds >= ?", [query.least]),
        (query.most is not None, "seconds <= ?", [query.most]),
    ]
    used = [(condition, values) for wanted, condition, values in table if wanted]
    return [condition for condition, _ in used], [value for _, values in used for value in values]
