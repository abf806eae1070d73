"""Runs of an archive in a bucket on a store in memory, and of the workers of a plan."""

from __future__ import annotations

from pathlib import Path

from agentphone_async import AsyncAgentPhone
from agentphone_async.archive.bucket.archive import BucketArchive
from agentphone_async.archive.bucket.planning import write_plan
from agentphone_async.archive.bucket.store import Store
from agentphone_async.archive.bucket.work import Worker
from agentphone_async.archive.options import RunOptions
from agentphone_async.archive.report import Report
from agentphone_async.emulator import Emulator
from agentphone_async.sinks.bucket import Bucket


async def run(emulator: Emulator, bucket: Bucket, cache: Path, **options: object) -> Report:
    async with AsyncAgentPhone(base_url=emulator.base_url, api_key=emulator.api_key) as client:
        archive = BucketArchive(bucket, cache)
        return await archive.run(client, None, RunOptions(**options))


def recordings(bucket: Bucket) -> dict[str, bytes]:
    return {head.path: bucket.read(head.path) for head in bucket.list() if head.path[0] != "_"}


def rows(bucket: Bucket, cache: Path, columns: str = "*") -> list[tuple[object, ...]]:
    store = Store(bucket, cache)
    assert store.open(make=False)
    store.pull()
    tables = ("runs", "calls", "recordings") if columns == "*" else ("recordings",)
    try:
        return [
            row
            for table in tables
            for row in store.connection.execute(f"SELECT {columns} FROM {table} ORDER BY 1")
        ]
    finally:
        store.close()


async def planned(emulator: Emulator, bucket: Bucket, cache: Path, **how: object) -> int:
    async with AsyncAgentPhone(base_url=emulator.base_url, api_key=emulator.api_key) as client:
        made = await write_plan(BucketArchive(bucket, cache), client, None, **how)
    assert (made.complete, made.lacking) == (True, 0)
    return made.plan.calls


async def work(emulator: Emulator, bucket: Bucket, part: tuple[int, int] | None = None) -> Report:
    async with AsyncAgentPhone(base_url=emulator.base_url) as client:
        return await Worker(bucket).work(client, None, part)
