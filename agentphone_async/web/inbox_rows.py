"""What the inbox asks of SQLite, in as few steps as there can be.

Each step of a statement lets go of the interpreter, and gets it back only when the event loop's
thread pauses: while many deliveries come in, that takes longer than the step. So a batch is one
statement, and a list is one row.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentphone_async.web.facts import Facts

APPLICATION_ID = int.from_bytes(b"APin", "big")
VERSION = 1

TABLES = """
CREATE TABLE events (
    call_id  TEXT NOT NULL PRIMARY KEY,
    facts    TEXT NOT NULL,             -- JSON: what only the webhook tells
    received REAL NOT NULL,             -- Unix time of the first delivery, or of the last news
    due      REAL NOT NULL,             -- Unix time before which it is not looked at
    attempts INTEGER NOT NULL DEFAULT 0,
    state    TEXT NOT NULL DEFAULT 'waiting'
             CHECK (state IN ('waiting', 'archived', 'no_recording', 'unknown'))
) WITHOUT ROWID;
CREATE INDEX events_due ON events (due) WHERE state = 'waiting';
CREATE TABLE deliveries (               -- bodies that were taken, by their SHA-256
    hash     BLOB NOT NULL PRIMARY KEY,
    received REAL NOT NULL
) WITHOUT ROWID;
"""


_TOGETHER = 500
"""Rows of one statement; SQLite takes 32,766 values."""

_LIST = (
    "SELECT json_group_array(json_array(call_id, facts, received, attempts)) FROM "
    "(SELECT * FROM events WHERE state = 'waiting' AND "
)
_THESE = "call_id IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A call whose event has come.

    Attributes:
        facts: what the event told, and nothing else does.
        received: when, in Unix time.
        attempts: how often it was looked at so far.
    """

    call_id: str
    facts: Facts
    received: float
    attempts: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event that is to be kept."""

    call_id: str
    facts: Facts
    body_hash: bytes
    now: float


def add(connection: sqlite3.Connection, deliveries: Sequence[Delivery]) -> list[bool]:
    """Keep events; which of them were news."""
    news: list[bool] = []
    for start in range(0, len(deliveries), _TOGETHER):
        news += _add(connection, deliveries[start : start + _TOGETHER])
    return news


def _add(connection: sqlite3.Connection, batch: Sequence[Delivery]) -> list[bool]:
    taken = _known_hashes(connection, batch)
    facts = _known_facts(connection, batch)
    news: list[bool] = []
    changed: dict[str, Delivery] = {}
    for each in batch:
        known = facts.get(each.call_id)
        merged = each.facts if known is None else known.merged(each.facts)
        new = each.body_hash not in taken and (
            known is None or replace(merged, happened=known.happened) != known
        )
        taken.add(each.body_hash)
        if new:
            facts[each.call_id] = merged
            changed[each.call_id] = replace(each, facts=merged)
        news.append(new)
    connection.execute(
        f"INSERT OR IGNORE INTO deliveries VALUES {_marks(2, len(batch))}",  # noqa: S608
        [value for each in batch for value in (each.body_hash, each.now)],
    )
    if changed:
        connection.execute(
            "INSERT INTO events (call_id, facts, received, due) "  # noqa: S608 - ours
            f"VALUES {_marks(4, len(changed))} "
            "ON CONFLICT (call_id) DO UPDATE SET facts = excluded.facts, due = excluded.due, "
            "received = CASE state WHEN 'waiting' THEN received ELSE excluded.received END, "
            "attempts = 0, state = 'waiting'",
            [
                value
                for each in changed.values()
                for value in (each.call_id, each.facts.as_text(), each.now, each.now)
            ],
        )
    return news


def _known_hashes(connection: sqlite3.Connection, batch: Sequence[Delivery]) -> set[bytes]:
    found = connection.execute(
        f"SELECT hash FROM deliveries WHERE hash IN {_marks(len(batch), 1)}",  # noqa: S608
        [each.body_hash for each in batch],
    )
    return {body_hash for (body_hash,) in found}


def _known_facts(connection: sqlite3.Connection, batch: Sequence[Delivery]) -> dict[str, Facts]:
    found = connection.execute(
        f"SELECT call_id, facts FROM events WHERE call_id IN {_marks(len(batch), 1)}",  # noqa: S608
        [each.call_id for each in batch],
    )
    return {call_id: Facts.from_text(text) for call_id, text in found}


def _marks(columns: int, rows: int) -> str:
    return ", ".join([f"({', '.join('?' * columns)})"] * rows)


def due(
    connection: sqlite3.Connection, now: float, most: int, besides: Collection[str]
) -> list[Waiting]:
    """Calls to be looked at, the longest due first."""
    return _list(
        connection,
        f"due <= ? AND NOT {_THESE} ORDER BY due LIMIT ?",
        (now, _json(besides), most),
    )


def of(connection: sqlite3.Connection, call_ids: Sequence[str]) -> dict[str, Waiting]:
    """Of these calls, those that wait."""
    found = _list(connection, _THESE, (_json(call_ids),))
    return {each.call_id: each for each in found}


def _list(connection: sqlite3.Connection, where: str, values: Sequence[Any]) -> list[Waiting]:
    (text,) = connection.execute(f"{_LIST}{where})", values).fetchone()
    return [
        Waiting(call_id, Facts.from_text(facts), received, attempts)
        for call_id, facts, received, attempts in json.loads(text)
    ]


def is_due(connection: sqlite3.Connection, now: float, *, fresh: bool) -> bool:
    """Whether a call is to be looked at; with ``fresh``, one that never was."""
    (found,) = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM events WHERE state = 'waiting' AND due <= ? "
        "AND attempts <= ?)",
        (now, 0 if fresh else 2**31),
    ).fetchone()
    return bool(found)


def next_due(connection: sqlite3.Connection) -> float | None:
    """When the next call is to be looked at."""
    (due,) = connection.execute("SELECT min(due) FROM events WHERE state = 'waiting'").fetchone()
    return None if due is None else float(due)


def later(connection: sqlite3.Connection, call_ids: Sequence[str], due: float) -> None:
    """Look at these calls again, not before ``due``."""
    connection.execute(
        "UPDATE events SET due = ?, attempts = attempts + 1 "  # noqa: S608 - ours
        f"WHERE state = 'waiting' AND {_THESE}",
        (due, _json(call_ids)),
    )


def done(connection: sqlite3.Connection, waiting: Sequence[Waiting], state: str) -> None:
    """These need nothing more, unless their facts have changed."""
    connection.execute(
        "UPDATE events SET state = ? WHERE (call_id, facts) IN (SELECT "
        "json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?))",
        (state, json.dumps([(each.call_id, each.facts.as_text()) for each in waiting])),
    )


def drop(connection: sqlite3.Connection, call_ids: Sequence[str]) -> int:
    """Forget these calls; how many there were."""
    connection.execute("PRAGMA secure_delete = ON")
    return connection.execute(
        f"DELETE FROM events WHERE {_THESE}",  # noqa: S608 - ours
        (_json(call_ids),),
    ).rowcount


def prune(connection: sqlite3.Connection, before: float) -> None:
    """Forget what is done, and what was taken, before."""
    connection.execute("DELETE FROM events WHERE state <> 'waiting' AND received < ?", (before,))
    connection.execute("DELETE FROM deliveries WHERE received < ?", (before,))


def waiting(connection: sqlite3.Connection) -> tuple[int, float | None]:
    """How many calls wait, and since when the oldest does."""
    count, oldest = connection.execute(
        "SELECT count(*), min(received) FROM events WHERE state = 'waiting'"
    ).fetchone()
    return int(count), None if oldest is None else float(oldest)


def _json(call_ids: Iterable[str]) -> str:
    return json.dumps(list(call_ids))
