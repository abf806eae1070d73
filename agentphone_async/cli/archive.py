"""``agentphone-async archive``: every recording of a day, on disk and accounted for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentphone_async.cli.after import Program
from agentphone_async.cli.connection import Connection, Transfers
from agentphone_async.cli.options import (
    Command,
    Section,
    archive_folder,
    connection_options,
    display_options,
    exec_option,
    option,
    period_options,
    transfer_options,
)
from agentphone_async.cli.param_types import Seconds, Size
from agentphone_async.cli.period import Period
from agentphone_async.cli.showing import Showing

if TYPE_CHECKING:
    from agentphone_async.archive.options import RunOptions


@click.command("archive", cls=Command)
@archive_folder
@period_options
@option(Section.WHERE, "--template", metavar="TEXT",
        default="{started:%Y/%m/%d}/recording-{call_id}",
        help="How files are named, without extension.")  # fmt: skip
@option(Section.WHERE, "--hash-ids", is_flag=True,
        help="Name files by a keyed hash of the id; the archive keeps to it.")  # fmt: skip
@option(Section.WHERE, "--metadata", is_flag=True,
        help="Write each call's JSON beside its recording.")  # fmt: skip
@option(Section.WHERE, "--transcripts", is_flag=True,
        help="Write each call's transcript, as JSON and text.")  # fmt: skip
@option(Section.WHERE, "--wait-lock", type=Seconds(), default="0s",
        help="Wait for another process on the same archive, for up to DURATION.")  # fmt: skip
@option(Section.AGAIN, "--grace", type=Seconds(), default="24h",
        help="How long after its end a call's recording may still appear.")  # fmt: skip
@option(Section.AGAIN, "--min-age", type=Seconds(), default="0s",
        help="Leave calls that ended less than this ago to a later run.")  # fmt: skip
@option(Section.AGAIN, "--wait", type=Seconds(), default="0s",
        help="Keep polling for recordings that are not ready yet, for up to DURATION.")  # fmt: skip
@option(Section.AGAIN, "--recheck", is_flag=True,
        help="Ask again where there was no recording.")  # fmt: skip
@option(Section.AGAIN, "--probe-all", is_flag=True,
        help="Ask even where the API says that there is none.")  # fmt: skip
@option(Section.AGAIN, "--refresh", is_flag=True,
        help="Ask again for archived ones; a changed one becomes a new version.")  # fmt: skip
@option(Section.AGAIN, "--full-list", is_flag=True, config=False,
        help="Walk the whole list of calls, even where its newest part would do.")  # fmt: skip
@option(Section.AGAIN, "--full-list-every", type=Seconds(), default="7d",
        help="Walk the whole list of calls at least this often.")  # fmt: skip
@transfer_options
@option(Section.LIMITS, "--max-transfer", type=Size(),
        help="Start no more downloads after this many bytes.")  # fmt: skip
@option(Section.LIMITS, "--max-duration", type=Seconds(), help="Stop after this long.")
@option(Section.LIMITS, "--max-file-size", type=Size(), help="Refuse larger recordings.")
@option(Section.LIMITS, "--min-free-space", type=Size(),
        help="Stop before less than this is free on the disk.")  # fmt: skip
@option(Section.LIMITS, "--dry-run", is_flag=True, config=False,
        help="Print what would be fetched; write nothing.")  # fmt: skip
@connection_options
@exec_option
@display_options
def command(
    *,
    dest: Path,
    period: Period,
    connection: Connection,
    transfers: Transfers,
    program: Program | None,
    showing: Showing,
    **settings: Any,
) -> int:
    """Archive the recordings of a day or a range of time in the folder DEST.

    Run it again at any time: it fetches what is missing, and nothing twice. With --since last it
    continues from where complete runs have covered everything.

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
        program,
    ).run(showing)


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
        metadata=settings["metadata"],
        transcripts=settings["transcripts"],
        full_list=settings["full_list"],
        full_list_every=timedelta(seconds=settings["full_list_every"]),
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
