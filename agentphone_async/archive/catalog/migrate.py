"""From any older catalog to the current one, or reading an older one as it is.

Each step is all or nothing: it and its record share one transaction (a habit of sqlite-utils), so
that a crash leaves the catalog before or after a step, never inside. A catalog that is newer than
this program is refused: guessing what its columns mean could claim recordings that are not there.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

from agentphone_async.archive.catalog import schema
from agentphone_async.archive.catalog.rows import stamp
from agentphone_async.errors import CatalogError


def version_of(connection: sqlite3.Connection) -> int:
    """The schema that a catalog has; 0 for an empty one."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def refuse_newer(version: int, path: str) -> None:
    """Stop before touching what we do not understand.

    Raises:
        CatalogError: the catalog was written by a later version of this program.
    """
    if version > len(schema.MIGRATIONS):
        raise CatalogError(
            f"{path} has schema {version}, and this version of agentphone-async knows "
            f"{len(schema.MIGRATIONS)} at most; update agentphone-async",
            filename=path,
        )


_MISSING = {
    "recordings": (1, "SELECT *, NULL AS disputed, NULL AS ask_after FROM main.recordings"),
    "runs": (1, "SELECT *, NULL AS scope, 'full' AS listing FROM main.runs"),
    "pending": (1, "SELECT * FROM main.owed"),
    "listed": (1, "SELECT 0 AS hash WHERE 0"),
}
"""What a catalog of an older version lacks, and what stands for it while it is only read."""


def read_older(connection: sqlite3.Connection, path: str) -> None:
    """Let a catalog of an older version be read as if it were of this one; changes nothing in it.

    Raises:
        CatalogError: it is newer than we are.
    """
    version = version_of(connection)
    refuse_newer(version, path)
    if version == len(schema.MIGRATIONS):
        return
    newest = sqlite3.connect(":memory:", isolation_level=None)
    try:
        migrate(newest, ":memory:")
        wanted = dict(
            newest.execute(
                "SELECT name, sql FROM sqlite_master WHERE type IN ('table', 'view')"
            ).fetchall()
        )
    finally:
        newest.close()
    there = {name for (name,) in connection.execute("SELECT name FROM main.sqlite_master")}
    for name, sql in wanted.items():
        last, query = _MISSING.get(name, (0, ""))
        if version <= last:
            connection.execute(f"CREATE TEMP VIEW {name} AS {query}")
        elif name not in there:
            connection.execute(sql.replace("CREATE ", "CREATE TEMP ", 1))


def migrate(connection: sqlite3.Connection, path: str) -> int:
    """Bring a catalog up to date and return how many steps that took.

    Two processes may do it at once: the second waits for the first, and finds nothing to do.

    Raises:
        CatalogError: it is newer than we are.
        sqlite3.Error: as it comes; nothing of the failed step remains.
    """
    refuse_newer(version_of(connection), path)
    taken = 0
    while version_of(connection) < len(schema.MIGRATIONS):
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = version_of(connection)
            if version < len(schema.MIGRATIONS):
                _apply(connection, version + 1)
                taken += 1
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    return taken


def _apply(connection: sqlite3.Connection, version: int) -> None:
    migration = schema.MIGRATIONS[version - 1]
    if version == 1:
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        connection.execute(
            "CREATE TABLE migrations "
            "(version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied TEXT NOT NULL)"
        )
    for statement in migration.statements:
        connection.execute(statement)
    connection.execute(
        "INSERT INTO migrations VALUES (?, ?, ?)",
        (version, migration.name, stamp(datetime.now(UTC))),
    )
    connection.execute(f"PRAGMA user_version = {version}")
