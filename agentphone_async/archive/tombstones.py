"""``erased.jsonl``: which calls were erased, told by a keyed hash, so that none of them comes back.

A tombstone is written, and on the disk, before the first file of its call goes. It says nothing of
whose call it was: the hash can be compared with an id, and not be turned back into one. The file
lies beside the catalog, so that a lost catalog brings no call back, either. Old catalogs that a
rebuild kept aside forget what was erased, too; so do free pages and logs.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path

from agentphone_async.archive.catalog.erased import TABLES
from agentphone_async.archive.catalog.opening import connected
from agentphone_async.archive.catalog.rows import id_from_text
from agentphone_async.archive.catalog.schema import FILE_NAME
from agentphone_async.archive.settings_file import erasure_key, load_settings, update_settings
from agentphone_async.errors import CatalogError
from agentphone_async.protocol.display import printable
from agentphone_async.sinks.disk import FILE_MODE, destination_errors, sync_folder, write_all
from agentphone_async.sinks.erased import ERASED_NAME, SETTINGS_NAME, Tombstones, id_hash
from agentphone_async.sinks.threads import FilePool

_FLAGS = (
    os.O_RDWR
    | os.O_APPEND
    | os.O_CREAT
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
)


def bury(folder: Path, call_ids: Iterable[str], now: datetime) -> list[str]:
    """Write tombstones, durably, for calls that have none yet; return the hashes of all.

    Raises:
        DestinationError: the file cannot be written.
    """
    known = Tombstones.load(folder).hashes  # which complains if the key is gone that made them
    key = erasure_key(folder)
    hashes = [id_hash(call_id, key) for call_id in call_ids]
    _note(folder, [one for one in dict.fromkeys(hashes) if one not in known], now)
    return hashes


def restore(folder: Path, hashes: Collection[str], key: bytes | None, now: datetime) -> None:
    """Write again what a catalog knows of tombstones, and the files beside it do not (any more).

    Args:
        folder: the archive.
        hashes: that the catalog has.
        key: which made them; None if it does not say.
        now: the wall clock.

    Raises:
        CatalogError: the key is gone from everywhere.
        DestinationError: a file cannot be written.
    """
    if not hashes:
        return
    if key is not None and load_settings(folder).erasure_key is None:
        update_settings(folder, erasure_key=key)
    if load_settings(folder).erasure_key is None:
        shown = printable(os.fspath(folder / SETTINGS_NAME), 300)
        raise CatalogError(
            f"{shown}, which has the key of {len(hashes)} erased calls, is gone; restore it from "
            "a backup before going on",
            filename=os.fspath(folder / SETTINGS_NAME),
        )
    _note(folder, sorted(set(hashes) - set(Tombstones.load(folder).hashes)), now)


def _note(folder: Path, hashes: Sequence[str], now: datetime) -> None:
    if hashes:
        at = now.isoformat(timespec="seconds")
        lines = [json.dumps({"hash": one, "at": at}) + "\n" for one in hashes]
        _append(folder / ERASED_NAME, "".join(lines).encode("ascii"))


def is_erased(folder: str | Path, call_id: str) -> bool:
    """Whether a call was erased from the archive in a folder; it must not be written there."""
    return Tombstones.load(Path(folder)).covers(call_id)


def _append(path: Path, text: bytes) -> None:
    with destination_errors(path):
        fd = os.open(path, _FLAGS, FILE_MODE)
        try:
            size = os.fstat(fd).st_size
            torn = size and os.pread(fd, 1, size - 1) != b"\n"  # a kill, or a full disk
            write_all(fd, [b"\n", text] if torn else [text])
            os.fsync(fd)
        finally:
            os.close(fd)
        sync_folder(path.parent)


def scrub_old(folder: Path) -> None:
    """Let catalogs that a rebuild kept aside forget what was erased since."""
    tombstones = Tombstones.load(folder)
    old = re.compile(rf"{re.escape(FILE_NAME)}\.old-[0-9]+")
    with destination_errors(folder):
        for path in sorted(folder.iterdir()):
            if old.fullmatch(path.name) and not path.is_symlink():
                _scrub(path, tombstones)


def _scrub(path: Path, tombstones: Tombstones) -> None:
    def covers(text: object) -> bool:
        try:
            return tombstones.covers(id_from_text(str(text)))
        except ValueError:
            return False

    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA secure_delete = ON").fetchall()
            connection.create_function("is_erased", 1, covers)
            for table, column in (TABLES | {"owed": "call_id"}).items():  # of the first schema
                if connection.execute(f"PRAGMA table_info({table})").fetchall():
                    connection.execute(f"DELETE FROM {table} WHERE is_erased({column})")  # noqa: S608 - names of ours
            connection.commit()
            connection.execute("VACUUM")
            connection.execute("PRAGMA journal_mode = DELETE").fetchall()
    except sqlite3.Error:
        # It is torn: nobody can tell what it still has of these calls.
        for ending in ("", "-wal", "-shm", "-journal"):
            Path(f"{path}{ending}").unlink(missing_ok=True)


async def compact(folder: Path) -> None:
    """Leave nothing of what was erased in the catalog's free pages, nor in its log."""

    def work() -> None:
        with connected(folder, write=True) as connection:
            connection.execute("PRAGMA secure_delete = ON").fetchall()
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    pool = FilePool(1)
    try:
        await pool.run(work)
    finally:
        pool.close()
