"""Archiving on a Dask cluster: one task for each shard of a plan.

Neither API keys nor call ids travel: tasks are named by plan and number, and workers find keys and
credentials in their own environment. A shard may be run again at any time, so a worker that dies
costs the rest of its shard. What was done is in the bucket, not in the cluster: every future is let
go of as it completes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread

from agentphone_async.archive.bucket.archive import BucketArchive, meanwhile
from agentphone_async.archive.bucket.planning import SHARD_SIZE, write_plan
from agentphone_async.archive.bucket.shards import Shards
from agentphone_async.archive.bucket.work import Remaining, Worker, add
from agentphone_async.archive.options import RunOptions
from agentphone_async.archive.report import Report
from agentphone_async.archive.selection import Selection
from agentphone_async.client import AsyncAgentPhone
from agentphone_async.config import RetryPolicy
from agentphone_async.errors import AgentPhoneError, ConfigurationError, DestinationError
from agentphone_async.sinks.bucket import Bucket
from agentphone_async.transport.limits import HostLimits

if TYPE_CHECKING:
    from distributed import Client

LOOK_AGAIN = 1.0
"""Seconds after which a task looks again among how many the rate is divided."""

AHEAD = 2
"""Tasks that are handed out for each thread of the cluster; the others wait here."""


@dataclass(frozen=True, slots=True)
class WorkerClient:
    """The settings of each worker's client, besides those of its environment; none are secrets.

    Attributes:
        base_url: of the API; None to take it from the worker's environment.
        sub_account: whose transcripts are asked for.
        retry: how often, and for how long, something is tried.
        bwlimit: bytes a second of each task.
        allow_http: permits ``http://`` beyond loopback.
    """

    base_url: str | None = None
    sub_account: str | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    bwlimit: str | None = None
    allow_http: bool = False

    def open(self, api_key: str | None = None, tpslimit: float | None = None) -> AsyncAgentPhone:
        """A client with these settings."""
        return AsyncAgentPhone(
            api_key,
            base_url=self.base_url,
            sub_account=self.sub_account,
            retry=self.retry,
            bwlimit=self.bwlimit,
            allow_http=self.allow_http,
            tpslimit=tpslimit,
        )


@dataclass(frozen=True, slots=True)
class Terms:
    """What every task of an archive has in common; no secrets, since the dashboard shows it.

    Attributes:
        dest: the archive's URL.
        plan: the plan's name.
        allow_overwrite: whether a store may be used that cannot create without overwriting.
        rate: requests a second of the whole cluster; None for no limit.
        options: as for a run on one machine.
        worker: the settings of each worker's client.
    """

    dest: str
    plan: str
    allow_overwrite: bool = False
    rate: float | None = None
    options: RunOptions = field(default_factory=RunOptions)
    worker: WorkerClient = field(default_factory=WorkerClient)


def archive(
    client: Client,
    dest: str,
    selection: Selection | None = None,
    options: RunOptions | None = None,
    *,
    rate: float | None = None,
    plan: str | None = None,
    shard_size: int = SHARD_SIZE,
    base_url: str | None = None,
    api_key: str | None = None,
    worker: WorkerClient | None = None,
    allow_overwrite: bool = False,
    hash_ids: bool = True,
    cache: str | Path | None = None,
    progress: Callable[[Report], object] | None = None,
) -> Report:
    """Archive what is selected and missing on all workers of a Dask cluster.

    Args:
        client: of the cluster. Workers need this package with its ``dask`` extra, and in their
            environment the bucket's credentials; for transcripts the API key, too.
        dest: the archive's URL, such as ``s3://bucket/prefix``.
        selection: which calls; all by default.
        options: as for a run on one machine. ``transfers`` is for each task, ``since_last`` and
            ``dry_run`` cannot be.
        rate: requests a second, of all workers together: each has its share, which follows within
            seconds when workers come or go.
        plan: a plan that was written before; else the list is walked here first, with the API key
            of this environment.
        shard_size: calls of a task.
        base_url: where the API is, for all workers.
        api_key: to walk the list with, here; recordings need none, and it goes nowhere else.
        worker: further settings of the workers' clients.
        allow_overwrite: use a store that cannot create without overwriting.
        hash_ids: whether names in a new archive are hashed.
        cache: folder for the catalog here, as of `BucketArchive`.
        progress: told the counts so far whenever a shard is done; in this thread.

    Returns:
        The counts of all shards together, as of a run on one machine.

    Raises:
        ConfigurationError: a setting cannot work, on a worker or here.
        DestinationError: the bucket cannot be used from here or from a worker; everything that was
            not begun is cancelled, and what was stored is safe.
        AgentPhoneError: the list could not be walked.
    """
    began = time.monotonic()
    options, worker = options or RunOptions(), worker or WorkerClient()
    _refuse(options, rate)
    if base_url is not None:
        worker = replace(worker, base_url=base_url)
    bucket = Bucket.from_url(dest, allow_overwrite=allow_overwrite)
    if plan is None:
        place = BucketArchive(bucket, cache, hash_ids=hash_ids)
        plan = asyncio.run(_plan(place, selection, options, shard_size, worker.open(api_key)))
    terms = Terms(dest, plan, allow_overwrite, rate, options, worker)
    report = _Submitter(client, terms, progress).run(Shards(bucket).left(plan))
    report.seconds = time.monotonic() - began
    return report


def _refuse(options: RunOptions, rate: float | None) -> None:
    if rate is not None and not rate > 0:
        raise ConfigurationError(f"rate is {rate}; it takes more than 0 requests a second")
    if options.since_last or options.dry_run:
        raise ConfigurationError("a cluster can neither resume from the last run nor do a dry run")


async def _plan(
    place: BucketArchive,
    selection: Selection | None,
    options: RunOptions,
    shard_size: int,
    client: AsyncAgentPhone,
) -> str:
    async with client:
        made = await write_plan(
            place,
            client,
            selection,
            shard_size=shard_size,
            archived=options.refresh,
            zone=options.zone,
        )
    return made.plan.name


class _Submitter:
    """Keeps the cluster supplied with shards, and adds up what comes back."""

    def __init__(
        self,
        client: Client,
        terms: Terms,
        progress: Callable[[Report], object] | None,
    ) -> None:
        self._client: Any = client  # its methods have no types
        self._terms = terms
        self._report = Report(complete=True)
        self._progress = progress
        self._pending: set[Any] = set()
        self._rest = Remaining(terms.options, self._report)

    def run(self, shards: Sequence[int]) -> Report:
        from distributed import as_completed  # noqa: PLC0415 - an extra

        numbers = iter(shards)
        completed: Any = as_completed  # untyped, too
        waiting = completed(map(self._submit, islice(numbers, self._room())))
        try:
            for future in waiting:
                result = self._result(future)
                self._release(future)
                self._take(result)
                if self._rest.is_nothing():  # what is under way has the same limits
                    continue
                room = self._room() - len(self._pending)
                for number in islice(numbers, max(0, room)):
                    waiting.add(self._submit(number))
        finally:
            self._client.cancel(list(self._pending), force=True)
            for future in tuple(self._pending):
                self._release(future)
        return self._report

    def _release(self, future: Any) -> None:
        """Held by nobody, it is not run again when its worker dies (dask/distributed#7870)."""
        self._pending.discard(future)
        future.release()

    def _room(self) -> int:
        threads: int = sum(self._client.nthreads().values())
        return AHEAD * max(1, threads)

    def _submit(self, number: int) -> Any:
        future = self._client.submit(
            work_on_shard,
            replace(self._terms, options=self._rest.options()),
            number,
            key=f"agentphone-{self._terms.plan}-{number:06}",
            pure=False,
        )
        self._pending.add(future)
        return future

    def _result(self, future: Any) -> dict[str, Any]:
        from distributed import KilledWorker  # noqa: PLC0415 - an extra

        try:
            result: dict[str, Any] = future.result()
        except KilledWorker:
            line = (
                f"shard {future.key.rpartition('-')[2]} was given up: its workers died over it "
                "(out of memory, or ended by the batch system); run again with smaller shards"
            )
            return {"fatal": None, "line": line, "report": {"failed": 1, "left": 1}}
        return result

    def _take(self, result: dict[str, Any]) -> None:
        if result["fatal"] is not None:
            raise _ERRORS[result["fatal"]](result["line"])
        if result["line"]:
            self._report.add_problem(result["line"])
        add(self._report, Report(**result["report"]))
        if self._progress is not None:
            self._progress(self._report)


_ERRORS: dict[str, type[AgentPhoneError]] = {
    "configuration": ConfigurationError,
    "destination": DestinationError,
    "other": AgentPhoneError,
}


def work_on_shard(terms: Terms, number: int) -> dict[str, Any]:
    """One task: do a shard, and tell what it came to, without ids and without exceptions.

    An exception of ours would have to be rebuilt elsewhere, and could carry an id in its message.
    """
    try:
        report = asyncio.run(_shard(terms, number))
    except ConfigurationError as error:
        return {"fatal": "configuration", "line": str(error), "report": {}}
    except DestinationError as error:
        return {"fatal": "destination", "line": str(error), "report": {}}
    except AgentPhoneError as error:
        return {"fatal": "other", "line": str(error), "report": {}}
    counts = {
        name: getattr(report, name)
        for name in (*report.counts(), "seconds", "stop_reason", "stopped_because")
    }
    return {"fatal": None, "line": "", "report": counts}


async def _shard(terms: Terms, number: int) -> Report:
    bucket = Bucket.from_url(terms.dest, allow_overwrite=terms.allow_overwrite)
    cluster = _Cluster()
    async with terms.worker.open(tpslimit=cluster.share(terms.rate)) as client:
        worker = Worker(bucket)
        plan = worker.shards.latest(terms.plan)
        async with meanwhile(_share, cluster, client.session.limits, terms.rate):
            if terms.rate is not None:
                await cluster.be_counted()
            return await worker.shard(client, plan, number, terms.options)


async def _share(cluster: _Cluster, limits: HostLimits, rate: float | None) -> None:
    """Keep to this task's share of the rate while workers come and go."""
    while rate is not None:
        await anyio.sleep(LOOK_AGAIN)
        with suppress(OSError):  # the scheduler does not answer: the share stays what it was
            limits.limit_rate(await to_thread.run_sync(cluster.share, rate, abandon_on_cancel=True))


class _Cluster:
    """How many tasks the cluster runs at a time, as a task asks; 1 where there is no cluster."""

    _was_counted = False
    """Whether a task of this process has begun before."""

    def __init__(self) -> None:
        from distributed import get_client  # noqa: PLC0415 - an extra

        self._client: Any = None
        with suppress(ValueError):  # not on a cluster
            self._client = get_client()

    def share(self, rate: float | None) -> float | None:
        """One task's share of a rate."""
        if rate is None or self._client is None:
            return rate
        threads: int = sum(self._client.nthreads().values())
        return rate / max(1, threads)

    async def be_counted(self) -> None:
        """Wait, once in a process, until the tasks of all others have made room for this one's."""
        if self._client is not None and not _Cluster._was_counted:
            await anyio.sleep(1.5 * LOOK_AGAIN)
        _Cluster._was_counted = True
