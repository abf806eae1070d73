"""Doing the shards of a plan: any number of machines, none of which knows of the others.

A shard is a run of its own, over its own calls, with a cache that begins with what earlier attempts
at this shard have written: what ten million other calls came to is of no interest here. So it may
be begun again at any time, by anybody, and fetches only what is missing.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import fields, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from agentphone_async.archive.bucket.archive import BucketArchive, meanwhile
from agentphone_async.archive.bucket.shards import LEASE, Plan, Shards, shuffled, slice_of
from agentphone_async.archive.observer import Observer
from agentphone_async.archive.options import RunOptions
from agentphone_async.archive.report import Report
from agentphone_async.archive.selection import load_zone
from agentphone_async.client import AsyncAgentPhone
from agentphone_async.errors import ConfigurationError
from agentphone_async.models import Call
from agentphone_async.sinks.bucket import Bucket
from agentphone_async.sinks.threads import FilePool

RENEW = LEASE.total_seconds() / 3


class Worker:
    """Does shards, one after the other.

    Args:
        bucket: the archive's prefix.
        settings: further ones of `BucketArchive`, for tests.
    """

    def __init__(self, bucket: Bucket, **settings: Any) -> None:
        self.bucket = bucket
        self.shards = Shards(bucket)
        self._settings = settings
        self._running: BucketArchive | None = None
        self._stopped = False

    def stop(self) -> None:
        """End the shard that is under way gently, and begin no other."""
        self._stopped = True
        if self._running is not None:
            self._running.stop()

    async def work(
        self,
        client: AsyncAgentPhone,
        plan: str | None = None,
        part: tuple[int, int] | None = None,
        options: RunOptions | None = None,
        *,
        observer: Observer | None = None,
    ) -> Report:
        """Do the shards of a plan that are not done.

        Args:
            client: an open client; recordings need no API key.
            plan: its name; by default the newest.
            part: ``(i, n)``: only every n-th shard, from the i-th, without asking whether anybody
                else is at it. By default all, in an order of this worker's own; those that another
                worker has claimed are left to it.
            options: as for a run.
            observer: as for a run.

        Returns:
            The counts of all shards together; not complete if some were left to other workers.

        Raises:
            ConfigurationError: there is no such plan.
        """
        if part is not None and not 1 <= part[0] <= part[1]:
            raise ConfigurationError(f"shard {part[0]}/{part[1]} is none; count from 1")
        total = Report(complete=True)
        pool = FilePool(1)
        try:
            found: Plan = await pool.run(self.shards.latest, plan)
            rest = Remaining(options or RunOptions(), total)
            await self._each(pool, client, found, part, rest, total, observer)
        finally:
            pool.close()
        if self._stopped:
            total.complete = False
            total.stop_reason, total.stopped_because = "interrupted", "it was interrupted"
        return total

    async def _each(
        self,
        pool: FilePool,
        client: AsyncAgentPhone,
        plan: Plan,
        part: tuple[int, int] | None,
        rest: Remaining,
        total: Report,
        observer: Observer | None,
    ) -> None:
        """One shard after the other, as long as there are some, and limits allow it."""
        numbers, elsewhere = slice_of(plan.shards, part), 0
        if part is None:
            numbers = shuffled(numbers, self.shards.me)
        done = await pool.run(self.shards.done, plan.name)
        for number in numbers:
            if self._stopped or rest.is_nothing():
                break
            if number in done or await pool.run(self.shards.is_done, plan.name, number):
                continue
            now = datetime.now(UTC)
            if part is None and not await pool.run(self.shards.claim, plan.name, number, now):
                elsewhere += 1
                continue
            do = self.shard if part is not None else partial(self._claimed, pool)
            add(total, await do(client, plan, number, rest.options(), observer=observer))
        if elsewhere:
            total.complete = False
            total.add_problem(f"{elsewhere} shards were left to other workers, which are at them")

    async def _claimed(
        self,
        pool: FilePool,
        client: AsyncAgentPhone,
        plan: Plan,
        number: int,
        options: RunOptions,
        *,
        observer: Observer | None,
    ) -> Report:
        """One shard, with its claim renewed meanwhile, and given back in the end."""
        try:
            async with meanwhile(self._renew, pool, plan.name, number):
                return await self.shard(client, plan, number, options, observer=observer)
        finally:
            with anyio.CancelScope(shield=True):
                await pool.run(self.shards.release, plan.name, number)

    async def _renew(self, pool: FilePool, plan: str, number: int) -> None:
        while True:
            await anyio.sleep(RENEW)
            await pool.run(self.shards.claim, plan, number, datetime.now(UTC))

    async def shard(
        self,
        client: AsyncAgentPhone,
        plan: Plan,
        number: int,
        options: RunOptions | None = None,
        *,
        observer: Observer | None = None,
    ) -> Report:
        """Do one shard, whoever else may be at it."""
        options = options or RunOptions()
        if options.zone is None and plan.about.get("zone"):
            options = replace(options, zone=load_zone(plan.about["zone"]))
        with tempfile.TemporaryDirectory(prefix="agentphone-shard-") as cache:
            archive = self._running = BucketArchive(
                self.bucket, Path(cache), run=plan.name, shard=number, **self._settings
            )
            if self._stopped:
                archive.stop()
            pool = FilePool(1)
            try:
                calls = await pool.run(self._calls, plan.name, number)
                archive.files.unlikely = self.shards.is_fresh(plan.name, number)
                report = await archive.run(client, None, options, observer=observer, calls=calls)
                if not (report.failed or report.not_ready or report.left or report.stop_reason):
                    await pool.run(self.shards.finish_shard, plan.name, number, report.counts())
            finally:
                self._running = None
                pool.close()
        return report

    def _calls(self, plan: str, number: int) -> list[Call]:
        return [Call.from_json(call) for call in self.shards.calls(plan, number)]


class Remaining:
    """What is left of the limits of a run when some of its shards are done.

    Args:
        options: of the whole run.
        total: its counts so far.
    """

    def __init__(self, options: RunOptions, total: Report) -> None:
        self._options = options
        self._total = total
        self._began = time.monotonic()

    def is_nothing(self) -> bool:
        """Whether no further shard is to be begun; the report then says why."""
        limits, total = self.options().limits, self._total
        if limits.max_transfer == 0 and self._options.limits.max_transfer:
            total.complete = False
            total.stop_reason = "max_transfer"
            total.stopped_because = f"{self._options.limits.max_transfer:,} bytes have come"
        if limits.max_duration == 0 and self._options.limits.max_duration:
            total.complete = False
            total.stop_reason = "max_duration"
            total.stopped_because = f"it has run for {self._options.limits.max_duration:g} s"
        return total.stop_reason is not None

    def options(self) -> RunOptions:
        """The options of the next shard."""
        limits = self._options.limits
        if limits.max_transfer is not None:
            left = max(0, limits.max_transfer - self._total.bytes)
            limits = replace(limits, max_transfer=left)
        if limits.max_duration is not None:
            seconds = max(0.0, limits.max_duration - (time.monotonic() - self._began))
            limits = replace(limits, max_duration=seconds)
        return replace(self._options, limits=limits)


def add(total: Report, report: Report) -> None:
    """Add the counts of one shard to those of all."""
    for field in fields(Report):
        value = getattr(report, field.name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            setattr(total, field.name, getattr(total, field.name) + value)
    total.complete = total.complete and not (report.left or report.stop_reason or report.error)
    total.error = total.error or report.error
    total.stop_reason = total.stop_reason or report.stop_reason
    total.stopped_because = total.stopped_because or report.stopped_because
    total.problems += report.problems[: 100 - len(total.problems)]
    total.failures += report.failures[: 100 - len(total.failures)]
