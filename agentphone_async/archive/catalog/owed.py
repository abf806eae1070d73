"""What a call still lacks besides its recording, so that later runs ask for it whatever their days.

For `Catalog.read` and `Catalog.write`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime

from agentphone_async.archive.catalog.rows import id_from_text, id_to_text, stamp


def owing(connection: sqlite3.Connection, ids: Sequence[str]) -> set[str]:
    """Those of some calls, at most a few hundred, that lack something."""
    marks = ",".join("?" * len(ids))
    rows = connection.execute(
        f"SELECT DISTINCT call_id FROM owed WHERE call_id IN ({marks})",  # noqa: S608 - marks only
        [id_to_text(call_id) for call_id in ids],
    )
    return {id_from_text(text) for (text,) in rows}


def note_owed(
    connection: sqlite3.Connection,
    kind: str,
    now: datetime,
    *,
    owed: Iterable[str],
    paid: Iterable[str],
) -> None:
    """Note which calls lack a file of a kind, and which do not any more (needs `Catalog.write`)."""
    connection.executemany(
        "INSERT OR IGNORE INTO owed (call_id, kind, since) VALUES (?, ?, ?)",
        [(id_to_text(call_id), kind, stamp(now)) for call_id in owed],
    )
    connection.executemany(
        "DELETE FROM owed WHERE call_id = ? AND kind = ?",
        [(id_to_text(call_id), kind) for call_id in paid],
    )
