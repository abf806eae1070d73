"""The catalog's calls, in batches, and what they still lack besides their recordings.

For `Catalog.run`; what stores or notes is for `Catalog.transaction`.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from agentphone_async.archive.catalog.rows import (
    CallRow,
    call_row,
    id_from_text,
    id_to_text,
    moment_of,
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
) -> tuple[list[tuple[Call, str]], set[str], list[str]]:
    """Which of these calls are new, changed or due to be renewed; reads only.

    Returns:
        The calls to be stored, each with its JSON text; the ids of those that the catalog knew,
        with other contents; and of those that it did not know.
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
    new: list[str] = []
    for call in calls:
        raw = raw_text(stored(call))
        known = found.get(id_to_text(call.id))
        if known is None or known[0] != raw or known[1] < oldest:
            store.append((call, raw))
            if known is None:
                new.append(call.id)
            elif known[0] != raw:
                changed.add(call.id)
    return store, changed, new


def stored(call: Call) -> dict[str, Any]:
    """A call's JSON as it may be kept: an address with a signature is a key to the recording."""
    link = call.recording_url
    return call.without_tokens() if link and ("?" in link or "#" in link) else call.raw


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


def ensure_calls(connection: sqlite3.Connection, seen: Mapping[str, str]) -> None:
    """Have a row for each of these calls, of which no more is known than id and a moment.

    So it is after a rebuild, until a run lists them. The ids are as `id_to_text` writes them.
    """
    ids = list(seen)
    marks = ",".join("?" * len(ids))
    query = f"SELECT id FROM calls WHERE id IN ({marks})"  # noqa: S608 - marks only
    unknown = set(ids).difference(text for (text,) in connection.execute(query, ids))
    connection.executemany(
        "INSERT INTO calls (id, raw, first_seen, last_seen) VALUES (?, ?, ?, ?)",
        [(text, raw_text({"id": id_from_text(text)}), seen[text], seen[text]) for text in unknown],
    )


def get_calls(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, CallRow]:
    """The calls of these ids, at most a few hundred; those that are not known are missing."""
    marks = ",".join("?" * len(ids))
    query = f"SELECT {_COLUMNS} FROM calls WHERE id IN ({marks})"  # noqa: S608 - marks only
    rows = connection.execute(query, [id_to_text(call_id) for call_id in ids])
    return {row.id: row for row in map(call_row, rows)}


def raw_calls(
    connection: sqlite3.Connection, texts: Sequence[str]
) -> list[tuple[str, str, str, str]]:
    """Id, JSON and moments of these calls, at most a few hundred, as the catalog has them."""
    marks = ",".join("?" * len(texts))
    query = f"SELECT id, raw, first_seen, last_seen FROM calls WHERE id IN ({marks}) ORDER BY id"  # noqa: S608
    return connection.execute(query, texts).fetchall()


def calls_after(
    connection: sqlite3.Connection, after: str | None = None, limit: int = 1000
) -> list[CallRow]:
    """The next calls in the order of their ids; start with None, continue with the last id."""
    query = f"SELECT {_COLUMNS} FROM calls WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608
    start = "" if after is None else id_to_text(after)
    return [call_row(row) for row in connection.execute(query, (start, limit))]


def first_sights(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, datetime]:
    """When some calls, at most a few hundred, were seen first; the unknown are missing."""
    marks = ",".join("?" * len(ids))
    query = f"SELECT id, first_seen FROM calls WHERE id IN ({marks})"  # noqa: S608 - marks only
    rows = connection.execute(query, [id_to_text(call_id) for call_id in ids]) if ids else ()
    return {id_from_text(text): moment_of(seen) for text, seen in rows}


def unlisted(connection: sqlite3.Connection, ids: Sequence[str]) -> list[str]:
    """Those of some calls, at most a few hundred, that no run has met in the list so far."""
    marks = ",".join("?" * len(ids))
    texts = {id_to_text(call_id): call_id for call_id in ids}
    query = f"SELECT id FROM calls WHERE id IN ({marks})"  # noqa: S608 - marks only
    known = {text for (text,) in connection.execute(query, list(texts))}
    hashes = {_hash(text): call_id for text, call_id in texts.items() if text not in known}
    marks = ",".join("?" * len(hashes))
    query = f"SELECT hash FROM listed WHERE hash IN ({marks})"  # noqa: S608 - marks only
    met = {number for (number,) in connection.execute(query, list(hashes))}
    return [call_id for number, call_id in hashes.items() if number not in met]


def note_listed(connection: sqlite3.Connection, ids: Iterable[str]) -> None:
    """Note that calls were met in the list, without keeping them."""
    connection.executemany(
        "INSERT OR IGNORE INTO listed (hash) VALUES (?)",
        [(_hash(id_to_text(call_id)),) for call_id in ids],
    )


def _hash(text: str) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def pending_of(connection: sqlite3.Connection, ids: Sequence[str]) -> set[str]:
    """Those of some calls, at most a few hundred, that lack something."""
    marks = ",".join("?" * len(ids))
    rows = connection.execute(
        f"SELECT DISTINCT call_id FROM pending WHERE call_id IN ({marks})",  # noqa: S608 - marks only
        [id_to_text(call_id) for call_id in ids],
    )
    return {id_from_text(text) for (text,) in rows}


def absent_of(connection: sqlite3.Connection, ids: Sequence[str], kind: str) -> set[str]:
    """Those of some calls, at most a few hundred, that have no file of a kind, for good."""
    marks = ",".join("?" * len(ids))
    rows = connection.execute(
        f"SELECT call_id FROM absent WHERE kind = ? AND call_id IN ({marks})",  # noqa: S608 - marks
        [kind, *(id_to_text(call_id) for call_id in ids)],
    )
    return {id_from_text(text) for (text,) in rows}


def note_absent(
    connection: sqlite3.Connection, kind: str, now: datetime, absent: Iterable[str]
) -> None:
    """Note which calls have no file of a kind, for good: nobody asks for it again."""
    texts = [id_to_text(call_id) for call_id in absent]
    ensure_calls(connection, dict.fromkeys(texts, stamp(now)))
    connection.executemany(
        "INSERT OR REPLACE INTO absent (call_id, kind, since) VALUES (?, ?, ?)",
        [(text, kind, stamp(now)) for text in texts],
    )


def note_pending(
    connection: sqlite3.Connection,
    kind: str,
    now: datetime,
    *,
    pending: Iterable[str],
    done: Iterable[str],
) -> None:
    """Note which calls lack a file of a kind, and which do not any more."""
    pending = list(pending)
    ensure_calls(connection, {id_to_text(call_id): stamp(now) for call_id in pending})
    connection.executemany(
        "INSERT OR IGNORE INTO pending (call_id, kind, since) VALUES (?, ?, ?)",
        [(id_to_text(call_id), kind, stamp(now)) for call_id in pending],
    )
    connection.executemany(
        "DELETE FROM pending WHERE call_id = ? AND kind = ?",
        [(id_to_text(call_id), kind) for call_id in done],
    )
