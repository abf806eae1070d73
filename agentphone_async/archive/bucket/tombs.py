"""Tombstones in the bucket: which calls were erased, for every machine and before anything goes.

``_catalog/erased/<hash>`` is one empty object a call, named by the keyed hash of its id, as in an
archive in a folder. Each cache gets them first of all, and drops what it knows of such calls.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from agentphone_async.archive.catalog.rows import id_from_text
from agentphone_async.archive.settings_file import load_settings, update_settings
from agentphone_async.sinks.bucket import Bucket
from agentphone_async.sinks.bucket_errors import BucketError
from agentphone_async.sinks.disk import FILE_MODE, destination_errors
from agentphone_async.sinks.erased import ERASED_NAME, ERASED_OBJECTS, Tombstones

TOMBS = ERASED_OBJECTS

_OF_A_CALL = (
    ("accepted", "call_id"),
    ("sidecars", "call_id"),
    ("pending", "call_id"),
    ("absent", "call_id"),
    ("recordings", "call_id"),
    ("calls", "id"),
)


def fetch_tombstones(bucket: Bucket, where: Path, key: bytes) -> Tombstones:
    """Fetch the bucket's tombstones into a cache's folder, and return them all."""
    said = {head.path.rpartition("/")[2]: head.modified for head in bucket.list(TOMBS)}
    if not said:
        return Tombstones.load(where)
    if load_settings(where).erasure_key != key:
        update_settings(where, erasure_key=key)
    known = Tombstones.load(where).hashes
    lines = [
        json.dumps({"hash": one, "at": moment.isoformat(timespec="seconds")}) + "\n"
        for one, moment in sorted(said.items())
        if one not in known
    ]
    path = where / ERASED_NAME
    if lines:
        with destination_errors(path):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE)
            with os.fdopen(fd, "a", encoding="ascii") as file:
                file.writelines(lines)
    return Tombstones.load(where)


def put_tombstones(bucket: Bucket, hashes: Iterable[str]) -> None:
    """Write tombstones; those that are there already stay."""
    for one in hashes:
        bucket.create_now(f"{TOMBS}/{one}", b"", {})


def drop_erased(connection: sqlite3.Connection, bucket: Bucket, tombstones: Tombstones) -> int:
    """Drop what a manifest has brought of erased calls, objects included (no triggers are on)."""
    if not tombstones:
        return 0
    texts = [text for (text,) in connection.execute("SELECT id FROM calls")]
    covered = [text for text in texts if tombstones.covers(id_from_text(text))]
    for path in paths_of(connection, covered):
        try:
            bucket.remove(path)
        except BucketError as error:
            if not error.refused:  # who may only read: whoever erased the call does it
                raise
    forget_rows(connection, covered)
    return len(covered)


def forget_rows(connection: sqlite3.Connection, texts: Sequence[str]) -> None:
    """Delete all rows of calls, and every note that names them."""
    values = [(text,) for text in texts]
    connection.execute("PRAGMA secure_delete = ON").fetchall()
    for text in values:  # what was accepted is noted by its path, which may hold the id
        for table in ("bucket_journal", "bucket_gone"):
            connection.execute(
                f"DELETE FROM {table} WHERE tbl = 'accepted' "  # noqa: S608 - ours
                "AND k1 IN (SELECT path FROM accepted WHERE call_id = ?)",
                text,
            )
    for table, column in _OF_A_CALL:
        connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", values)  # noqa: S608
    for table in ("bucket_journal", "bucket_gone"):
        connection.executemany(f"DELETE FROM {table} WHERE k1 = ?", values)  # noqa: S608


def paths_of(connection: sqlite3.Connection, texts: Sequence[str]) -> list[str]:
    """The objects of calls: recordings in all versions, and what lies beside them."""
    paths: list[str] = []
    for text in texts:
        for table in ("recordings", "sidecars"):
            found = connection.execute(
                f"SELECT path FROM {table} WHERE call_id = ? AND path IS NOT NULL",  # noqa: S608
                (text,),
            )
            paths += [path for (path,) in found]
    return paths
