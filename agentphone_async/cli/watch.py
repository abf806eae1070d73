"""``agentphone-async watch``: archive each call minutes after its end, as webhooks tell of it."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentphone_async.cli.config_file import Section
from agentphone_async.cli.connection import Connection, Transfers
from agentphone_async.cli.event_loop import run_interruptible
from agentphone_async.cli.exit_codes import DONE
from agentphone_async.cli.options import (
    Command,
    connection_options,
    log_options,
    option,
    transfer_options,
)
from agentphone_async.cli.param_types import File, Seconds
from agentphone_async.cli.places import archive_folder, archive_of, catalog_option
from agentphone_async.cli.showing import Logs

if TYPE_CHECKING:
    from agentphone_async.web.listen import Address
    from agentphone_async.web.watch import Watch, WatchOptions


@click.command("watch", cls=Command)
@functools.partial(archive_folder, urls=True)
@option(Section.WHAT, "--listen", metavar="HOST:PORT", default="127.0.0.1:8080",
        help="Where webhooks come in.")  # fmt: skip
@option(Section.WHAT, "--secret-file", metavar="FILE", type=File(), required=True,
        help="The webhook's secret; two lines while it is being changed.")  # fmt: skip
@option(Section.WHAT, "--behind-proxy", is_flag=True,
        help="Let other machines connect: a proxy there speaks TLS.")  # fmt: skip
@option(Section.AGAIN, "--poll", type=Seconds(60), default="15m",
        help="Read the list of calls this often, for what no webhook told.")  # fmt: skip
@option(Section.AGAIN, "--grace", type=Seconds(), default="24h",
        help="How long after its end a call's recording may still appear.")  # fmt: skip
@option(Section.WHERE, "--template", metavar="TEXT",
        default="{started:%Y/%m/%d}/recording-{call_id}",
        help="How files are named, without extension.")  # fmt: skip
@option(Section.WHERE, "--tz", metavar="ZONE",
        help="Zone of dates in names, such as Europe/Berlin.  [default: local]")  # fmt: skip
@option(Section.WHERE, "--hash-ids", is_flag=True,
        help="Name files by a keyed hash of the id; the archive keeps to it.")  # fmt: skip
@catalog_option
@transfer_options
@connection_options
@log_options
def command(
    *,
    dest: Path | str,
    cache: Path | None,
    listen: str,
    secret_file: Path,
    connection: Connection,
    transfers: Transfers,
    logs: Logs,
    **settings: Any,
) -> int:
    """Receive AgentPhone's webhooks, and archive each call in DEST soon after its end.

    DEST is a folder or a bucket's URL. Of a bucket, the catalog on this machine also has the
    inbox: give it a place that stays, with --catalog.

    A webhook is acknowledged when it is on the disk. Recording, metadata and transcript come from
    the API; summary and sentiment from the webhook, which is the only one to tell them. The list
    of calls is read now and then, so that a webhook that never came loses no recording.

    GET /healthz and /metrics on the same address say how it is going. SIGTERM stops it: it takes
    no more webhooks, finishes what is under way, and exits with 0.

    \b
    agentphone-async watch ~/calls --secret-file webhook-secret
    """
    from agentphone_async.archive.archive import Archive
    from agentphone_async.web.listen import Address
    from agentphone_async.web.receiver import read_secrets
    from agentphone_async.web.watch import Watch, WatchOptions

    options = WatchOptions(
        Address.parse(listen),
        read_secrets(secret_file),
        poll=settings["poll"],
        behind_proxy=settings["behind_proxy"],
    )
    options = replace(options, run=_run_options(dest, options, transfers, settings))
    place = archive_of(dest, cache)
    archive = Archive(place) if isinstance(place, Path) else place
    client = transfers.client(connection)
    replace(logs, log_level=logs.log_level or "info").start()
    watch = Watch(archive, client, options)

    def stop() -> None:
        click.echo("stopping: finishing what is under way; a second signal stops at once", err=True)
        watch.stop()

    run_interruptible(_watch(watch, dest), stop, patient=True)
    return DONE


def _run_options(
    dest: Path | str, options: WatchOptions, transfers: Transfers, settings: dict[str, Any]
) -> Any:
    from datetime import timedelta

    from agentphone_async.archive.selection import load_zone
    from agentphone_async.archive.template import Template

    return replace(
        options.run,
        transfers=transfers.count,
        fsync=transfers.fsync,
        grace=timedelta(seconds=settings["grace"]),
        template=Template.parse(settings["template"]),
        zone=load_zone(settings["tz"]),
        hash_ids=settings["hash_ids"],
        metadata=isinstance(dest, Path),  # in a bucket, manifests have them
    )


async def _watch(watch: Watch, dest: Path | str) -> None:
    def ready(address: Address) -> None:
        click.echo(
            f"http://{address} takes webhooks for {dest}; stop with SIGTERM or Ctrl-C", err=True
        )

    async with watch.client:
        await watch.run(ready)
