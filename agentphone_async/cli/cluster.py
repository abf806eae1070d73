"""``agentphone-async archive --dask``: shards on the workers of a Dask cluster."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import click

from agentphone_async.cli.archiving import ArchiveJob, BucketPlace, conclude, exit_code
from agentphone_async.cli.showing import Showing
from agentphone_async.errors import ConfigurationError, DestinationError

if TYPE_CHECKING:
    from agentphone_async.archive.report import Report


def run_on_cluster(job: ArchiveJob, address: str, showing: Showing) -> int:
    """Archive on a cluster, and return the exit code; workers find keys in their environment."""
    if not isinstance(job.dest, BucketPlace):
        raise click.UsageError("--dask needs a destination that all workers reach: a bucket's URL")
    _refuse_secrets(job)
    try:
        import distributed
    except ImportError:
        raise ConfigurationError(
            "--dask needs the extra for Dask; run: pip install 'agentphone-async[dask]'"
        ) from None
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    display = showing.display()
    try:
        with _client(distributed, address) as client:
            report = _archive(job, client, display)
    except KeyboardInterrupt:
        raise click.Abort from None
    finally:
        display.close()
    conclude(report, display)
    return exit_code(report)


def _client(distributed: Any, address: str) -> Any:
    if address == "local":
        return distributed.Client(dashboard_address=":0")  # no warning where 8787 is taken
    try:
        return distributed.Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise DestinationError(
            f"no Dask scheduler answers at {address}; check the address, and that it runs"
        ) from error


def _archive(job: ArchiveJob, client: Any, display: Any) -> Report:
    from agentphone_async.config import RetryPolicy
    from agentphone_async.dask import WorkerClient, archive

    if not isinstance(job.dest, BucketPlace):
        raise TypeError("a cluster needs a bucket")
    connection, transfers = job.connection, job.transfers_at_once

    def progress(report: Report) -> None:
        display.note(f"{report.settled:,} calls settled, {report.archived:,} archived")

    return archive(
        client,
        job.dest.url,
        job.selection,
        job.options,
        rate=transfers.tpslimit,
        base_url=connection.base_url,
        api_key=connection.key(),
        worker=WorkerClient(
            sub_account=connection.sub_account,
            retry=RetryPolicy(
                attempts=connection.retries + 1,
                total=connection.retry_time,
                longest_wait=connection.max_wait,
            ),
            bwlimit=transfers.bwlimit,
            allow_http=connection.allow_http,
        ),
        allow_overwrite=job.dest.allow_overwrite,
        hash_ids=job.dest.hash_ids,
        cache=job.dest.cache,
        progress=progress,
    )


def _refuse_secrets(job: ArchiveJob) -> None:
    """What would have to travel to the workers, where everybody who sees the dashboard sees it."""
    connection = job.connection
    for value, name, instead in (
        (connection.proxy, "--proxy", "set HTTPS_PROXY"),
        (connection.header, "--header", "let a proxy add it"),
        (connection.ca_file, "--ca-file", "set SSL_CERT_FILE"),
    ):
        if value:
            raise click.UsageError(
                f"{name} does not reach the workers of a cluster; {instead} in their environment"
            )
