"""Manifests in the bucket and the cache made from them: opened, brought up to date, sent.

Manifests are only added, and every cache takes in those that it does not know.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agentphone_async.archive.bucket import columnar, journal, manifest
from agentphone_async.archive.bucket.identity import Identity, identify, no_archive
from agentphone_async.archive.bucket.journal import columns_of
from agentphone_async.archive.bucket.manifest import PARTS, Part
from agentphone_async.archive.bucket.merge import merge, without_triggers
from agentphone_async.archive.bucket.tables import TABLES
from agentphone_async.archive.bucket.tombs import (
    drop_erased,
    fetch_tombstones,
    forget_rows,
    paths_of,
    put_tombstones,
)
from agentphone_async.archive.catalog.opening import REBUILD, catalog_errors, connect, path_of
from agentphone_async.archive.catalog.rows import id_to_text
from agentphone_async.archive.catalog.settings import get_setting, set_setting
from agentphone_async.errors import CatalogError, ConfigurationError, DestinationError
from agentphone_async.protocol.display import printable
from agentphone_async.sinks.bucket import Bucket
from agentphone_async.sinks.disk import FOLDER_MODE, destination_errors
from agentphone_async.sinks.erased import Tombstones, id_hash

OURS = "_catalog/"
ASIDE = "_catalog/aside"
"""Where bad objects are kept when others took their places: in a folder for each call."""

_KNOW = "INSERT OR IGNORE INTO bucket_parts VALUES (?)"
_HAS_ROWS = "SELECT 1 FROM calls UNION ALL SELECT 1 FROM runs"

_WRONG_ROWS = (
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
)
"""What comes of rows that are not such as we write."""

_CACHES = "agentphone-async"

AT_ONCE = 8
TOGETHER = 256
"""Manifests that are merged in one transaction."""

PUSHED = 4_000
"""Rows of one manifest, at most about this many."""

FOLDED = 40_000
"""Rows of one compacted manifest, at most: few, and yet they fit into memory."""


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
    return top / _CACHES / hashlib.sha256(url.encode()).hexdigest()[:24]


class Store:
    """An archive's manifests and their cache. Everything blocks; for one thread at a time.

    Args:
        bucket: where the archive is.
        cache: a folder for the catalog.
        run: names the manifests of this process.
        shard: which part of the run; its cache then has what this part's manifests say.
        hash_ids: whether names in a new archive are hashed.
    """

    def __init__(
        self,
        bucket: Bucket,
        cache: Path,
        *,
        run: str | None = None,
        shard: int | None = None,
        hash_ids: bool = True,
    ) -> None:
        self.bucket = bucket
        self.cache = cache
        self.run = run or f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        self.shard = shard or 0
        self._parts = f"{PARTS}/" if shard is None else f"{PARTS}/{self.run}/{shard:06}-"
        self._hash_ids = hash_ids
        self.identity: Identity | None = None
        self._attempt = 0
        self._fresh = False
        self.tombstones = Tombstones()
        self._connection: sqlite3.Connection | None = None

    def open_existing(self) -> None:
        """Open the cache of an archive that is there.

        Raises:
            CatalogError: there is no archive, or as with `open`.
        """
        if not self.open(make=False):
            raise no_archive(self.bucket.url)

    def open(self, *, make: bool = True) -> bool:
        """Open the cache for this archive; False if there is no archive and none is to be made.

        Whoever may not list, or not write what is to be written, is told before a cache is made.
        """
        self.identity = identify(self.bucket, make=make, hashed=self._hash_ids)
        if self.identity is None:
            return False
        if make:
            self.bucket.prove()
        self._fresh = not path_of(self.cache).exists()
        if self._fresh:
            next(self.bucket.list(PARTS), None)
        with destination_errors(self.cache):
            self.cache.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        with self._errors():
            connection = connect(self.cache, write=True)
            try:
                self._take_over(connection, self.identity)
            except BaseException:
                connection.close()
                raise
        self._connection = connection
        return True

    def _take_over(self, connection: sqlite3.Connection, identity: Identity) -> None:
        """Make a catalog the cache of this archive.

        Raises:
            CatalogError: it is another archive's.
        """
        for pragma in ("foreign_keys = OFF", "cache_size = -64000", "wal_autocheckpoint = 20000"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("PRAGMA temp_store = FILE")  # a million rows are too much for memory
        known = get_setting(connection, "bucket")
        if known != identity.id and (known or connection.execute(_HAS_ROWS).fetchone()):
            raise CatalogError(
                f"the catalog {path_of(self.cache)} belongs to another archive; remove it, or "
                "name another with --catalog",
                filename=str(path_of(self.cache)),
            )
        connection.execute("BEGIN IMMEDIATE")
        set_setting(connection, "bucket", identity.id)
        set_setting(connection, "run_numbers", "by time")
        for key in ("scope_key", *(["hash_key"] if identity.hashed else [])):
            connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (key, identity.key))
        journal.install(connection)
        connection.execute("COMMIT")

    @property
    def connection(self) -> sqlite3.Connection:
        """The cache's connection."""
        if self._connection is None:
            raise RuntimeError("the store is not open")
        return self._connection

    def pull(self) -> int:
        """Merge the manifests that the cache does not know yet; return how many.

        A cache that was made for it goes if the store fails before there is anything in it.

        Raises:
            CatalogError: one is damaged or newer than we are; what was merged before it stays.
        """
        try:
            return self._pull()
        except DestinationError:
            self._discard_new()
            raise

    def _pull(self) -> int:
        known = {name for (name,) in self.connection.execute("SELECT name FROM bucket_parts")}
        names = []
        for head in self.bucket.starting(self._parts):
            name = head.path
            if name not in known and Part.of_name(name) is not None:
                manifest.refuse_size(head.size, f"{self.bucket.url}/{name}")
                names.append(name)
        fresh = self.fetch_tombstones()
        merged = 0
        with ThreadPoolExecutor(AT_ONCE) as pool, _written_once(self.connection, fresh=not known):
            for start in range(0, len(names), TOGETHER):
                some = names[start : start + TOGETHER]
                bulk = len(some) > len(known) + merged
                with self._errors():
                    self._merge(some, pool, bulk=bulk)
                merged += len(some)
        if self.tombstones and (merged or fresh):
            with self._errors():
                without_triggers(
                    self.connection,
                    lambda: drop_erased(self.connection, self.bucket, self.tombstones),
                )
        return merged

    def fetch_tombstones(self) -> bool:
        """Learn which calls were erased; whether there are others than were known."""
        known = self.tombstones.hashes
        self.tombstones = fetch_tombstones(self.bucket, self.cache, self.key)
        return self.tombstones.hashes != known

    def _merge(self, names: Sequence[str], pool: ThreadPoolExecutor, *, bulk: bool) -> None:
        """Merge manifests together; where one of them cannot be, merge the others and say which."""
        came = zip(names, pool.map(self._get, names), strict=True)
        try:
            merge(self.connection, self._decoded(came), bulk=bulk)
        except ConfigurationError:  # it is a ValueError, too
            raise
        except _WRONG_ROWS as error:
            if len(names) == 1:
                where = f"{self.bucket.url}/{names[0]}"
                raise manifest.torn(where, printable(str(error), 80)) from None
            for name in names:
                self._merge([name], pool, bulk=False)

    def _discard_new(self) -> None:
        """Remove a cache that was made now and has nothing yet."""
        if self._fresh and not self.connection.execute("SELECT 1 FROM bucket_parts").fetchone():
            self.close()
            path = path_of(self.cache)
            for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
                path.with_name(name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self.cache.rmdir()
                if self.cache.parent.name == _CACHES:
                    self.cache.parent.rmdir()

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
                form = columnar if name.endswith(columnar.ENDING) else manifest
                yield name, form.decode(data, shown)
                for covered in form.head_of(data, shown).covers:
                    yield covered, iter(())

    def push(self, *, least: int = 1) -> int:
        """Send what the cache knows and the bucket does not, if it is enough; how many rows."""
        sent = 0
        with self._errors():
            while journal.waiting(self.connection) >= max(1, least):
                changes = self._changes()
                name = self._write(changes.rows)
                self.connection.execute("BEGIN IMMEDIATE")
                journal.sent(self.connection, changes, name)
                self.connection.execute("COMMIT")
                sent += len(changes.rows)
        return sent

    def _changes(self) -> journal.Changes:
        """What comes next: as much as fits into one manifest."""
        most = PUSHED
        while True:
            changes = journal.collect(self.connection, most, datetime.now(UTC))
            if len(next(manifest.portions(changes.rows, PUSHED))) == len(changes.rows):
                return changes
            most = max(1, most // 2)

    def _write(
        self,
        rows: Sequence[manifest.Row],
        covers: tuple[str, ...] = (),
        ending: str = manifest.ENDING,
    ) -> str:
        """Store rows as a manifest under the next name that is free, and return that."""
        while True:
            self._attempt += 1
            part = Part(self.run, self.shard, self._attempt, covers, ending)
            if ending == columnar.ENDING:
                columns = {table.name: columns_of(self.connection, table) for table in TABLES}
                data = columnar.encode(part, rows, columns)
                kind = "application/vnd.apache.parquet"
            else:
                data = manifest.encode(part, rows)
                kind = "application/zstd"
            said = {"Content-Type": kind, "sha256": hashlib.sha256(data).hexdigest()}
            if self.bucket.create_now(part.name, data, said):
                return part.name
            there = self.bucket.head(part.name)  # the same: ours, after a lost answer
            if there is not None and there.metadata.get("sha256") == said["sha256"]:
                return part.name

    def compact(self, *, parquet: bool = False) -> int:
        """Fold all manifests into few, and delete those; return how many are gone.

        What has been erased is in none of them any more.

        Args:
            parquet: write Parquet, which needs pyarrow; every reader will need it, too.
        """
        ending = columnar.ENDING if parquet else manifest.ENDING
        self.push()
        self.pull()
        covered = tuple(
            head.path
            for head in self.bucket.list(PARTS)
            if Part.of_name(head.path) is not None and self._knows(head.path)
        )
        portions = manifest.portions(journal.everything(self.connection), FOLDED)
        some = next(portions)
        written = []
        for following in portions:
            written.append(self._write(some, (), ending))
            some = following
        written.append(self._write(some, covered, ending))  # by then all that is folded is stored
        self.connection.executemany(_KNOW, [(name,) for name in written])
        for name in covered:
            self.bucket.remove(name)
        return len(covered)

    def _knows(self, name: str) -> bool:
        found = self.connection.execute("SELECT 1 FROM bucket_parts WHERE name = ?", (name,))
        return found.fetchone() is not None

    def close(self) -> None:
        """Close the cache; fine at any time, also twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            with catalog_errors(path_of(self.cache)):
                yield
        except CatalogError as error:
            line = str(error).replace(REBUILD, "remove it: it is made again from the bucket")
            raise CatalogError(line, filename=error.filename) from error.__cause__
