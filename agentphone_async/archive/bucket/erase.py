"""Erasing calls from an archive in a bucket, so that no machine brings them back.

The order is that of a folder: tombstone, objects, rows. Then shards that name the calls are written
again without them, and manifests are folded together: the old ones, which hold the calls' JSON, are
deleted. A store that keeps old versions of objects keeps these, too: that is its policy's business.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from agentphone_async.archive.bucket.archive import BucketArchive
from agentphone_async.archive.bucket.shards import Shards
from agentphone_async.archive.bucket.store import Store
from agentphone_async.archive.catalog.rows import CallRow, id_to_text
from agentphone_async.archive.erase import Also, Choice, ErasureReport, ended_before, these
from agentphone_async.errors import CatalogError
from agentphone_async.sinks.erased import id_hash

HELD = "_catalog/held"
"""In it an object for each call that is held, named by the hash of its id, with the id inside."""


async def forget(
    archive: BucketArchive,
    call_ids: Iterable[str],
    *,
    dry_run: bool = True,
    also: Sequence[Also] = (),
) -> ErasureReport:
    """Erase all that an archive in a bucket has of some calls; see `archive.erase.forget`.

    Calls that are held are left, and told.

    Raises:
        CatalogError: there is no archive.
        DestinationError: the bucket failed; the same call again continues.
    """
    return await _erase(archive, these(call_ids), also, dry_run=dry_run)


async def prune(
    archive: BucketArchive,
    older_than: timedelta,
    *,
    keeps: Callable[[CallRow], bool] = lambda _: False,
    dry_run: bool = True,
    now: datetime | None = None,
    also: Sequence[Also] = (),
) -> ErasureReport:
    """`forget` every call that ended longer ago than this; see `archive.erase.prune`."""
    chosen = ended_before((now or datetime.now(UTC)) - older_than, keeps)
    return await _erase(archive, chosen, also, dry_run=dry_run)


async def hold(archive: BucketArchive, call_ids: Iterable[str], *, release: bool = False) -> int:
    """Keep calls from being erased, on every machine, or release them; how many changed."""
    async with archive.opened_existing():
        return await archive.do(lambda store: _hold(store, call_ids, release=release))


async def held(archive: BucketArchive) -> list[str]:
    """The ids of all calls that are held."""
    async with archive.opened_existing():
        return await archive.do(held_in)


async def _erase(
    archive: BucketArchive,
    choice: Choice,
    also: Sequence[Also],
    *,
    dry_run: bool,
) -> ErasureReport:
    report = ErasureReport(dry_run)
    async with archive.opened_existing():
        erased: set[str] = set()
        held = frozenset(await archive.do(held_in))
        async for ids in choice(archive.ask, held, report):
            await archive.ask(_count, ids, report)
            if not dry_run:
                await archive.do(Store.erase, ids)
                erased.update(ids)
        if erased:
            for one in also:
                report.others += await archive.do(partial(_beside, one, archive.cache, erased))
            await archive.do(Store.compact)
            await archive.do(lambda store: Shards(store.bucket).scrub(store.tombstones))
    return report


def _beside(also: Also, folder: Path, erased: set[str], _: Store) -> int:
    return also(folder, sorted(erased))


def _count(connection: sqlite3.Connection, ids: Sequence[str], report: ErasureReport) -> None:
    for one in ids:
        text = (id_to_text(one),)
        sums = []
        for table in ("recordings", "sidecars"):
            found = connection.execute(
                f"SELECT count(path), coalesce(sum(size), 0) FROM {table} "  # noqa: S608 - ours
                "WHERE call_id = ? AND path IS NOT NULL",
                text,
            )
            sums.append(found.fetchone())
        known = connection.execute("SELECT 1 FROM calls WHERE id = ?", text).fetchone()
        report.calls += known is not None
        report.unknown += known is None
        report.recordings += sums[0][0]
        report.sidecars += sums[1][0]
        report.bytes += sums[0][1] + sums[1][1]


def held_in(store: Store) -> list[str]:
    """The ids of all calls that are held, those first that have been for the longest."""
    heads = sorted(store.bucket.list(HELD), key=lambda head: (head.modified, head.path))
    return [_id_in(store, head.path) for head in heads]


def _id_in(store: Store, name: str) -> str:
    try:
        return store.bucket.read(name).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        where = f"{store.bucket.url}/{name}"
        raise CatalogError(
            f"{where} is damaged: it names no call; restore it, or delete it and hold the call",
            filename=where,
        ) from None


def _hold(store: Store, call_ids: Iterable[str], *, release: bool = False) -> int:
    """Hold calls, or release them; how many changed their state."""
    changed = 0
    for call_id in dict.fromkeys(call_ids):
        name = f"{HELD}/{id_hash(call_id, store.key)}"
        if release:
            changed += store.bucket.remove(name) if store.bucket.head(name) else False
        else:
            body = call_id.encode("utf-8", "surrogatepass")
            changed += store.bucket.create_now(name, body, {"Content-Type": "text/plain"})
    return changed
