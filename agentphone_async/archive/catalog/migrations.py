"""From any older catalog to the current one, step by step, each step all or nothing.

A step and its record share one transaction (a habit of sqlite-utils), so that a crash leaves the
catalog before or after a step, never inside. A catalog that is newer than this program is refused:
guessing what its columns mean could claim recordings that are not there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from agentphone_async.archive.catalog.rows import stamp
from agentphone_async.archive.catalog.schema import APPLICATION_ID, FIRST
from agentphone_async.errors import CatalogError


@dataclass(frozen=True, slots=True)
class Migration:
    """One step; its version is its place in the list, counted from 1."""

    name: str
    statements: Sequence[str]


MIGRATIONS: tuple[Migration, ...] = (Migration("first", FIRST),)


def version_of(connection: sqlite3.Connection) -> int:
    """The schema that a catalog has; 0 for an empty one."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def refuse_newer(version: int, path: str) -> None:
    """Stop before touching what we do not understand.

    Raises:
        CatalogError: the catalog was written by a later version of this program.
    """
    if version > len(MIGRATIONS):
        raise CatalogError(
            f"{path} has schema {version}, and this version of agentphone-async knows "
            f"{len(MIGRATIONS)} at most; update agentphone-async",
            filename=path,
        )


def migrate(connection: sqlite3.Connection, path: str) -> int:
    """Bring a catalog up to date and return how many steps that took.

    Two processes may do it at once: the second waits for the first, and finds nothing to do.

    Raises:
        CatalogError: it is newer than we are.
        sqlite3.Error: as it comes; nothing of the failed step remains.
    """
    refuse_newer(version_of(connection), path)
    taken = 0
    while version_of(connection) < len(MIGRATIONS):
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = version_of(connection)
            if version < len(MIGRATIONS):
                _apply(connection, version + 1)
                taken += 1
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    return taken


def _apply(connection: sqlite3.Connection, version: int) -> None:
    migration = MIGRATIONS[version - 1]
    if version == 1:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
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
