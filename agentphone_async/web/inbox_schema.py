"""The tables of the inbox."""

from __future__ import annotations

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
