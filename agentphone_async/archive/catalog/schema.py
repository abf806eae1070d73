"""The tables of the catalog, as the steps that make them from those of each older version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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

SECOND = (
    "ALTER TABLE recordings RENAME TO old_recordings",
    "ALTER TABLE sidecars RENAME TO old_sidecars",
    "ALTER TABLE runs RENAME TO old_runs",
    "ALTER TABLE run_folders RENAME TO old_run_folders",
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
        covered_until TEXT,            -- of a complete run: --since last resumes from here
        stop_reason   TEXT,
        counts        TEXT,            -- JSON
        scope         TEXT,            -- keyed hash of account and base URL
        listing       TEXT CHECK (listing IN ('full', 'recent')) -- all pages, or the newest
    )
    """,
    """
    CREATE TABLE recordings (
        call_id     TEXT NOT NULL REFERENCES calls (id),
        version     INTEGER NOT NULL,  -- from 1; the highest is the current one
        state       TEXT NOT NULL CHECK (state IN
                    ('archived', 'not_ready', 'no_recording', 'failed', 'suspect', 'empty',
                     'disputed', 'erased')),
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
        run         INTEGER REFERENCES runs (id) ON DELETE SET NULL, -- that settled it last
        disputed    TEXT,              -- since when the server contradicts the list of calls
        ask_after   TEXT,              -- of a disputed recording: not asked for before
        PRIMARY KEY (call_id, version)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE sidecars (
        call_id TEXT NOT NULL REFERENCES calls (id),
        kind    TEXT NOT NULL,         -- metadata, transcript, transcript_text
        path    TEXT NOT NULL UNIQUE,  -- relative to the archive, with slashes
        size    INTEGER NOT NULL,
        sha256  TEXT NOT NULL,
        updated TEXT NOT NULL,
        PRIMARY KEY (call_id, kind)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE pending (
        call_id TEXT NOT NULL REFERENCES calls (id),
        kind    TEXT NOT NULL,         -- of a sidecar that failed, or was not there yet
        since   TEXT NOT NULL,
        PRIMARY KEY (call_id, kind)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE run_folders (
        run    INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        folder TEXT NOT NULL,          -- may hold partial files until the run has finished
        PRIMARY KEY (run, folder)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE listed (
        hash INTEGER PRIMARY KEY       -- of the id of a call that was listed and not asked for
    )
    """,
    # Recordings whose calls nobody knows, from a rebuild: they get calls of which only the id is
    # known.
    """
    INSERT OR IGNORE INTO calls (id, raw, first_seen, last_seen)
    SELECT call_id, json_object('id', call_id), min(created), min(created)
    FROM old_recordings GROUP BY call_id
    """,
    """
    INSERT OR IGNORE INTO calls (id, raw, first_seen, last_seen)
    SELECT call_id, json_object('id', call_id), since, since
    FROM (SELECT call_id, updated AS since FROM old_sidecars
          UNION ALL SELECT call_id, since FROM owed)
    """,
    """
    INSERT INTO runs (id, started, finished, since, until, status, direction, complete,
                      covered_until, stop_reason, counts, listing)
    SELECT id, started, finished, since, until, status, direction, complete,
           covered_until, stop_reason, counts, 'full' FROM old_runs
    """,
    """
    INSERT INTO recordings (call_id, version, state, path, size, sha256, media_type, sample_rate,
                            channels, duration, etag, attempts, created, updated, last_error, run)
    SELECT call_id, version, state, path, size, sha256, media_type, sample_rate,
           channels, duration, etag, attempts, created, updated, last_error,
           (SELECT id FROM runs WHERE id = run) FROM old_recordings
    """,
    "INSERT INTO sidecars SELECT call_id, kind, path, size, sha256, updated FROM old_sidecars",
    "INSERT INTO pending SELECT call_id, kind, since FROM owed",
    """
    INSERT INTO run_folders SELECT run, folder FROM old_run_folders
    WHERE run IN (SELECT id FROM runs)
    """,
    "DROP TABLE old_recordings",
    "DROP TABLE old_sidecars",
    "DROP TABLE old_runs",
    "DROP TABLE old_run_folders",
    "DROP TABLE owed",
    "CREATE UNIQUE INDEX recordings_path ON recordings (path) WHERE path IS NOT NULL",
    """
    CREATE INDEX recordings_open ON recordings (state, run, call_id)
    WHERE state IN ('not_ready', 'failed', 'disputed')
    """,
    "CREATE INDEX recordings_updated ON recordings (updated, path) WHERE path IS NOT NULL",
    "CREATE INDEX sidecars_updated ON sidecars (updated, path)",
    """
    CREATE VIEW current_recordings AS -- one row a call: the current version of its recording
    SELECT call_id, version, state, path, size, sha256, media_type, sample_rate, channels,
           duration, etag, attempts, created, updated, last_error
    FROM recordings
    WHERE version = (SELECT max(latest.version) FROM recordings AS latest
                     WHERE latest.call_id = recordings.call_id)
    """,
    """
    CREATE VIEW archive AS -- one row a call, with what is known of its recording
    SELECT calls.id AS call_id, calls.started, calls.ended, calls.status, calls.direction,
           json_extract(calls.raw, '$.fromNumber') AS from_number,
           json_extract(calls.raw, '$.toNumber') AS to_number,
           json_extract(calls.raw, '$.agentId') AS agent_id,
           calls.duration AS call_duration,
           coalesce(recording.state, 'pending') AS state, recording.path, recording.size,
           recording.sha256, recording.media_type, recording.duration AS audio_duration,
           recording.last_error
    FROM calls LEFT JOIN recordings AS recording
      ON recording.call_id = calls.id
     AND recording.version = (SELECT max(latest.version) FROM recordings AS latest
                              WHERE latest.call_id = calls.id)
    """,
)

THIRD = (
    """
    CREATE TABLE erased (
        hash       TEXT NOT NULL PRIMARY KEY, -- of the call's id, as in erased.jsonl
        erased     TEXT NOT NULL,
        reason     TEXT NOT NULL,             -- forget, prune
        recordings INTEGER,                   -- files; NULL: not known after a lost catalog
        sidecars   INTEGER,
        others     INTEGER,                   -- bad files that were kept aside
        bytes      INTEGER
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE accepted (
        path     TEXT NOT NULL PRIMARY KEY,   -- relative to the archive
        call_id  TEXT NOT NULL,
        kind     TEXT NOT NULL,               -- of the finding that was accepted
        sha256   TEXT NOT NULL,               -- of what was there; '' if nothing was
        accepted TEXT NOT NULL
    ) WITHOUT ROWID
    """,
)

FOURTH = (
    """
    CREATE TABLE absent (
        call_id TEXT NOT NULL REFERENCES calls (id),
        kind    TEXT NOT NULL,         -- of a sidecar that did not appear in time
        since   TEXT NOT NULL,         -- when it was asked for last
        PRIMARY KEY (call_id, kind)
    ) WITHOUT ROWID
    """,
)


@dataclass(frozen=True, slots=True)
class Migration:
    """One step; its version is its place in the list, counted from 1."""

    name: str
    statements: Sequence[str]


MIGRATIONS: tuple[Migration, ...] = (
    Migration("first", FIRST),
    Migration("views, foreign keys and scopes of runs", SECOND),
    Migration("what was erased and accepted", THIRD),
    Migration("sidecars that are not waited for any more", FOURTH),
)
