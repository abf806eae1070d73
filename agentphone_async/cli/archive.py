"""``agentphone-async archive``: every recording of a day, on disk and accounted for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agentphone_async.cli.connection import Connection, connection_options
from agentphone_async.cli.display import display_options
from agentphone_async.cli.param_types import Folder, Seconds, Size
from agentphone_async.cli.period import Period, period_options
from agentphone_async.cli.transfers import Transfers, transfer_options

F = TypeVar("F", bound=Callable[..., Any])

if TYPE_CHECKING:
    from agentphone_async.archive.options import RunOptions


def _option(*names: str, **settings: Any) -> Callable[[F], F]:
    return click.option(*names, show_default=True, **settings)


@click.command("archive")
@click.argument("dest", type=Folder())
@period_options
@transfer_options
@_option("--grace", type=Seconds(), default="24h",
         help="How long after its end a call's recording may still appear.")  # fmt: skip
@_option("--min-age", type=Seconds(), default="0s",
         help="Leave calls that ended less than this ago to a later run.")  # fmt: skip
@_option("--wait", type=Seconds(), default="0s",
         help="Go on asking so long for recordings that are not ready yet.")  # fmt: skip
@_option("--wait-lock", type=Seconds(), default="0s",
         help="Wait so long for another process on the same archive.")  # fmt: skip
@_option("--recheck", is_flag=True, help="Ask again where there was no recording.")
@_option("--probe-all", is_flag=True, help="Ask even where the API says there is none.")
@_option("--refresh", is_flag=True, help="Ask again for archived ones; changes are kept beside.")
@_option("--metadata", is_flag=True, help="Write each call's JSON beside its recording.")
@_option("--transcripts", is_flag=True, help="Write each call's transcript, as JSON and text.")
@_option("--template", metavar="TEXT", default="{started:%Y/%m/%d}/recording-{call_id}",
         help="How files are named, without extension.")  # fmt: skip
@_option(
    "--hash-ids",
    is_flag=True,
    help="Name files by a keyed hash of the id; the archive keeps to it.",
)
@_option("--max-transfer", type=Size(), help="Begin nothing more after so many bytes.")
@_option("--max-duration", type=Seconds(), help="Stop after so long.")
@_option("--max-file-size", type=Size(), help="Refuse larger recordings.")
@_option("--min-free-space", type=Size(), help="Stop before less than this is free.")
@_option("--dry-run", is_flag=True, help="Say what would be fetched; write nothing.")
@connection_options
@display_options
def command(
    *,
    dest: Path,
    period: Period,
    connection: Connection,
    transfers: Transfers,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    metadata: bool,
    transcripts: bool,
    **settings: Any,
) -> int:
    """Archive the recordings of a day or a range of time in the folder DEST.

    Run it again at any time: it fetches what is missing, and nothing twice. With --since last it
    goes on from where complete runs have covered everything.

    \b
    agentphone-async archive ~/calls --date yesterday
    agentphone-async archive ~/calls --since last --quiet     # for cron
    """
    from agentphone_async.cli.archiving import ArchiveJob

    if not period.is_given:
        raise click.UsageError(
            "say which calls: --date yesterday, --since 7d, --since last, or --since 1970-01-01 "
            "for all"
        )
    return ArchiveJob(
        dest,
        period.selection(),
        run_options(period, transfers, settings),
        connection,
        transfers,
        metadata=metadata,
        transcripts=transcripts,
    ).run(as_json=as_json, quiet=quiet, verbose=verbose)


def run_options(period: Period, transfers: Transfers, settings: dict[str, Any]) -> RunOptions:
    """The options of a run, from those of the command line."""
    from datetime import timedelta

    from agentphone_async.archive.options import Limits, RunOptions
    from agentphone_async.archive.template import Template

    return RunOptions(
        transfers=transfers.count,
        own_loop=True,
        fsync=transfers.fsync,
        grace=timedelta(seconds=settings["grace"]),
        min_age=timedelta(seconds=settings["min_age"]),
        since_last=period.since_last,
        recheck=settings["recheck"],
        probe_all=settings["probe_all"],
        refresh=settings["refresh"],
        wait=settings["wait"],
        dry_run=settings["dry_run"],
        limits=Limits(
            max_transfer=settings["max_transfer"],
            max_duration=settings["max_duration"],
            max_file_size=settings["max_file_size"],
            min_free_space=settings["min_free_space"],
        ),
        template=Template.parse(settings["template"]),
        zone=period.zone(),
        hash_ids=settings["hash_ids"],
        wait_lock=settings["wait_lock"],
    )
