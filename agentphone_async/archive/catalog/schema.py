"""The tables of the catalog, as the first migration makes them."""

from __future__ import annotations

APPLICATION_ID = int.from_bytes(b"APac", "big")
"""In the file's header (sqlite.org/fileformat2.html, offset 68): how we know a file of ours."""

FILE_NAME = "catalog.sqlite3"
"""In the archive's folder."""

FIRST = (
    """
    CREATE TABLE calls (
        id         TEXT NOT NULL PRIMARY KEY, -- as in rows.id_to_text
        raw        TEXT NOT NULL,             -- the call's JSON, as the API gave it last
        started    TEXT,                      -- UTC, ISO 8601 with microseconds and Z; so are all
        ended      TEXT,                      -- moments here, and they sort as text
        status     TEXT,
        direction  TEXT,
        duration   REAL,                      -- seconds
        first_seen TEXT NOT NULL,
        last_seen  TEXT NOT NULL              -- renewed once in a week while nothing changes
    )
    """,
    "CREATE INDEX calls_started ON calls (started)",
    """
    CREATE TABLE recordings (
        call_id     TEXT NOT NULL,
        version     INTEGER NOT NULL,  -- from 1; the highest is the current one
        state       TEXT NOT NULL CHECK (state IN
                    ('archived', 'not_ready', 'no_recording', 'failed', 'suspect')),
        path        TEXT,              -- relative to the archive, with slashes
        size        INTEGER,           -- bytes
        sha256      TEXT,
        media_type  TEXT,
        sample_rate INTEGER,
        channels    INTEGER,
        duration    REAL,              -- seconds of audio
        etag        TEXT,
        attempts    INTEGER NOT NULL,  -- requests so far, all runs together
        created     TEXT NOT NULL,
        updated     TEXT NOT NULL,
        last_error  TEXT,              -- of a suspect recording: why
        run         INTEGER,           -- that settled it last
        PRIMARY KEY (call_id, version)
    ) WITHOUT ROWID
    """,
    "CREATE UNIQUE INDEX recordings_path ON recordings (path) WHERE path IS NOT NULL",
    """
    CREATE INDEX recordings_open ON recordings (state, run)
    WHERE state IN ('not_ready', 'failed')
    """,
    """
    CREATE TABLE sidecars (
        call_id TEXT NOT NULL,
        kind    TEXT NOT NULL,         -- metadata, transcript, transcript_text
        path    TEXT NOT NULL UNIQUE,  -- relative to the archive, with slashes
        size    INTEGER NOT NULL,
        sha256  TEXT NOT NULL,
        updated TEXT NOT NULL,
        PRIMARY KEY (call_id, kind)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE owed (
        call_id TEXT NOT NULL,
        kind    TEXT NOT NULL,         -- of a sidecar that failed, or was not there yet
        since   TEXT NOT NULL,
        PRIMARY KEY (call_id, kind)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE runs (
        id            INTEGER PRIMARY KEY,
        started       TEXT NOT NULL,
        finished      TEXT,            -- NULL: it goes on, or died
        since         TEXT,
        until         TEXT,
        status        TEXT,
        direction     TEXT,
        complete      INTEGER NOT NULL DEFAULT 0,
        covered_until TEXT,            -- of a complete run: --since last goes on from here
        stop_reason   TEXT,
        counts        TEXT             -- JSON
    )
    """,
    """
    CREATE TABLE run_folders (
        run    INTEGER NOT NULL,
        folder TEXT NOT NULL,          -- may hold partial files until the run has finished
        PRIMARY KEY (run, folder)
    ) WITHOUT ROWID
    """,
    "CREATE TABLE settings (name TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
)
