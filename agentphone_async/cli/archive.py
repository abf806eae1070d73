"""``agentphone-async archive``: every recording of a day, on disk and accounted for."""

from __future__ import annotations

from functools import partial
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
from agentphone_async.cli.places import catalog_option, refuse_cache
from agentphone_async.cli.showing import Showing

if TYPE_CHECKING:
    from datetime import tzinfo

    from agentphone_async.archive.options import RunOptions


SAY_WHICH = (
    "say which calls: --date yesterday, --since 7d, --since last, or --since 1970-01-01 for all"
)


class ArchiveCommand(Command):
    """``archive DEST``; or one of the commands that its first word names.

    A folder of such a name is given as ``./plan``.
    """

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """That of the command that is meant."""
        if args and args[0] in {"plan", "work"}:
            from agentphone_async.cli import shards

            meant: click.Command = getattr(shards, args[0])
            return meant.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command("archive", cls=ArchiveCommand)
@partial(archive_folder, urls=True)
@catalog_option
@option(Section.WHERE, "--allow-overwrite", is_flag=True, config=False,
        help="Use a bucket whose store cannot create objects without overwriting.")  # fmt: skip
@option(Section.WHERE, "--dask", metavar="ADDRESS", config=False,
        help="For a bucket: work on this Dask cluster, tcp://…, or on a local one.")  # fmt: skip
@period_options
@option(Section.WHERE, "--template", metavar="TEXT",
        help="How files are named, without extension; the archive remembers it.  "
             "[default: {started:%Y/%m/%d}/recording-{call_id}]")  # fmt: skip
@option(Section.WHERE, "--mode", type=click.Choice(["private", "group", "umask"]),
        help="Who may read files: their owner, the group, or as the umask says; the archive "
             "remembers it.  [default: private]")  # fmt: skip
@option(Section.WHERE, "--hash-ids", is_flag=True, default=None,
        help="Name files by a keyed hash of the id; the archive keeps to it.")  # fmt: skip
@option(Section.WHERE, "--metadata", is_flag=True, default=None,
        help="Write each call's JSON beside its recording.")  # fmt: skip
@option(Section.WHERE, "--transcripts", is_flag=True, default=None,
        help="Write each call's transcript, as JSON and text.")  # fmt: skip
@option(Section.WHERE, "--no-mtime", is_flag=True,
        help="Do not give recordings the end of their call as time of modification.")  # fmt: skip
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
    dest: Path | str,
    cache: Path | None,
    allow_overwrite: bool,
    dask: str | None,
    period: Period,
    connection: Connection,
    transfers: Transfers,
    program: Program | None,
    showing: Showing,
    **settings: Any,
) -> int:
    """Archive the recordings of a day or a range of time in DEST: a folder, or a bucket's URL.

    Run it again at any time: it fetches what is missing, and nothing twice. With --since last it
    continues from where complete runs have covered everything.

    \b
    agentphone-async archive ~/calls --date yesterday
    agentphone-async archive ~/calls --since last --quiet     # for cron
    agentphone-async archive s3://bucket/calls --date yesterday

    archive plan DEST and archive work DEST share the work between machines; see their --help.
    """
    from agentphone_async.cli.archiving import ArchiveJob, BucketPlace

    if not period.is_given:
        raise click.UsageError(SAY_WHICH)
    hashed = settings["hash_ids"] or not _is_said("hash_ids")
    place = dest if isinstance(dest, Path) else BucketPlace(dest, cache, allow_overwrite, hashed)
    if isinstance(place, Path):
        refuse_cache(cache)
    job = ArchiveJob(
        place,
        period.selection(),
        run_options(place if isinstance(place, Path) else None, period, transfers, settings),
        connection,
        transfers,
        program,
    )
    if dask is None:
        return job.run(showing)
    if program is not None or settings["dry_run"]:
        raise click.UsageError("--dask goes neither with --exec nor with --dry-run; leave one out")
    from agentphone_async.cli.cluster import run_on_cluster

    return run_on_cluster(job, dask, showing)


def _is_said(name: str) -> bool:
    """Whether an option was given, and is not only a default."""
    source = click.get_current_context().get_parameter_source(name)
    return source is not click.core.ParameterSource.DEFAULT


def _zone(dest: Path | None, period: Period) -> tzinfo | None:
    """The zone of dates in names; None if it is the one that the archive remembers."""
    from agentphone_async.archive.settings_file import load_settings

    if period.tz is None and dest is not None and load_settings(dest).zone is not None:
        return None
    return period.zone()


def run_options(
    dest: Path | None, period: Period, transfers: Transfers, settings: dict[str, Any]
) -> RunOptions:
    """The options of a run, from those of the command line."""
    from datetime import timedelta

    from agentphone_async.archive.options import Limits, RunOptions
    from agentphone_async.archive.template import Template

    return RunOptions(
        transfers=transfers.count,
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
        template=None if settings["template"] is None else Template.parse(settings["template"]),
        zone=_zone(dest, period),
        mode=settings["mode"],
        hash_ids=bool(settings["hash_ids"]),
        wait_lock=settings["wait_lock"],
        mtime=not settings["no_mtime"],
    )
