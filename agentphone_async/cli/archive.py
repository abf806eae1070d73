"""``agentphone-async archive``: every recording of a day, on disk and accounted for."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentphone_async.cli.config_file import Section
from agentphone_async.cli.connection import Connection, Transfers
from agentphone_async.cli.options import (
    Command,
    connection_options,
    display_options,
    exec_option,
    option,
    transfer_options,
)
from agentphone_async.cli.param_types import Seconds, Size
from agentphone_async.cli.period import Period, period_options
from agentphone_async.cli.places import (
    archive_folder,
    catalog_option,
    overwrite_option,
    refuse_cache,
)
from agentphone_async.cli.run_options import run_options, shard_options
from agentphone_async.cli.showing import Showing

if TYPE_CHECKING:
    from agentphone_async.cli.after import Program

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
@overwrite_option
@option(Section.WHERE, "--dask", metavar="ADDRESS", config=False,
        help="For a bucket: work on this Dask cluster, tcp://…, or on a local one.")  # fmt: skip
@period_options
@shard_options
@option(Section.WHERE, "--mode", type=click.Choice(["private", "group", "umask"]),
        help="Who may read files: their owner, the group, or as the umask says; the archive "
             "remembers it.  [default: private]")  # fmt: skip
@option(Section.WHERE, "--hash-ids", is_flag=True, default=None,
        help="Name files by a keyed hash of the id; the archive keeps to it.")  # fmt: skip
@option(Section.WHERE, "--no-mtime", is_flag=True,
        help="Do not give recordings the end of their call as time of modification.")  # fmt: skip
@option(Section.WHERE, "--wait-lock", type=Seconds(), default="0s",
        help="Wait for another process on the same archive, for up to DURATION.")  # fmt: skip
@option(Section.AGAIN, "--full-list", is_flag=True, config=False,
        help="Walk the whole list of calls, even where its newest part would do.")  # fmt: skip
@option(Section.AGAIN, "--full-list-every", type=Seconds(), default="7d",
        help="Walk the whole list of calls at least this often.")  # fmt: skip
@transfer_options
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
        run_options(transfers, settings, period, place if isinstance(place, Path) else None),
        connection,
        transfers,
        program,
    )
    if dask is None:
        return job.run(showing)
    if program is not None or settings["dry_run"]:
        raise click.UsageError("--dask goes neither with --exec nor with --dry-run; leave one out")
    if period.since_last:
        raise click.UsageError("--dask does not go with --since last; give a date, as --since 7d")
    from agentphone_async.cli.cluster import run_on_cluster

    return run_on_cluster(job, dask, showing)


def _is_said(name: str) -> bool:
    """Whether an option was given, and is not only a default."""
    source = click.get_current_context().get_parameter_source(name)
    return source is not click.core.ParameterSource.DEFAULT
