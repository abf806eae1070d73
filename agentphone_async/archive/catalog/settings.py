"""Settings that an archive keeps in its catalog."""

from __future__ import annotations

import secrets
import sqlite3


def get_setting(connection: sqlite3.Connection, name: str) -> str | None:
    """A setting of the catalog as text; None if it was never set."""
    row = connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def set_setting(connection: sqlite3.Connection, name: str, value: str) -> None:
    """Keep a setting in the catalog (needs `Catalog.transaction`)."""
    connection.execute(
        "INSERT INTO settings (name, value) VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def hash_key(connection: sqlite3.Connection, known: bytes | None = None) -> bytes:
    """The key that file names are hashed with; made at first use (needs `Catalog.transaction`).

    ``known`` is one that was kept elsewhere.
    """
    connection.execute(
        "INSERT OR IGNORE INTO settings (name, value) VALUES ('hash_key', ?)",
        (known or secrets.token_bytes(32),),
    )
    (key,) = connection.execute("SELECT value FROM settings WHERE name = 'hash_key'").fetchone()
    return bytes(key)


def known_hash_key(connection: sqlite3.Connection) -> bytes | None:
    """The same, if it was ever used here."""
    row = connection.execute("SELECT value FROM settings WHERE name = 'hash_key'").fetchone()
    return None if row is None else bytes(row[0])
