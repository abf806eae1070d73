"""Erasing calls from an archive in a bucket, so that no machine brings them back.

The order is that of a folder: tombstone, objects, rows. Then shards that name the calls are written
again without them, and manifests are folded together: the old ones, which hold the calls' JSON, are
deleted. A store that keeps old versions of objects keeps these, too: that is its policy's business.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta

from agentphone_async.archive.bucket.archive import BucketArchive
from agentphone_async.archive.bucket.shards import Shards
from agentphone_async.archive.bucket.store import Store
from agentphone_async.archive.catalog.calls import calls_after
from agentphone_async.archive.catalog.rows import CallRow, id_to_text
from agentphone_async.archive.erasure.erase import ErasureReport
from agentphone_async.errors import CatalogError

_BATCH = 200


async def forget(
    archive: BucketArchive, call_ids: Iterable[str], *, dry_run: bool = True
) -> ErasureReport:
    """Erase all that an archive in a bucket has of some calls; see `archive.erase.forget`.

    Raises:
        CatalogError: there is no archive.
        DestinationError: the bucket failed; the same call again continues.
    """
    ids = list(dict.fromkeys(call_ids))

    async def all_at_once() -> AsyncGenerator[list[str]]:
        yield ids

    return await _erase(archive, all_at_once, dry_run=dry_run)


async def prune(
    archive: BucketArchive,
    older_than: timedelta,
    *,
    keeps: Callable[[CallRow], bool] = lambda _: False,
    dry_run: bool = True,
    now: datetime | None = None,
) -> ErasureReport:
    """`forget` every call that ended longer ago than this; see `archive.erase.prune`."""
    before = (now or datetime.now(UTC)) - older_than

    async def by_age() -> AsyncGenerator[list[str]]:
        after: str | None = None
        while rows := await archive.ask(calls_after, after, _BATCH):
            after = rows[-1].id
            yield [
                row.id
                for row in rows
                if (row.ended or row.started or row.first_seen) < before and not keeps(row)
            ]

    return await _erase(archive, by_age, dry_run=dry_run)


async def _erase(
    archive: BucketArchive,
    batches: Callable[[], AsyncGenerator[list[str]]],
    *,
    dry_run: bool,
) -> ErasureReport:
    report = ErasureReport(dry_run)
    async with archive.opened() as there:
        if not there:
            url = archive.bucket.url
            raise CatalogError(f"there is no archive in {url}", filename=url)
        erased: set[str] = set()
        async for ids in batches():
            await archive.ask(_count, ids, report)
            if not dry_run:
                await archive.do(Store.erase, ids)
                erased.update(ids)
        if erased:
            await archive.do(lambda store: Shards(store.bucket).scrub(erased))
            await archive.do(Store.compact)
    return report


def _count(connection: sqlite3.Connection, ids: Sequence[str], report: ErasureReport) -> None:
    for one in ids:
        text = (id_to_text(one),)
        (files, size) = connection.execute(
            "SELECT count(path), coalesce(sum(size), 0) FROM recordings "
            "WHERE call_id = ? AND path IS NOT NULL",
            text,
        ).fetchone()
        known = connection.execute("SELECT 1 FROM calls WHERE id = ?", text).fetchone()
        report.calls += known is not None
        report.unknown += known is None
        report.recordings += files
        report.bytes += size
