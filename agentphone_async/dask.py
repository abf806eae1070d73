"""Archiving on a Dask cluster: one task for each shard of a plan.

Neither API keys nor call ids travel: tasks are named by plan and number, and workers find keys and
credentials in their own environment. A shard may be run again at any time, so a worker that dies
costs the rest of its shard. What was done is in the bucket, not in the cluster: every future is let
go of as it completes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from agentphone_async.archive.bucket.archive import BucketArchive
from agentphone_async.archive.bucket.planning import SHARD_SIZE, write_plan
from agentphone_async.archive.bucket.shards import Plan, Shards
from agentphone_async.archive.bucket.work import Worker, add
from agentphone_async.archive.options import Limits, RunOptions
from agentphone_async.archive.report import Report
from agentphone_async.archive.selection import Selection
from agentphone_async.client import AsyncAgentPhone
from agentphone_async.errors import AgentPhoneError, ConfigurationError, DestinationError
from agentphone_async.sinks.bucket import Bucket

if TYPE_CHECKING:
    from distributed import Client

AHEAD = 2
"""Tasks that are handed out for each thread of the cluster; the others wait here."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What every task of an archive has in common; no secrets, since the dashboard shows it.

    Attributes:
        dest: the archive's URL.
        plan: the plan's name.
        base_url: of the API; None to take it from the worker's environment.
        rate: requests a second of the whole cluster; None for no limit.
        options: the fields of `RunOptions` that are not the defaults.
    """

    dest: str
    plan: str
    base_url: str | None = None
    rate: float | None = None
    options: dict[str, Any] = field(default_factory=dict)


def archive(
    client: Client,
    dest: str,
    selection: Selection | None = None,
    *,
    rate: float | None = None,
    transfers: int | Literal["auto"] = "auto",
    plan: str | None = None,
    shard_size: int = SHARD_SIZE,
    base_url: str | None = None,
    api_key: str | None = None,
    max_file_size: int | None = None,
    progress: Callable[[Report], object] | None = None,
) -> Report:
    """Archive what is selected and missing on all workers of a Dask cluster.

    Args:
        client: of the cluster. Workers need this package with its ``dask`` extra, and in their
            environment the bucket's credentials.
        dest: the archive's URL, such as ``s3://bucket/prefix``.
        selection: which calls; all by default.
        rate: requests a second, of all workers together: each takes its share again for each shard.
        transfers: recordings fetched at a time, in each task; ``"auto"`` finds out how many.
        plan: a plan that was written before; else the list is walked here first, with the API key
            of this environment.
        shard_size: calls of a task.
        base_url: where the API is, for all workers.
        api_key: to walk the list with, here; recordings need none, and it goes nowhere else.
        max_file_size: bytes beyond which a recording is refused.
        progress: told the counts so far whenever a shard is done; in this thread.

    Returns:
        The counts of all shards together, as of a run on one machine.

    Raises:
        ConfigurationError: a setting cannot work, on a worker or here.
        DestinationError: the bucket cannot be used from here or from a worker; everything that was
            not begun is cancelled, and what was stored is safe.
        AgentPhoneError: the list could not be walked.
    """
    if rate is not None and not rate > 0:
        raise ConfigurationError(f"rate is {rate}; it takes more than 0 requests a second")
    began = time.monotonic()
    bucket = Bucket.from_url(dest)
    if plan is None:
        found = asyncio.run(_plan(bucket, selection, shard_size, api_key, base_url))
    else:
        found = Shards(bucket).latest(plan)
    options: dict[str, Any] = {"transfers": transfers}
    if max_file_size is not None:
        options["limits"] = {"max_file_size": max_file_size}
    terms = Terms(dest, found.name, base_url, rate, options)
    done = Shards(bucket).done(found.name)
    report = Report(complete=True)
    _Submitter(client, terms, report, progress).run(
        number for number in range(found.shards) if number not in done
    )
    report.seconds = time.monotonic() - began
    return report


async def _plan(
    bucket: Bucket,
    selection: Selection | None,
    shard_size: int,
    api_key: str | None,
    base_url: str | None,
) -> Plan:
    async with AsyncAgentPhone(api_key, base_url) as client:
        made = await write_plan(BucketArchive(bucket), client, selection, shard_size=shard_size)
    return made.plan


class _Submitter:
    """Keeps the cluster supplied with shards, and adds up what comes back."""

    def __init__(
        self,
        client: Client,
        terms: Terms,
        report: Report,
        progress: Callable[[Report], object] | None,
    ) -> None:
        self._client: Any = client  # its methods have no types
        self._terms = terms
        self._report = report
        self._progress = progress
        self._pending: set[Any] = set()

    def run(self, numbers: Iterator[int]) -> None:
        from distributed import as_completed  # noqa: PLC0415 - an extra

        completed: Any = as_completed  # untyped, too
        waiting = completed(map(self._submit, islice(numbers, self._room())))
        try:
            for future in waiting:
                result = self._result(future)
                self._release(future)
                self._take(result)
                room = self._room() - len(self._pending)
                for number in islice(numbers, max(0, room)):
                    waiting.add(self._submit(number))
        finally:
            self._client.cancel(list(self._pending), force=True)
            for future in tuple(self._pending):
                self._release(future)

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
            asdict(self._terms),
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


def work_on_shard(terms: dict[str, Any], number: int) -> dict[str, Any]:
    """One task: do a shard, and tell what it came to, without ids and without exceptions.

    An exception of ours would have to be rebuilt elsewhere, and could carry an id in its message.
    """
    told = Terms(**terms)
    try:
        report = asyncio.run(_shard(told, number))
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
    settings = dict(terms.options)
    if "limits" in settings:
        settings["limits"] = Limits(**settings["limits"])
    rate = None if terms.rate is None else terms.rate / _threads()
    async with AsyncAgentPhone(base_url=terms.base_url, tpslimit=rate) as client:
        worker = Worker(Bucket.from_url(terms.dest))
        return await worker.shard(client, terms.plan, number, RunOptions(**settings))


def _threads() -> int:
    """How many tasks the cluster runs at a time, as of now."""
    from distributed import get_client  # noqa: PLC0415 - an extra

    try:
        client: Any = get_client()
    except ValueError:  # not on a cluster
        return 1
    threads: int = sum(client.nthreads().values())
    return max(1, threads)
