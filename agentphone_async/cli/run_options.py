"""How a run goes, as the options of ``archive`` and ``archive work`` say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentphone_async.cli.config_file import Section
from agentphone_async.cli.connection import Transfers
from agentphone_async.cli.options import Function, add_options, option
from agentphone_async.cli.param_types import Seconds, Size
from agentphone_async.cli.period import Period

if TYPE_CHECKING:
    from datetime import tzinfo

    from agentphone_async.archive.options import RunOptions


def shard_options(command: Function) -> Function:
    """Add the options that mean something for a part of an archive, too."""
    return add_options(
        command,
        option(Section.WHERE, "--metadata", is_flag=True, default=None,
        help="Write each call's JSON beside its recording."),
        option(Section.WHERE, "--transcripts", is_flag=True, default=None,
        help="Write each call's transcript, as JSON and text."),
        option(Section.WHERE, "--template", metavar="TEXT",
        help="How files are named, without extension; the archive remembers it.  "
             "[default: {started:%Y/%m/%d}/recording-{call_id}]"),
        option(Section.AGAIN, "--grace", type=Seconds(), default="24h",
        help="How long after its end a call's recording may still appear."),
        option(Section.AGAIN, "--min-age", type=Seconds(), default="0s",
        help="Leave calls that ended less than this ago to a later run."),
        option(Section.AGAIN, "--wait", type=Seconds(), default="0s",
        help="Keep polling for recordings that are not ready yet, for up to DURATION."),
        option(Section.AGAIN, "--recheck", is_flag=True,
        help="Ask again where there was no recording."),
        option(Section.AGAIN, "--probe-all", is_flag=True,
        help="Ask even where the API says that there is none."),
        option(Section.AGAIN, "--refresh", is_flag=True,
        help="Ask again for archived ones; a changed one becomes a new version."),
        option(Section.LIMITS, "--max-transfer", type=Size(),
        help="Start no more downloads after this many bytes."),
        option(Section.LIMITS, "--max-duration", type=Seconds(), help="Stop after this long."),
        option(Section.LIMITS, "--max-file-size", type=Size(), help="Refuse larger recordings."),
    )  # fmt: skip


def run_options(
    transfers: Transfers,
    settings: dict[str, Any],
    period: Period | None = None,
    dest: Path | None = None,
) -> RunOptions:
    """The options of a run, from those of the command line.

    Args:
        transfers: how many at a time.
        settings: what `shard_options` and the command's own options said.
        period: which calls; None for those of a shard.
        dest: the archive, if it is in a folder.
    """
    from datetime import timedelta

    from agentphone_async.archive.options import Limits, RunOptions
    from agentphone_async.archive.template import Template

    return RunOptions(
        transfers=transfers.count,
        fsync=transfers.fsync,
        grace=timedelta(seconds=settings["grace"]),
        min_age=timedelta(seconds=settings["min_age"]),
        since_last=period is not None and period.since_last,
        metadata=settings["metadata"],
        transcripts=settings["transcripts"],
        recheck=settings["recheck"],
        probe_all=settings["probe_all"],
        refresh=settings["refresh"],
        wait=settings["wait"],
        limits=Limits(
            max_transfer=settings["max_transfer"],
            max_duration=settings["max_duration"],
            max_file_size=settings["max_file_size"],
            min_free_space=settings.get("min_free_space"),
        ),
        template=None if settings["template"] is None else Template.parse(settings["template"]),
        zone=None if period is None else _zone(dest, period),
        **_of_whole_runs(settings),
    )


def _of_whole_runs(settings: dict[str, Any]) -> dict[str, Any]:
    """What only ``archive`` itself has options for."""
    from datetime import timedelta

    if "no_mtime" not in settings:
        return {}
    return {
        "full_list": settings["full_list"],
        "full_list_every": timedelta(seconds=settings["full_list_every"]),
        "dry_run": settings["dry_run"],
        "mode": settings["mode"],
        "hash_ids": bool(settings["hash_ids"]),
        "wait_lock": settings["wait_lock"],
        "mtime": not settings["no_mtime"],
    }


def _zone(dest: Path | None, period: Period) -> tzinfo | None:
    """The zone of dates in names; None if it is the one that the archive remembers."""
    from agentphone_async.archive.settings_file import load_settings

    if period.tz is None and dest is not None and load_settings(dest).zone is not None:
        return None
    return period.zone()
