"""Settings that an archive keeps in its catalog."""

from __future__ import annotations

import hashlib
import hmac
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


def keep_erasure_key(connection: sqlite3.Connection, key: bytes) -> None:
    """Keep the key of the tombstones in the catalog, too (needs `Catalog.transaction`)."""
    connection.execute(
        "INSERT OR REPLACE INTO settings (name, value) VALUES ('erasure_key', ?)", (key,)
    )


def kept_erasure_key(connection: sqlite3.Connection) -> bytes | None:
    """The same, if anything was ever erased here."""
    row = connection.execute("SELECT value FROM settings WHERE name = 'erasure_key'").fetchone()
    return None if row is None else bytes(row[0])


def scope_key(connection: sqlite3.Connection) -> bytes:
    """The key of `scope_of`; made at first use (needs `Catalog.transaction`)."""
    connection.execute(
        "INSERT OR IGNORE INTO settings (name, value) VALUES ('scope_key', ?)",
        (secrets.token_bytes(32),),
    )
    key = known_scope_key(connection)
    if key is None:
        raise AssertionError("it was just made")
    return key


def keep_scope_key(connection: sqlite3.Connection, key: bytes) -> None:
    """Use a key that was kept elsewhere (needs `Catalog.transaction`)."""
    connection.execute(
        "INSERT OR IGNORE INTO settings (name, value) VALUES ('scope_key', ?)", (key,)
    )


def known_scope_key(connection: sqlite3.Connection) -> bytes | None:
    """The same, if there is one."""
    row = connection.execute("SELECT value FROM settings WHERE name = 'scope_key'").fetchone()
    return None if row is None else bytes(row[0])


def scope_of(key: bytes, base_url: str, api_key: str | None, sub_account: str | None) -> str:
    """Whose list of calls: a keyed hash, since an API key is nobody's business.

    Runs of other accounts, sub-accounts or base URLs say nothing about it.
    """
    parts = (base_url.rstrip("/").lower(), api_key or "", sub_account or "")
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hmac.new(key, text, hashlib.sha256).hexdigest()
