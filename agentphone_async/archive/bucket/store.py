"""The truth in the bucket and the cache that is made from it: opened, brought up to date, sent.

``_catalog/archive.json`` is written once, create-only, by whoever comes first: the archive's id,
and the key that names are hashed with, so that all machines name alike. Manifests are only added.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agentphone_async.archive.bucket import journal, manifest
from agentphone_async.archive.bucket.manifest import PARTS, Part
from agentphone_async.archive.bucket.merge import merge, without_triggers
from agentphone_async.archive.bucket.tombs import (
    drop_erased,
    fetch_tombstones,
    forget_rows,
    paths_of,
    put_tombstones,
)
from agentphone_async.archive.catalog.opening import catalog_errors, connect, path_of
from agentphone_async.archive.catalog.rows import id_to_text
from agentphone_async.archive.catalog.settings import get_setting, set_setting
from agentphone_async.errors import CatalogError, DestinationError
from agentphone_async.sinks.bucket import Bucket
from agentphone_async.sinks.disk import FOLDER_MODE, destination_errors
from agentphone_async.sinks.erased import Tombstones, id_hash

HEAD = "_catalog/archive.json"
OURS = "_catalog/"
ASIDE = "_catalog/aside"
"""Where bad objects are kept when others took their places: in a folder for each call."""

AT_ONCE = 8
TOGETHER = 256
"""Manifests that are merged in one transaction."""

PUSHED = 4_000
"""Rows of one manifest, at most about so many."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What ``archive.json`` says.

    Attributes:
        id: tells this archive from others that had its place.
        key: names, and the tombstones of erased calls, are hashed with it.
        hashed: whether names are.
    """

    id: str
    key: bytes
    hashed: bool = True


def identify(bucket: Bucket, *, make: bool, hashed: bool = True) -> Identity | None:
    """Who the archive is; None if there is none and none is to be made.

    Args:
        bucket: its prefix.
        make: whether one is made where there is none.
        hashed: whether names in a new one are hashed.

    Raises:
        DestinationError: somebody else's objects are there, or the store does not work.
        CatalogError: it is damaged, or newer than we are.
    """
    for _ in range(3):
        try:
            return _read(bucket)
        except FileNotFoundError:
            pass
        _refuse_strangers(bucket)
        if not make:
            return None
        bucket.prove()
        head = {
            "format": manifest.FORMAT,
            "version": manifest.VERSION,
            "id": secrets.token_hex(16),
            "key": secrets.token_hex(32),
            "hashed": hashed,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        bucket.create_now(HEAD, json.dumps(head).encode(), {"Content-Type": "application/json"})
    raise DestinationError(f"{bucket.url}: {HEAD} was written and cannot be read; try again later")


def _read(bucket: Bucket) -> Identity:
    where = f"{bucket.url}/{HEAD}"
    try:
        head = json.loads(bucket.read(HEAD))
        version = int(head["version"])
        found = Identity(head["id"], bytes.fromhex(head["key"]), bool(head.get("hashed", True)))
    except (ValueError, KeyError, TypeError):
        raise CatalogError(
            f"{where} is damaged or not ours; restore it, or choose another prefix", filename=where
        ) from None
    if version > manifest.VERSION:
        raise CatalogError(
            f"{where} has format {version}, and this version of agentphone-async knows "
            f"{manifest.VERSION} at most; update agentphone-async",
            filename=where,
        )
    return found


def _refuse_strangers(bucket: Bucket) -> None:
    for head in bucket.list():
        if not head.path.startswith(".agentphone-probe-"):
            raise DestinationError(
                f"{bucket.url} holds objects that are not of an archive; choose an empty prefix",
                filename=bucket.url,
            )


@contextlib.contextmanager
def _written_once(connection: sqlite3.Connection, *, fresh: bool) -> Iterator[None]:
    """Fill a new cache without a write-ahead log, through which everything goes twice."""
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    changed = False
    if fresh and mode == "wal":
        with contextlib.suppress(sqlite3.OperationalError):  # another process reads it, too
            changed = connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    try:
        yield
    finally:
        if changed:
            with contextlib.suppress(sqlite3.OperationalError):
                connection.execute("PRAGMA journal_mode = WAL").fetchone()


def default_cache(url: str) -> Path:
    """Where the cache of an archive is if nobody says otherwise."""
    home = Path.home()
    if sys.platform == "win32":
        top = Path(os.environ.get("LOCALAPPDATA") or home / "AppData/Local")
    elif sys.platform == "darwin":
        top = home / "Library/Caches"
    else:
        top = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return top / "agentphone-async" / hashlib.sha256(url.encode()).hexdigest()[:24]


class Store:
    """An archive's manifests and their cache. Everything blocks; for one thread at a time.

    Args:
        bucket: where the archive is.
        cache: a folder for the catalog.
        run: names the manifests of this process.
        shard: which part of a larger work they belong to.
        hash_ids: whether names in a new archive are hashed.
    """

    def __init__(
        self,
        bucket: Bucket,
        cache: Path,
        *,
        run: str | None = None,
        shard: int = 0,
        hash_ids: bool = True,
    ) -> None:
        self.bucket = bucket
        self.cache = cache
        self.run = run or f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        self.shard = shard
        self._hash_ids = hash_ids
        self.identity: Identity | None = None
        self._attempt = 0
        self._tombstones = Tombstones()
        self._connection: sqlite3.Connection | None = None

    def open(self, *, make: bool = True) -> bool:
        """Open the cache for this archive; False if there is no archive and none is to be made."""
        self.identity = identify(self.bucket, make=make, hashed=self._hash_ids)
        if self.identity is None:
            return False
        with destination_errors(self.cache):
            self.cache.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        connection = connect(self.cache, write=True)
        self._connection = connection
        with self._errors():
            for pragma in (
                "foreign_keys = OFF",
                "temp_store = FILE",  # a million rows are more than memory should hold
                "cache_size = -64000",
                "wal_autocheckpoint = 20000",
            ):
                connection.execute(f"PRAGMA {pragma}")
            known = get_setting(connection, "bucket")
            if known not in {None, self.identity.id}:
                raise CatalogError(
                    f"the catalog {path_of(self.cache)} belongs to another archive; remove it, or "
                    "name another with --catalog",
                    filename=str(path_of(self.cache)),
                )
            connection.execute("BEGIN IMMEDIATE")
            set_setting(connection, "bucket", self.identity.id)
            set_setting(connection, "run_numbers", "by time")
            names = ["scope_key", *(["hash_key"] if self.identity.hashed else [])]
            connection.executemany(
                "INSERT OR REPLACE INTO settings VALUES (?, ?)",
                [(name, self.identity.key) for name in names],
            )
            journal.install(connection)
            connection.execute("COMMIT")
        return True

    @property
    def connection(self) -> sqlite3.Connection:
        """The cache's connection."""
        if self._connection is None:
            raise RuntimeError("the store is not open")
        return self._connection

    def pull(self, only: str = "") -> int:
        """Merge the manifests that the cache does not know yet; return how many.

        Args:
            only: what their names have to begin with, if that is not all.

        Raises:
            CatalogError: one is damaged or newer than we are; what was merged before it stays.
        """
        known = {name for (name,) in self.connection.execute("SELECT name FROM bucket_parts")}
        names = [
            head.path
            for head in self.bucket.list(only.rpartition("/")[0] or PARTS)
            if head.path.startswith(only)
            and head.path not in known
            and Part.of_name(head.path) is not None
        ]
        tombstones = fetch_tombstones(self.bucket, self.cache, self.key)
        fresh = tombstones.hashes != self._tombstones.hashes
        self._tombstones = tombstones
        merged = 0
        with ThreadPoolExecutor(AT_ONCE) as pool, _written_once(self.connection, fresh=not known):
            for start in range(0, len(names), TOGETHER):
                some = names[start : start + TOGETHER]
                came = zip(some, pool.map(self._get, some), strict=True)
                with self._errors():
                    merge(self.connection, self._decoded(came))
                merged += len(some)
        if tombstones and (merged or fresh):
            with self._errors():
                without_triggers(
                    self.connection,
                    lambda: drop_erased(self.connection, self.bucket, tombstones),
                )
        return merged

    def erase(self, ids: Sequence[str]) -> int:
        """Erase calls: their tombstones first, then their objects, then all that rows say.

        Returns:
            How many objects there were.
        """
        texts = [id_to_text(one) for one in ids]
        hashes = [id_hash(one, self.key) for one in ids]
        put_tombstones(self.bucket, hashes)
        paths = paths_of(self.connection, texts)
        paths += [head.path for one in hashes for head in self.bucket.list(f"{ASIDE}/{one}")]
        gone = sum(self.bucket.remove(path) for path in paths)
        with self._errors():
            without_triggers(self.connection, lambda: forget_rows(self.connection, texts))
        return gone

    @property
    def key(self) -> bytes:
        """What ids are hashed with: in names, and in the names of tombstones and holds."""
        if self.identity is None:
            raise RuntimeError("the store is not open")
        return self.identity.key

    def _get(self, name: str) -> bytes | None:
        try:
            return self.bucket.read(name)
        except FileNotFoundError:  # folded into another one meanwhile
            return None

    def _decoded(self, came: Any) -> Iterator[tuple[str, Iterator[manifest.Row]]]:
        for name, data in came:
            if data is not None:
                shown = f"{self.bucket.url}/{name}"
                yield name, manifest.decode(data, shown)
                for covered in manifest.head_of(data, shown).covers:
                    yield covered, iter(())

    def push(self, *, least: int = 1) -> int:
        """Send what the cache knows and the bucket does not, if it is so many rows; how many."""
        sent = 0
        with self._errors():
            while journal.waiting(self.connection) >= max(1, least):
                changes = journal.collect(self.connection, PUSHED, datetime.now(UTC))
                name = self._write(changes.rows)
                self.connection.execute("BEGIN IMMEDIATE")
                journal.sent(self.connection, changes, name)
                self.connection.execute("COMMIT")
                sent += len(changes.rows)
        return sent

    def _write(self, rows: list[manifest.Row], covers: tuple[str, ...] = ()) -> str:
        while True:
            self._attempt += 1
            part = Part(self.run, self.shard, self._attempt, covers)
            data = manifest.encode(part, rows)
            digest = hashlib.sha256(data).hexdigest()
            metadata = {"Content-Type": "application/zstd", "sha256": digest}
            if self.bucket.create_now(part.name, data, metadata):
                return part.name
            there = self.bucket.head(part.name)
            if there is not None and there.metadata.get("sha256") == digest:
                return part.name  # ours, after a lost answer

    def compact(self) -> int:
        """Fold all manifests into few, and delete those; return how many are gone.

        What has been erased is in none of them any more.
        """
        self.push()
        self.pull()
        covered = tuple(
            head.path
            for head in self.bucket.list(PARTS)
            if Part.of_name(head.path) is not None and self._knows(head.path)
        )
        rows: list[manifest.Row] = []
        for row in journal.everything(self.connection):
            rows.append(row)
            if len(rows) >= 50 * PUSHED:
                self._note(self._write(rows))
                rows = []
        self._note(self._write(rows, covered))
        for name in covered:
            self.bucket.remove(name)
        return len(covered)

    def _knows(self, name: str) -> bool:
        found = self.connection.execute("SELECT 1 FROM bucket_parts WHERE name = ?", (name,))
        return found.fetchone() is not None

    def _note(self, name: str) -> None:
        self.connection.execute("INSERT OR IGNORE INTO bucket_parts VALUES (?)", (name,))

    def close(self) -> None:
        """Close the cache; fine at any time, also twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        with catalog_errors(path_of(self.cache)):
            yield
